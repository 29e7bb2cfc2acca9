"""The calls from one caller to one actor.

A lane has one frame on the way at a time: what comes in meanwhile makes up the next one. So a single command leaves at
once, and under load the frames grow by themselves.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from actors.channel import Connection, connect, encode_calls
from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.frames import FRAME_BYTES_MAX, GOODBYE, Call, ReplyFrame
from actors.settings import ActorSettings
from ledger.answers import Answer

RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 0.5

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


class _Sent:
    """A frame of calls, of which ``open`` have no outcome yet."""

    __slots__ = ("calls", "connection", "open")

    def __init__(self, calls: list[_Waiting], connection: Connection) -> None:
        self.connection: Final = connection
        self.calls: list[_Waiting | None] = list(calls)
        self.open = len(calls)

    def take(self, position: int) -> _Waiting | None:
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
        self._queue: deque[_Waiting] = deque()
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
        if not self._out and not self._scheduled:
            # after everything that is ready to be queued in this turn of the loop
            self._scheduled = True
            self._loop.call_soon(self._send)
        return future

    def sweep(self, now: float) -> None:
        """Give up on what has waited too long."""
        while self._queue and self._queue[0].deadline <= now:
            self._queue.popleft().settle(OverloadedError(f"{self.name} did not take the call in time."))
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
        while self._queue:
            self._queue.popleft().settle(OverloadedError("The gateway is stopping; nothing happened."))
        for connection in {self._connection, *(sent.connection for sent in self._sent.values())}:
            self._cut(connection)

    def _send(self) -> None:
        """Send what is queued, unless a frame is on the way."""
        self._scheduled = False
        if self._out or not self._queue:
            return
        if self._connection is None:
            self._reconnect()
            return
        while self._queue:
            waiting = self._next_calls()
            frame = self._fitting(self._frame + 1, waiting)
            if waiting:
                self._frame += 1
                self._out = self._frame
                self._out_since = self._loop.time()
                self._sent[self._frame] = _Sent(waiting, self._connection)
                self._connection.send(frame)
                return

    def _next_calls(self) -> list[_Waiting]:
        """What the next frame is to hold, without calls whose caller has gone away: nothing happens of those."""
        waiting: list[_Waiting] = []
        while self._queue and len(waiting) < self._settings.batch_max:
            item = self._queue.popleft()
            if not item.future.done():
                waiting.append(item)
        return waiting

    def _fitting(self, number: int, waiting: list[_Waiting]) -> bytes:
        """The frame with as many calls as fit into one; the others go back to the queue."""
        while True:
            frame = encode_calls(number, [item.call for item in waiting])
            if len(frame) <= FRAME_BYTES_MAX:
                return frame
            if len(waiting) == 1:
                waiting.pop().settle(OverloadedError("The call is too long to be sent; nothing happened."))
                continue
            half = len(waiting) // 2
            self._queue.extendleft(reversed(waiting[half:]))
            del waiting[half:]

    def _replied(self, connection: Connection, replies: ReplyFrame) -> None:
        if replies.frame == GOODBYE.frame:
            self._detach(connection)
            return
        sent = self._sent.get(replies.frame)  # none: the deadline of all its calls has passed
        if sent is not None:
            refused: list[_Waiting] = []
            for reply in replies.replies:
                item = sent.take(reply.position)
                if item is not None and reply.failure == "leaving":
                    refused.append(item)
                elif item is not None:
                    item.settle(reply.outcome)
            if refused:
                # the actor is stopping: what it did not take goes to whoever takes its place
                self._queue.extendleft(reversed(refused))
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
        if self._queue and self._connection is None:
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
