"""Reads entities for a replay: many in one round trip, long histories page by page."""

import asyncio
from collections.abc import Sequence
from typing import Final

from persistence.errors import DamagedLogError
from persistence.log import PAGE_MAX, Loaded, Log
from persistence.replay import Replay

TAIL_PAGE: Final = 500
"""Records that are replayed before others get their turn on the loop."""


async def replayed(log: Log, replays: Sequence[Replay]) -> Sequence[Replay]:
    """Give each replay all records that its entity has now."""
    loaded = await _load(log, replays)
    await asyncio.gather(
        *(_replay(log, replay, one) for replay, one in zip(replays, loaded, strict=True) if one is not None)
    )
    return replays


async def _load(log: Log, replays: Sequence[Replay]) -> list[Loaded | None]:
    entities = [replay.entity for replay in replays]
    try:
        return list(await log.load(entities))
    except DamagedLogError as error:
        if len(replays) == 1:
            replays[0].broken = True
            replays[0].problems.append((None, str(error)))
            return [None]
    # one of them cannot be read at all; the others can
    return [(await _load(log, [replay]))[0] for replay in replays]


async def _replay(log: Log, replay: Replay, loaded: Loaded) -> None:
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
