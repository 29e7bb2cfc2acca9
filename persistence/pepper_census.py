"""Under which peppers CVCs are kept: whoever lacks one cannot check these, and whoever stole one can."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ledger.certificate import Certificate
from ledger.peppers import pepper_of
from ledger.records import Status
from persistence.errors import DamagedLogError
from persistence.log import Log
from persistence.reading import groups, load_each, restored

LIVE: Final = frozenset({Status.ACTIVE, Status.DEPLETED, Status.BLOCKED})
"""Certificates whose CVC opens something, now or once they are unblocked or refunded."""


class Census(Struct, frozen=True, kw_only=True, rename="camel"):
    """Live certificates by the number of the pepper that their CVC is kept with; ``unread``: those that are damaged."""

    certificates: dict[int, int]
    unread: int = 0


async def census(log: Log, on_progress: Callable[[int, int | None], None]) -> Census:
    """Count them. All entities are read: it takes as long as a quick proof of the log.

    Raises:
        StorageError: the log does not answer.
    """
    counts: Counter[int] = Counter()
    total, done, unread = sum(await log.entity_counts()), 0, 0
    for partition in range(log.partitions):
        named = [entity async for entity in log.entities(partition)]
        for some in groups(named):
            for entity, loaded in zip(some, await load_each(log, some), strict=True):
                try:
                    state = await restored(log, entity, loaded)
                except DamagedLogError:
                    unread += 1
                    continue
                if isinstance(state, Certificate) and state.status in LIVE and state.cvc is not None:
                    counts[pepper_of(state.cvc)] += 1
            done += len(some)
            on_progress(done, total)
    return Census(certificates=dict(sorted(counts.items())), unread=unread)
