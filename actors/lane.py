"""The calls from one caller to one actor.

A lane has one frame on the way at a time: what comes in meanwhile makes up the next one. So a single command leaves at
once, and under load the frames grow by themselves.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from actors.channel import Connection, connect, encode_calls
from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.frames import FRAME_BYTES_MAX, GOODBYE, Call, ReplyFrame
from actors.settings import ActorSettings
from ledger.answers import Answer

RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 0.5
"""Pause before a shard that cannot be reached is tried again: the first, and the longest. It doubles in between."""
BULK_SHARE: Final = 8
"""Calls that were asked together may be one in so many of a full frame's, if there are others in it."""

_logger = logging.getLogger(__name__)


class NoSuchActorError(Exception):
    """The actor does not run (yet, or any more), or cannot be found now."""


class Directory(Protocol):
    """Says which actor holds an entity, and where it listens."""

    async def holder(self, entity: str, *, wake: bool) -> str:
        """Name of the actor; with ``wake`` it is started if it has to be.

        Raises:
            NoSuchActorError: that cannot be told now.
        """
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


class Gathering:
    """The outcomes of calls that were asked together, in their order; ``complete`` is done when all are there.

    Cancelling ``complete`` says that nobody waits any more: what was not sent yet never is.
    """

    __slots__ = ("complete", "found", "open")

    def __init__(self, count: int, complete: asyncio.Future[None]) -> None:
        self.complete: Final = complete
        self.found: list[Answer | ActorError | None] = [None] * count
        self.open = count

    def settle(self, position: int, outcome: Answer | ActorError) -> None:
        """Note the outcome of the call at ``position``."""
        if self.complete.done():
            return  # the caller has gone away
        self.found[position] = outcome
        self.open -= 1
        if not self.open:
            self.complete.set_result(None)


class _Part:
    """A call in a lane that was asked together with others."""

    __slots__ = ("call", "deadline", "future", "gathering", "position")

    def __init__(self, call: Call, gathering: Gathering, position: int, deadline: float) -> None:
        self.call = call
        self.future = gathering.complete
        self.deadline = deadline
        self.gathering = gathering
        self.position = position

    def settle(self, outcome: Answer | ActorError) -> None:
        self.gathering.settle(self.position, outcome)


_AnyWaiting = _Waiting | _Part


class _Sent:
    """A frame of calls, of which ``open`` have no outcome yet."""

    __slots__ = ("calls", "connection", "open")

    def __init__(self, calls: list[_AnyWaiting], connection: Connection) -> None:
        self.connection: Final = connection
        self.calls: list[_AnyWaiting | None] = list(calls)
        self.open = len(calls)

    def take(self, position: int) -> _AnyWaiting | None:
        """The call at ``position``, if it has no outcome yet; from now on it has."""
        waiting = self.calls[position] if position < len(self.calls) else None
        if waiting is not None:
            self.calls[position] = None
            self.open -= 1
        return waiting

    def fail(self, detail: str, before: float = float("inf")) -> None:
        """Give up on calls whose deadline is not after ``before``."""
        for position, waiting in enumerate(self.calls):
            if waiting is not None and waiting.deadline <= before:
                self.take(position)
                waiting.settle(OutcomeUnknownError(detail))


