"""Reads entities for a replay: many in one round trip, long histories page by page."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Final

from ledger.certificate import Certificate
from ledger.identifiers import entity_key, is_certificate
from ledger.order import Order
from persistence import codec
from persistence.errors import DamagedLogError, SnapshotUnreadableError
from persistence.log import PAGE_MAX, Loaded, Log
from persistence.replay import Replay

GROUP: Final = 64
"""Entities that are read in one round trip."""
TAIL_PAGE: Final = 500
"""Records that are replayed before others get their turn on the loop."""


def groups(entities: Iterable[str], size: int = GROUP) -> Iterable[list[str]]:
    """Entities, as many at once as one round trip reads."""
    remaining = iter(entities)
    while group := list(islice(remaining, size)):
        yield group


async def load_each(log: Log, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded | DamagedLogError]:
    """Load entities; one that cannot be loaded at all does not take the others with it."""
    if not entities:
        return []
    try:
        return list(await log.load(entities, snapshots=snapshots))
    except DamagedLogError as error:
        if len(entities) == 1:
            return [error]
    return [(await load_each(log, [entity], snapshots=snapshots))[0] for entity in entities]


async def histories(log: Log, entities: Sequence[str]) -> AsyncIterator[tuple[str, int, list[bytes] | DamagedLogError]]:
    """All records of entities, one entity after the other, a page at a time, each with the version before it.

    Of an entity that cannot be loaded, or that has lost records, comes why, once. Nothing is proved.

    Raises:
        StorageError: the log could not be read.
    """
    for entity, loaded in zip(entities, await load_each(log, entities), strict=True):
        if isinstance(loaded, DamagedLogError):
            yield entity, 0, loaded
            continue
        if loaded.damage is not None:
            yield entity, 0, DamagedLogError(f"{entity}: {loaded.damage}")
        version = 0
        while version < loaded.snapshot_version:
            page = await log.history(entity, version, min(PAGE_MAX, loaded.snapshot_version - version))
            if not page:
                break  # the log ends before its snapshot, which is damage and was told
            yield entity, version, page
            version += len(page)
        for start in range(0, len(loaded.tail), PAGE_MAX):
            yield entity, loaded.snapshot_version + start, list(loaded.tail[start : start + PAGE_MAX])


async def restored(log: Log, entity: str, loaded: Loaded | DamagedLogError) -> Certificate | Order:
    """The state of an entity that was loaded; from its records alone if its snapshot is of no use.

    Raises:
        DamagedLogError: what is stored cannot be what was written.
    """
    if isinstance(loaded, DamagedLogError):
        raise loaded
    restore = codec.restore_certificate if is_certificate(entity) else codec.restore_order
    try:
        return restore(entity_key(entity), loaded)[0]
    except SnapshotUnreadableError:
        (whole,) = await log.load([entity], snapshots=False)
        return restore(entity_key(entity), whole)[0]


async def replayed(log: Log, replays: Sequence[Replay]) -> Sequence[Replay]:
    """Give each replay all records that its entity has now."""
    loaded = await load_each(log, [replay.entity for replay in replays])
    await asyncio.gather(*(_replay(log, replay, one) for replay, one in zip(replays, loaded, strict=True)))
    return replays


async def _replay(log: Log, replay: Replay, loaded: Loaded | DamagedLogError) -> None:
    if isinstance(loaded, DamagedLogError):
        replay.give_up(str(loaded))
        return
    if loaded.damage is not None:
        replay.problems.append((None, loaded.damage))
    while replay.version < loaded.snapshot_version and not replay.broken:
        page = await log.history(replay.entity, replay.version, min(PAGE_MAX, loaded.snapshot_version - replay.version))
        if not page:
            break  # the log ends before its snapshot, which is damage and was told
        replay.take(page)
    if loaded.snapshot is not None:
        replay.compare_snapshot(loaded.snapshot)
    for start in range(0, len(loaded.tail), TAIL_PAGE):
        replay.take(loaded.tail[start : start + TAIL_PAGE])
        await asyncio.sleep(0)
    replay.finish()
