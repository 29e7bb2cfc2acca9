"""The outbox relay: carries events from the log to Kafka.

An event is taken out of the outbox only after the broker has acknowledged it. If the relay dies in between, or two of
them run, events come twice; none is lost, and for one certificate none comes for the first time before an older one.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.bridge_settings import BridgeSettings
from gateway.envelopes import Envelopes
from gateway.kafka_lanes import Lanes, Outgoing
from gateway.kafka_producer import KAFKA_FAILURES, ProducerKeeper
from persistence import codec
from persistence.errors import DamagedLogError, StorageError
from persistence.log import PAGE_MAX, Log

POLL_SECONDS: Final = 0.02
"""Between two looks at the outboxes: how late an event leaves at most when nothing else is going on."""
POLL_SHARE: Final = 10
"""Looking may take one tenth of the time: a slow or distant log is asked less often."""
RETRY_SECONDS: Final = 0.5
"""After this a partition is looked at again that could not be carried on."""
HELD_SECONDS: Final = 5.0
"""After this a partition is looked at again whose next event cannot be read."""
PARTITIONS_AT_ONCE: Final = 64
"""Partitions carried at the same time, each with one page: it bounds the memory, at 1 MB each."""
PAGES_IN_A_ROW: Final = 8
"""Pages of one partition before another may take its place."""
DRAIN_SECONDS_MAX: Final = 5.0
"""How long events under way may take to arrive when the relay stops."""

_logger = logging.getLogger(__name__)


class OutboxRelay:
    """Publishes the outboxes of all partitions.

    Args:
        log: whose outboxes.
        settings: where to, and under which names.
        clock: milliseconds since the epoch.
    """

    def __init__(self, log: Log, settings: BridgeSettings, clock: Callable[[], int]) -> None:
        self._log = log
        self._envelopes: Final = Envelopes(settings)
        self._clock = clock
        self._keeper = ProducerKeeper(settings, "gift-ledger-relay")
        self._lanes: Lanes | None = None
        self._carried: dict[int, asyncio.Task[None]] = {}
        self._resting: dict[int, float] = {}
        self._held: dict[int, str] = {}
        self._turn = 0
        self._waiting = 0
        self._acknowledged = 0
        self._began_to_wait: int | None = None
        self._error = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until ``stop`` is set; then what is under way may still arrive."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keeper.run(), name="relay producer")
            self._lanes = lanes = Lanes(self._keeper, tasks)
            poll = tasks.create_task(self._poll(lanes, tasks), name="relay poll")
            await stop.wait()
            poll.cancel()
            if self._carried:
                await asyncio.wait(self._carried.values(), timeout=DRAIN_SECONDS_MAX)
            for task in self._carried.values():
                task.cancel()
            lanes.close()
            keeper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """What it has carried, what waits, and what is in the way."""
        lanes = self._lanes
        waited_ms = 0 if self._began_to_wait is None else self._clock() - self._began_to_wait
        return {
            "published": 0 if lanes is None else lanes.published,
            "acknowledged": self._acknowledged,
            "waiting": self._waiting,
            "waitingSeconds": round(waited_ms / 1_000, 1),
            "held": len(self._held),
            "refused": "" if lanes is None else lanes.refused,
            "refusal": self._keeper.refusal,
            "producers": self._keeper.started,
            "lastError": next(iter(self._held.values()), self._error or ("" if lanes is None else lanes.failure)),
        }

    def ready(self) -> bool:
        """Whether events get out."""
        lanes = self._lanes
        if lanes is None or lanes.stalled or lanes.refused or self._held:
            return False
        return self._keeper.reachable and not self._error

    async def _poll(self, lanes: Lanes, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                sizes = await self._log.outbox_sizes()
            except StorageError as error:
                self._error = type(error).__name__
                _logger.warning("the outboxes cannot be read: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._note(sum(sizes))
            for partition in self._next(sizes, began):
                task = tasks.create_task(self._carry(partition, lanes), name=f"outbox {partition}")
                self._carried[partition] = task
                task.add_done_callback(partial(self._put_down, partition))
            await asyncio.sleep(max(POLL_SECONDS, (loop.time() - began) * POLL_SHARE))

    def _next(self, sizes: list[int], now: float) -> list[int]:
        """Partitions to be carried now, whose turn it is first."""
        order = [*range(self._turn, len(sizes)), *range(self._turn)]
        found = [
            partition
            for partition in order
            if sizes[partition] and partition not in self._carried and self._resting.get(partition, 0) <= now
        ][: PARTITIONS_AT_ONCE - len(self._carried)]
        if found:
            self._turn = (found[-1] + 1) % len(sizes)
        return found

    def _put_down(self, partition: int, _: asyncio.Task[None]) -> None:
        del self._carried[partition]

    def _note(self, waiting: int) -> None:
        self._waiting = waiting
        if not waiting:
            self._began_to_wait = None
            self._error = ""
        elif self._began_to_wait is None:
            self._began_to_wait = self._clock()

    async def _carry(self, partition: int, lanes: Lanes) -> None:
        """Publish a partition's outbox a page at a time, until it is empty or others want to have their turn."""
        now = asyncio.get_running_loop().time
        try:
            for _ in range(PAGES_IN_A_ROW):
                if not await self._carry_page(partition, lanes):
                    return
                self._error = ""
        except DamagedLogError as error:
            if partition not in self._held:
                _logger.critical("outbox %d: %s; what is behind it waits", partition, error)
            self._held[partition] = f"outbox {partition}: {error}"
            self._resting[partition] = now() + HELD_SECONDS
        except (StorageError, *KAFKA_FAILURES) as error:
            _logger.warning("outbox %d waits: %r", partition, error)
            self._error = type(error).__name__
            self._resting[partition] = now() + RETRY_SECONDS

    async def _carry_page(self, partition: int, lanes: Lanes) -> bool:
        """Publish and acknowledge one page; gives whether there was anything."""
        page = await self._log.outbox(partition, PAGE_MAX)
        if not page.entries:
            return False
        records: list[Outgoing] = []
        try:
            for entry in page.entries:
                event = codec.decode_publication(entry)
                records.append(self._envelopes.outgoing(event))  # what stands before a damaged one goes out
        except DamagedLogError:
            if not records:
                raise
        self._held.pop(partition, None)
        await lanes.publish(records)
        if await self._log.acknowledge(partition, page.head, len(records)):
            self._acknowledged += len(records)
        else:
            # its later pages may be gone by now, and these may have come behind them: subscribers go by the versions
            _logger.warning("outbox %d: another relay runs, or ran, and events came twice", partition)
        return True