class Lane:
    """The calls to one actor.

    Args:
        name: of the actor.
        directory: says where it is.
        settings: bounds and deadlines.
        token: opens TCP channels.
    """

    def __init__(self, name: str, directory: Directory, settings: ActorSettings, token: bytes | None) -> None:
        self.name: Final = name
        self._directory = directory
        self._settings = settings
        self._token = token
        self._queue: deque[_AnyWaiting] = deque()
        self._bulk: deque[_AnyWaiting] = deque()
        self._sent: dict[int, _Sent] = {}
        self._frame = 0
        self._out = 0  # number of the frame whose turn has not come back; 0: there is none
        self._out_since = 0.0
        self._scheduled = False
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.used = self._loop.time()

    @property
    def queued(self) -> int:
        """Calls that were not sent yet."""
        return len(self._queue) + len(self._bulk)

    @property
    def idle(self) -> bool:
        """Nothing is queued or on the way."""
        return not self.queued and not self._sent

    def put(self, call: Call) -> asyncio.Future[Answer]:
        """Queue a call; the future gets its outcome.

        Raises:
            OverloadedError: the queue is full; nothing happened.
        """
        if self.queued >= self._settings.mailbox_max:
            raise self._full()
        now = self._loop.time()
        self.used = now
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.append(_Waiting(call, future, now + self._settings.request_timeout_seconds))
        self._schedule()
        return future

    def put_many(self, calls: Iterable[tuple[int, Call]], gathering: Gathering, deadline: float) -> None:
        """Queue calls with their positions in ``gathering``, which gets their outcomes.

        For those that the queue has no room for that is at once an :class:`OverloadedError`.

        Args:
            calls: in the order in which they are to be carried out.
            gathering: where they were asked together.
            deadline: of all of them, in the time of the loop.
        """
        self.used = self._loop.time()
        room = self._settings.mailbox_max - self.queued
        parts = [_Part(call, gathering, position, deadline) for position, call in calls]
        self._bulk.extend(parts[: max(room, 0)])
        for part in parts[max(room, 0) :]:
            part.settle(self._full())
        self._schedule()

    def sweep(self, now: float) -> None:
        """Give up on what has waited too long."""
        for queue in (self._queue, self._bulk):
            while queue and queue[0].deadline <= now:
                queue.popleft().settle(OverloadedError(f"{self.name} did not take the call in time."))
        for number, sent in list(self._sent.items()):
            sent.fail(f"{self.name} did not answer in time; the outcome is unknown.", now)
            if not sent.open:
                self._ended(number)
        if self._out and now - self._out_since >= self._settings.request_timeout_seconds:
            # it may hang for good: a new connection finds out, and shows who lives at the address now
            self._cut(self._connection)

    async def close(self) -> None:
        """Fail what waits, and disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for queue in (self._queue, self._bulk):
            while queue:
                queue.popleft().settle(OverloadedError("The gateway is stopping; nothing happened."))
        for connection in {self._connection, *(sent.connection for sent in self._sent.values())}:
            self._cut(connection)

    def _full(self) -> OverloadedError:
        return OverloadedError(f"Too many calls wait for {self.name}; nothing happened.")

    def _schedule(self) -> None:
        if not self._out and not self._scheduled:
            # after everything that is ready to be queued in this turn of the loop
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """Send what is queued, unless a frame is on the way."""
        self._scheduled = False
        if self._out or not self.queued:
            return
        if self._connection is None:
            self._reconnect()
            return
        while self.queued:
            waiting = self._next_calls()
            frame = self._fitting(self._frame + 1, waiting)
            if waiting:
                self._frame += 1
                self._out = self._frame
                self._out_since = self._loop.time()
                self._sent[self._frame] = _Sent(waiting, self._connection)
                self._connection.send(frame)
                return

    def _next_calls(self) -> list[_AnyWaiting]:
        """What the next frame is to hold, without calls whose caller has gone away: nothing happens of those.

        Calls that were asked one by one go first. They share their frame with some of the others only, or they would be
        answered as late as these; some, because the others would never have their turn.
        """
        batch_max = self._settings.batch_max
        share = min(len(self._bulk), batch_max // BULK_SHARE)
        waiting = _taken(self._queue, batch_max - share)
        waiting += _taken(self._bulk, share if waiting else batch_max)
        return waiting

    def _fitting(self, number: int, waiting: list[_AnyWaiting]) -> bytes:
        """The frame with as many calls as fit into one; the others wait again."""
        while True:
            frame = encode_calls(number, [item.call for item in waiting])
            if len(frame) <= FRAME_BYTES_MAX:
                return frame
            if len(waiting) == 1:
                waiting.pop().settle(OverloadedError("The call is too long to be sent; nothing happened."))
                continue
            half = len(waiting) // 2
            self._put_back(waiting[half:])
            del waiting[half:]

    def _put_back(self, waiting: list[_AnyWaiting]) -> None:
        """Have calls wait again, before all that wait: in the order in which they were asked."""
        for item in reversed(waiting):
            (self._bulk if isinstance(item, _Part) else self._queue).appendleft(item)

    def _replied(self, connection: Connection, replies: ReplyFrame) -> None:
        if replies.frame == GOODBYE.frame:
            self._detach(connection)
            return
        sent = self._sent.get(replies.frame)  # none: the deadline of all its calls has passed
        if sent is not None:
            refused: list[_AnyWaiting] = []
            for reply in replies.replies:
                item = sent.take(reply.position)
                if item is not None and reply.failure == "leaving":
                    refused.append(item)
                elif item is not None:
                    item.settle(reply.outcome)
            if refused:
                # the actor is stopping: what it did not take goes to whoever takes its place
                self._put_back(refused)
                self._detach(connection)
            if not sent.open:
                self._ended(replies.frame)
        if replies.turn and replies.frame == self._out:
            self._out = 0
            self._send()

    def _ended(self, number: int) -> None:
        """All calls of a frame have their outcome."""
        self._retire(self._sent.pop(number).connection)

    def _detach(self, connection: Connection) -> None:
        """Send nothing more over a connection; it stays open for what the actor has yet to answer."""
        if connection is self._connection:
            self._connection = None
            self._out = 0
        self._retire(connection)
        if self.queued and self._connection is None:
            self._reconnect(RECONNECT_SECONDS_MIN)

    def _retire(self, connection: Connection) -> None:
        """Hang up if nothing is to come over this connection any more."""
        if connection is not self._connection and all(one.connection is not connection for one in self._sent.values()):
            connection.transport.close()

    def _cut(self, connection: Connection | None) -> None:
        if connection is not None:
            self._lost(connection)
            connection.transport.abort()

    def _lost(self, connection: Connection) -> None:
        for number, sent in list(self._sent.items()):
            if sent.connection is connection:
                del self._sent[number]
                sent.fail(f"{self.name} went away in the middle; the outcome is unknown.")
        if connection is self._connection:
            self._connection = None
            self._out = 0
            self._send()

    def _reconnect(self, pause_seconds: float = 0.0) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(pause_seconds), name=f"connect {self.name}")

    async def _connect(self, pause_seconds: float) -> None:
        """Until it succeeds, or nobody waits any more."""
        pause = RECONNECT_SECONDS_MIN
        try:
            await asyncio.sleep(pause_seconds)
            while self.queued:
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


def _taken(queue: deque[_AnyWaiting], count: int) -> list[_AnyWaiting]:
    """The first calls of a queue whose caller still waits, ``count`` at most."""
    taken: list[_AnyWaiting] = []
    while queue and len(taken) < count:
        item = queue.popleft()
        if not item.future.done():
            taken.append(item)
    return taken
