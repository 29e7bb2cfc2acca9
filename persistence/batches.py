"""What is the same for every log: which batches and keys it takes, and what cannot be about an entity that it has."""

from collections.abc import Mapping

from persistence.errors import StorageUnsafeError
from persistence.log import Batch


def check_batch(batch: Batch) -> None:
    """Refuse a batch that no correct caller makes: writing it would break the log.

    Raises:
        ValueError: an entity stands in it twice, a snapshot is not of the version that its change leads to, or a
            count of attempts is to be kept for no time.
    """
    changes = batch.changes
    if len({change.entity for change in changes}) != len(changes):
        raise ValueError("an entity stands in the batch twice; put its records into one change")
    for change in changes:
        if change.snapshot is not None:
            version = change.expected + len(change.records)
            if not change.snapshot.startswith(b"%d|" % version):
                raise ValueError(f"the snapshot of {change.entity} is not that of version {version}")
    for one in batch.attempts:
        if one.ttl_ms <= 0:
            raise ValueError(f"the attempts of {one.code} are kept for {one.ttl_ms} ms: that is for no time")


def require_same_keys(known: Mapping[int, str], ours: Mapping[int, str]) -> None:
    """See that sealing keys are those that the ledger knows by their ids; both are fingerprints by id.

    Raises:
        StorageUnsafeError: one is not: what it seals, others could not open.
    """
    other = [key_id for key_id, fingerprint in ours.items() if known.get(key_id, fingerprint) != fingerprint]
    if other:
        raise StorageUnsafeError(
            f"the ledger knows another sealing key {other[0]} ({known[other[0]]}) than the secrets file has "
            f"({ours[other[0]]}): two machines have made one each. Keep both files until `gift-ledger verify` has said "
            "with each which one opens the data keys; docs/operations.md says how to go on with that one."
        )


def page(limit: int, most: int) -> int:
    """``limit`` brought into the range 0 to ``most``."""
    return max(0, min(limit, most))


def damage(length: int, registered: int | None, snapshot_version: int) -> str | None:
    """What cannot be about an entity: its log has ``length`` records, and each append noted the version it led to."""
    if registered is None and length:
        return "it has records, but the register of entities does not name it"
    if length != (registered or 0):
        return f"the register of entities says version {registered}, but the log ends at {length}: records were lost"
    if snapshot_version > length:
        return f"the snapshot is of version {snapshot_version}, but the log ends at {length}: records were lost"
    return None
