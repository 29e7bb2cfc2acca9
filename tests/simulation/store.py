"""The log, as each machine reaches it: over a server that misbehaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from persistence.errors import StorageRefusedError, StorageUnavailableError
from persistence.log import PAGE_MAX, Batch, Conflict, KeyName, Loaded, OutboxPage
from persistence.memory import MemoryLog
from tests.simulation.server import Server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from tests.simulation.auditor import Auditor
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.trace import Trace
    from tests.simulation.weather import Weather

Result = TypeVar("Result")

ANSWER_SECONDS_MAX = 1.0
"""How long the service waits for its log."""


def result(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: Result = done.value
        return value
    raise AssertionError("the log in memory does not wait")


class Store:
    """The log that lives through everything, and the server in front of it.

    Args:
        log: what is on disk.
        auditor: looks at each append.
    """

    def __init__(
        self, log: MemoryLog, auditor: Auditor, loop: VirtualLoop, seed: int, weather: Weather, trace: Trace
    ) -> None:
        self.log = log
        self.server = Server(
            "store",
            loop,
            seed,
            weather,
            trace,
            seconds_max=ANSWER_SECONDS_MAX,
            lost=StorageUnavailableError,
            refused=StorageRefusedError,
        )
        self._auditor = auditor

    def append(self, batch: Batch) -> Conflict | None:
        conflict = result(self.log.append(batch))
        if conflict is None:
            self._auditor.appended(batch)
        return conflict


class StoreClient:
    """As much of :class:`persistence.log.Log` as shards, timekeepers and relays use."""

    def __init__(self, store: Store) -> None:
        self.partitions = store.log.partitions
        self._store = store
        self._log = store.log
        self._call = store.server.call

    async def append(self, batch: Batch) -> Conflict | None:
        changes = ", ".join(f"{change.entity}@{change.expected}+{len(change.records)}" for change in batch.changes)
        return await self._call(f"append({changes})", lambda: self._store.append(batch), writes=True)

    async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
        return await self._call("load", lambda: result(self._log.load(entities, snapshots=snapshots)), writes=False)

    async def history(self, entity: str, after: int = 0, limit: int = PAGE_MAX) -> list[bytes]:
        return await self._call("history", lambda: result(self._log.history(entity, after, limit)), writes=False)

    async def outcomes(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._call("outcomes", lambda: result(self._log.outcomes(keys)), writes=False)

    async def due(self, partitions: Sequence[int], now: int, limit: int = PAGE_MAX) -> list[str]:
        return await self._call("due", lambda: result(self._log.due(partitions, now, limit)), writes=False)

    async def data_keys(self, names: Sequence[KeyName]) -> list[bytes | None]:
        return await self._call("data keys", lambda: result(self._log.data_keys(names)), writes=False)

    async def outbox(self, partition: int, limit: int = PAGE_MAX, skip: int = 0) -> OutboxPage:
        return await self._call("outbox", lambda: result(self._log.outbox(partition, limit, skip)), writes=False)

    async def outbox_sizes(self) -> list[int]:
        return await self._call("outbox sizes", lambda: result(self._log.outbox_sizes()), writes=False)

    async def acknowledge(self, partition: int, head: int, count: int) -> bool:
        name = f"acknowledge({partition}: {head}+{count})"
        return await self._call(name, lambda: result(self._log.acknowledge(partition, head, count)), writes=True)

    async def close(self) -> None:
        """Nothing is open."""
