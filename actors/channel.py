"""The direct way to a shard: frames of commands over a Unix socket, or TCP with a token between machines."""

import asyncio
import contextlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from actors import sockets
from actors.errors import ActorError, OutcomeUnknownError
from actors.frames import (
    FRAME_BYTES_MAX,
    GOODBYE,
    Bytes,
    Call,
    CallFrame,
    Frames,
    Reply,
    ReplyFrame,
    call_decoder,
    encoder,
    reply_decoder,
    reply_of,
)
from actors.work import Done
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin, Sell
from persistence.errors import UNDECODABLE

TOKEN_BYTES_MIN: Final = 16
TOKEN_BYTES_MAX: Final = 1_024
"""Most that a connection may send before it has shown its token."""
CONNECT_SECONDS_MAX: Final = 2.0
"""How long a connection may take, and how long it may be open without its token."""
CONNECTIONS_MAX: Final = 1_024
"""Connections of one shard at once: each gateway and each part of the bridge has one, and one of another time may
linger where its machine is gone."""
GOODBYE_SECONDS_MAX: Final = 1.0
"""How long callers have to take their leave of a shard that is stopping, once they have their answers."""


class Takes(Protocol):
    """Where a server puts commands: :meth:`actors.shard.Shard.submit`."""

    def __call__(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        """Take one command; ``done`` is called once with its outcome."""
        ...


class _Frame:
    """Gathers the outcomes of one frame of calls."""

    __slots__ = ("_connection", "_number", "_ready", "_waiting")

    def __init__(self, connection: "_Served", frame: CallFrame) -> None:
        self._connection = connection
        self._number = frame.frame
        self._ready: list[Reply] = []
        # a sale takes several rounds; the caller must not wait for it before it sends its next frame
        self._waiting = sum(not isinstance(call.command, Sell) for call in frame.calls)
        if self._waiting == 0:
            connection.reply(ReplyFrame(self._number, [], turn=True))

    def done(self, position: int, *, quick: bool) -> Done:
        """What the shard calls with the outcome of one call."""

        def take(outcome: Answer | ActorError) -> None:
            self._ready.append(reply_of(position, outcome))
            self._waiting -= 1
            if self._waiting == 0:
                self._connection.reply(ReplyFrame(self._number, self._ready, turn=True))
                self._ready = []

        def take_late(outcome: Answer | ActorError) -> None:
            self._connection.reply(ReplyFrame(self._number, [reply_of(position, outcome)], turn=False))

        return take if quick else take_late


class _Served(Frames):
    """The shard's end of a connection."""

    def __init__(
        self, takes: Takes, token: bytes | None, came: Callable[["_Served"], bool], went: Callable[["_Served"], None]
    ) -> None:
        super().__init__()
        self._takes = takes
        self._token = token
        self._came = came
        self._went = went
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._came(self):
            self.cut("too many are open")
            return
        if self._token is not None:
            self.frame_bytes_max = TOKEN_BYTES_MAX
            self._patience = asyncio.get_running_loop().call_later(CONNECT_SECONDS_MAX, self.cut, "it shows no token")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._went(self)
        if self._patience is not None:
            self._patience.cancel()

    def frame_received(self, frame: Bytes) -> None:
        if self._token is not None:
            self._show(frame, self._token)
            return
        try:
            calls = call_decoder.decode(frame)
        except UNDECODABLE as error:
            self.cut(f"a frame cannot be read ({error}); is the caller of another version?")
            return
        gathered = _Frame(self, calls)
        for position, call in enumerate(calls.calls):
            quick = not isinstance(call.command, Sell)
            self._takes(call.entity, call.command, call.origin, gathered.done(position, quick=quick))

    def reply(self, frame: ReplyFrame) -> None:
        """Send outcomes back, in several frames if one would be too long."""
        encoded = encoder.encode(frame)
        if len(encoded) <= FRAME_BYTES_MAX:
            self.send(encoded)
        elif len(frame.replies) == 1:
            late = OutcomeUnknownError("The answer is too long to be sent.")
            self.reply(ReplyFrame(frame.frame, [reply_of(frame.replies[0].position, late)], frame.turn))
        else:
            half = len(frame.replies) // 2
            self.reply(ReplyFrame(frame.frame, frame.replies[:half], turn=False))
            self.reply(ReplyFrame(frame.frame, frame.replies[half:], frame.turn))

    def _show(self, frame: Bytes, token: bytes) -> None:
        if not hmac.compare_digest(frame, token):
            self.cut("its token is wrong")
            return
        self._token = None
        self.frame_bytes_max = FRAME_BYTES_MAX
        if self._patience is not None:
            self._patience.cancel()


class ChannelServer:
    """Listens for a shard."""

    def __init__(self, takes: Takes, token: bytes | None = None) -> None:
        self._takes = takes
        self._token = token
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._connections: set[_Served] = set()
        self._deserted = asyncio.Event()
        self._deserted.set()

    @property
    def callers(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def listen_unix(self, path: Path) -> str:
        """Listen on a Unix socket that only this user can reach; gives the address.

        Raises:
            ValueError: the path is too long for a socket.
            PermissionError: somebody else can write to the folder.
        """
        await asyncio.to_thread(sockets.prepare, path)
        self._server = await asyncio.get_running_loop().create_unix_server(self._connected, path)
        self._path = path
        await asyncio.to_thread(path.chmod, 0o600)
        return f"unix:{path}"

    async def listen_tcp(self, host: str) -> str:
        """Listen on a free port of ``host``, for callers that know the token; gives the address.

        Raises:
            ValueError: there is no token, or one that can be guessed.
        """
        if self._token is None or not TOKEN_BYTES_MIN <= len(self._token) <= TOKEN_BYTES_MAX:
            message = f"a TCP channel needs a token of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} bytes"
            raise ValueError(message)
        self._server = await asyncio.get_running_loop().create_server(self._connected, host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"tcp:{host}:{port}"

    async def leave(self) -> None:
        """Take no new connections, and ask the callers that are there to go elsewhere. Idempotent.

        They keep their connections for as long as they wait for answers.
        """
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._path is not None:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
        for connection in self._connections:
            connection.reply(GOODBYE)

    async def close(self) -> None:
        """Leave, give the callers some time to go, and hang up on those that do not. Idempotent."""
        await self.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS_MAX):
                await self._deserted.wait()
        for connection in list(self._connections):
            connection.transport.close()

    def _connected(self) -> _Served:
        return _Served(self._takes, self._token, self._came, self._went)

    def _came(self, connection: _Served) -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        self._deserted.clear()
        return True

    def _went(self, connection: _Served) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()


class Connection(Frames):
    """The caller's end of a connection."""

    def __init__(self, replied: "Replied", lost: "Lost") -> None:
        super().__init__()
        self._replied = replied
        self._lost = lost

    def frame_received(self, frame: Bytes) -> None:
        """Outcomes have come."""
        try:
            replies = reply_decoder.decode(frame)
        except UNDECODABLE as error:
            self.cut(f"a reply cannot be read ({error}); is the shard of another version?")
            return
        self._replied(self, replies)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the lane."""
        self._lost(self)


Replied = Callable[[Connection, ReplyFrame], None]
Lost = Callable[[Connection], None]


def encode_calls(frame: int, calls: list[Call]) -> bytes:
    """A frame of commands, to be sent over a :class:`Connection`; at most :data:`FRAME_BYTES_MAX` long."""
    return encoder.encode(CallFrame(frame, calls))


async def connect(address: str, token: bytes | None, replied: Replied, lost: Lost) -> Connection:
    """Connect to a shard; ``replied`` gets what it answers, and ``lost`` is called once when the connection has ended.

    Raises:
        OSError: nobody listens there, not in time, or whoever does hung up at once.
    """
    loop = asyncio.get_running_loop()
    kind, _, place = address.partition(":")
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        if kind == "unix":
            _, connection = await loop.create_unix_connection(lambda: Connection(replied, lost), place)
        else:
            host, _, port = place.rpartition(":")
            _, connection = await loop.create_connection(lambda: Connection(replied, lost), host, int(port))
    if kind == "tcp" and token is not None:
        connection.send(token)
    if connection.transport.is_closing():
        raise ConnectionResetError("the shard hung up")
    return connection
