"""The way from a caller to the shards.

Commands for one shard queue in its lane. A lane has one frame on the way at a time: what comes in meanwhile makes up
the next one. So a single command leaves at once, and under load the frames grow by themselves.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol, Self

from actors.channel import Call, Connection, ReplyFrame, connect
from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.settings import ActorSettings
from ledger.answers import Answer
from ledger.commands import SYSTEM, AnyCommand, Look, Origin, Tick

RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 0.5
SWEEP_SECONDS: Final = 0.1
"""How exact deadlines are."""
LANE_IDLE_SECONDS: Final = 60.0
"""A lane that carried nothing for so long is closed."""

PROBE: Final = "o:~probe"
"""An order that never exists, by which readiness is found out."""

_logger = logging.getLogger(__name__)


class NoSuchActorError(Exception):
    """The actor does not run (yet, or any more)."""


class Directory(Protocol):
    """Says which actor holds an entity, and where it listens."""

    async def holder(self, entity: str, *, wake: bool) -> str:
        """Name of the actor; with ``wake`` it is started if it has to be."""
        ...

    def holder_now(self, entity: str) -> str | None:
        """As :meth:`holder` if that can be told at once."""
        ...

    async def address(self, name: str) -> str:
        """Where the actor listens.

        Raises:
            NoSuchActorError: it does not run.
        """
        ...


class _Waiting:
    """A call in a lane."""

    __slots__ = ("call", "deadline", "future")

    def __init__(self, call: Call, future: asyncio.Future[Answer], deadline: float) -> None:
        self.call = call
        self.future = future
        self.deadline = deadline

    def settle(self, outcome: Answer | ActorError) -> None:
        if self.future.done():
            return  # the caller has gone away
        if isinstance(outcome, ActorError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Lane:
    """The calls to one actor."""

    def __init__(self, name: str, directory: Directory, settings: ActorSettings, token: bytes | None) -> None:
        self.name: Final = name
        self._directory = directory
        self._settings = settings
        self._token = token
        self._queue: deque[_Waiting] = deque()
        self._sent: dict[int, list[_Waiting | None]] = {}
        self._frame = 0
        self._busy = False
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.used = self._loop.time()

    @property
    def queued(self) -> int:
        """Calls that were not sent yet."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing is queued or on the way."""
        return not self._queue and not self._sent

    def put(self, call: Call) -> asyncio.Future[Answer]:
        """Queue a call; the future gets its outcome.

        Raises:
            OverloadedError: the queue is full; nothing happened.
        """
        if len(self._queue) >= self._settings.mailbox_max:
            raise OverloadedError(f"Too many calls wait for {self.name}; nothing happened.")
        now = self._loop.time()
        self.used = now
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.append(_Waiting(call, future, now + self._settings.request_timeout_seconds))
        if not self._busy:
            # after everything that is ready to be queued in this turn of the loop
            self._busy = True
            self._loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        if not self._queue:
            self._busy = False
            return
        if self._connection is None:
            self._busy = False
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect(), name=f"connect {self.name}")
            return
        count = min(len(self._queue), self._settings.batch_max)
        waiting = [self._queue.popleft() for _ in range(count)]
        self._frame += 1
        self._sent[self._frame] = list(waiting)
        self._busy = True
        self._connection.call(self._frame, [item.call for item in waiting])

    def _replied(self, replies: ReplyFrame) -> None:
        waiting = self._sent.get(replies.frame, [])  # empty: the deadline of all its calls has passed
        for reply in replies.replies if waiting else ():
            item = waiting[reply.position]
            if item is not None:
                waiting[reply.position] = None
                item.settle(reply.outcome)
        if waiting and all(item is None for item in waiting):
            del self._sent[replies.frame]
        if replies.frame == self._frame:
            self._send()

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._busy = False
        sent, self._sent = self._sent, {}
        for frame in sent.values():
            for item in frame:
                if item is not None:
                    item.settle(OutcomeUnknownError(f"{self.name} went away in the middle; the outcome is unknown."))
        self._send()

    async def _connect(self) -> None:
        """Until it succeeds, or nobody waits any more."""
        pause = RECONNECT_SECONDS_MIN
        try:
            while self._queue:
                try:
                    address = await self._directory.address(self.name)
                    self._connection = await connect(address, self._token, self._replied, self._lost)
                except (OSError, NoSuchActorError) as error:
                    _logger.info("%s cannot be reached: %s", self.name, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT_SECONDS_MAX)
                else:
                    return
        finally:
            self._connecting = None
            if self._connection is not None:
                self._send()

    def sweep(self, now: float) -> None:
        """Give up on what has waited too long."""
        while self._queue and self._queue[0].deadline <= now:
            self._queue.popleft().settle(OverloadedError(f"{self.name} did not take the call in time."))
        for number, frame in list(self._sent.items()):
            open_items = [item for item in frame if item is not None]
            if open_items and open_items[0].deadline <= now:
                del self._sent[number]
                for item in open_items:
                    item.settle(OutcomeUnknownError(f"{self.name} did not answer in time; the outcome is unknown."))
                if number == self._frame and self._busy and self._connection is not None:
                    # it may hang for good: a new connection finds out, and shows who lives at the address now
                    connection, self._connection = self._connection, None
                    self._busy = False
                    connection.transport.abort()
                    self._send()

    async def close(self) -> None:
        """Fail what waits, and disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        while self._queue:
            self._queue.popleft().settle(OverloadedError("The gateway is stopping; nothing happened."))
        if self._connection is not None:
            self._connection.transport.abort()


class Router:
    """The ledger as seen from outside of the shards; an ``async with`` block.

    Args:
        directory: where actors are.
        settings: bounds and deadlines.
        token: opens TCP channels.
    """

    def __init__(self, directory: Directory, settings: ActorSettings, token: bytes | None = None) -> None:
        self._directory = directory
        self._settings = settings
        self._token = token
        self._lanes: dict[str, Lane] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep(), name="router deadlines")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for lane in self._lanes.values():
            await lane.close()

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """As :meth:`actors.ports.Ledger.ask`."""
        name = self._directory.holder_now(entity)
        if name is None:
            name = await self._find(entity, wake=not isinstance(command, Tick))
        return await self._lane(name).put(Call(entity, command, origin))

    async def probe(self, name: str) -> None:
        """Have the actor answer a read, all the way to the log and back.

        Raises:
            ActorError: it does not.
        """
        await self._lane(name).put(Call(PROBE, Look(), SYSTEM))

    @property
    def queued(self) -> dict[str, int]:
        """Calls that wait to be sent, by actor."""
        return {name: lane.queued for name, lane in self._lanes.items()}

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._directory, self._settings, self._token)
        return lane

    async def _find(self, entity: str, *, wake: bool) -> str:
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                return await self._directory.holder(entity, wake=wake)
        except (TimeoutError, NoSuchActorError) as error:
            raise OverloadedError(f"The actor of {entity} cannot be found: {error}") from error

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            for name, lane in list(self._lanes.items()):
                lane.sweep(now)
                if lane.idle and now - lane.used > LANE_IDLE_SECONDS:
                    del self._lanes[name]
                    await lane.close()
