"""Certificates of which more is known outside than their log holds: they are shut, so that no version is used again.

The register of entities says which version each log has to have. Raised to what was published, it makes the
certificate one that lost records: the service refuses it, ``gift-ledger verify`` lists it, and all others go on. What
waits of it in the outbox was published before; sent again, it would put an older state over a newer one.
"""

from collections.abc import Mapping
from typing import Final

from ledger.identifiers import certificate_entity
from persistence import codec
from persistence.comparison import outbox_entries
from persistence.errors import DamagedLogError
from persistence.log import Log, partition_of
from persistence.redis_client import Client
from persistence.redis_errors import answered
from persistence.redis_keys import Keys

ENTRIES_AT_ONCE: Final = 1_000
"""Publications that are written back with one command."""


async def shut(client: Client, prefix: str, log: Log, published: Mapping[str, int]) -> None:
    """Shut certificates. Nobody else may write meanwhile: the ledger is closed.

    Args:
        client: where the ledger is.
        prefix: of its keys.
        log: the same ledger.
        published: by code, the last version that subscribers have been told of.

    Raises:
        StorageError: see :mod:`persistence.redis_errors`.
    """
    keys = Keys(prefix, log.partitions)
    by_partition: dict[int, dict[str, int]] = {}
    for code, version in published.items():
        entity = certificate_entity(code)
        by_partition.setdefault(partition_of(entity, log.partitions), {})[code] = version
    for partition, versions in by_partition.items():
        entries = await outbox_entries(log, partition)
        kept = [entry for entry in entries if _key_of(entry) not in versions]
        async with client.pipeline(transaction=True) as pipeline:
            for code, version in versions.items():
                pipeline.execute_command("HSET", keys.entities[partition], certificate_entity(code), version)
            if len(kept) < len(entries):
                pipeline.execute_command("DEL", keys.outboxes[partition])
                for start in range(0, len(kept), ENTRIES_AT_ONCE):
                    words = kept[start : start + ENTRIES_AT_ONCE]
                    pipeline.execute_command("RPUSH", keys.outboxes[partition], *words)
                pipeline.execute_command("INCRBY", keys.heads[partition], len(entries) - len(kept))
            await answered(pipeline.execute())


def _key_of(entry: bytes) -> str | None:
    """The code that a publication is about; of one that cannot be read, which ``verify`` tells, ``None``."""
    try:
        return codec.decode_publication(entry).key
    except DamagedLogError:
        return None
