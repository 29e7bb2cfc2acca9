"""What a batch has to be before a log takes it; the same for every log."""

from persistence.log import Batch


def check_batch(batch: Batch) -> None:
    """Refuse a batch that no correct caller makes: writing it would break the log.

    Raises:
        ValueError: an entity stands in it twice, or a snapshot is not of the version that its change leads to.
    """
    changes = batch.changes
    if len({change.entity for change in changes}) != len(changes):
        raise ValueError("an entity stands in the batch twice; put its records into one change")
    for change in changes:
        if change.snapshot is not None:
            version = change.expected + len(change.records)
            if not change.snapshot.startswith(b"%d|" % version):
                raise ValueError(f"the snapshot of {change.entity} is not that of version {version}")


def page(limit: int, most: int) -> int:
    """``limit`` brought into the range 0 to ``most``."""
    return max(0, min(limit, most))
