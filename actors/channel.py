"""The direct way to a shard: frames of commands over a Unix socket, or TCP with a token between machines.

A frame is its length (4 bytes, little-endian) and a msgpack message. A caller sends a :class:`CallFrame`, and gets its
answers in one or more :class:`ReplyFrame`: those that came out of the same round together, and each that takes longer
(sales) when it is there.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol, cast

import msgspec
from msgspec import Struct

from actors import sockets
from actors.errors import ActorError, LeavingError, OutcomeUnknownError, OverloadedError
from actors.work import Done
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin, Sell

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer frame is no frame of ours; the connection is cut."""
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a peer has not read; beyond it the connection is cut."""
TOKEN_BYTES_MIN: Final = 16
TOKEN_BYTES_MAX: Final = 1_024
"""Most that a connection may send before it has shown its token."""
CONNECT_SECONDS_MAX: Final = 2.0
"""How long a connection may take, and how long it may be open without its token."""
GOODBYE_SECONDS_MAX: Final = 1.0
"""How long callers have to take their leave of a shard that is stopping, once they have their answers."""
_LENGTH_BYTES: Final = 4

_logger = logging.getLogger(__name__)

Bytes = bytes | bytearray


class Call(Struct, frozen=True, array_like=True):
    """One command on the wire."""

    entity: str
    command: AnyCommand
    origin: Origin


class CallFrame(Struct, frozen=True, array_like=True):
    """Commands that were sent together; ``frame`` numbers the frames of a connection."""

    frame: int
    calls: list[Call]


Failure = Literal["", "leaving", "overloaded", "unknown"]


class Reply(Struct, frozen=True, array_like=True):
    """Outcome of the call at ``position`` of its frame."""

    position: int
    answer: Answer | None = None
    failure: Failure = ""
    detail: str = ""

    @property
    def outcome(self) -> Answer | ActorError:
        """The answer, or why there is none."""
        if self.answer is not None:
            return self.answer
        match self.failure:
            case "leaving":
                return LeavingError(self.detail)
            case "overloaded":
                return OverloadedError(self.detail)
            case _:
                return OutcomeUnknownError(self.detail)


def _reply(position: int, outcome: Answer | ActorError) -> Reply:
    failure: Failure
    match outcome:
        case Answer():
            return Reply(position, outcome)
        case LeavingError():
            failure = "leaving"
        case OverloadedError():
            failure = "overloaded"
        case _:
            failure = "unknown"
    return Reply(position, None, failure, outcome.detail)


class ReplyFrame(Struct, frozen=True, array_like=True):
    """Outcomes of some calls of a frame, each once.

    ``turn``: all that is answered at once has been; the caller may send its next frame. Each frame gets one such reply.
    """

    frame: int
    replies: list[Reply]
    turn: bool


class Takes(Protocol):
    """Where a server puts commands: :meth:`actors.shard.Shard.submit`."""

    def __call__(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        """Take one command; ``done`` is called once with its outcome."""
        ...


GOODBYE: Final = ReplyFrame(0, [], turn=False)
"""The shard is stopping: it answers what it has taken, and the caller sends it no more. Frames of calls begin at 1."""
_encoder: Final = msgspec.msgpack.Encoder()
_call_decoder: Final = msgspec.msgpack.Decoder(CallFrame)
_reply_decoder: Final = msgspec.msgpack.Decoder(ReplyFrame)


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.frame_bytes_max = FRAME_BYTES_MAX

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # no isinstance: the transports of uvloop, which Ray runs actors on, are none of asyncio's
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=UNREAD_BYTES_MAX)
        own = transport.get_extra_info("socket")
        if own is not None and own.family != socket.AF_UNIX:
            # a machine that is gone says nothing: the kernel finds out
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def pause_writing(self) -> None:
        """The peer has stopped reading; waiting for it would only fill the memory."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        # a connection that was cut in one frame does nothing of what follows it
        while len(buffer) - start >= _LENGTH_BYTES and not self.transport.is_closing():
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "little")
            if length > self.frame_bytes_max:
                self.transport.abort()
                break
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            frame = buffer[start + _LENGTH_BYTES : end]
            start = end
            self.frame_received(frame)
        del buffer[:start]

    def frame_received(self, frame: Bytes) -> None:
        """A whole frame has come."""
        raise NotImplementedError

    def send(self, frame: bytes) -> None:
        """Send a frame; on a connection that is gone nothing happens."""
        if not self.transport.is_closing():
            self.transport.write(len(frame).to_bytes(_LENGTH_BYTES, "little") + frame)

    def cut(self, reason: str) -> None:
        """End a connection whose peer does not speak as we do."""
        _logger.warning("a connection was cut: %s", reason)
        self.transport.abort()


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
            self._ready.append(_reply(position, outcome))
            self._waiting -= 1
            if self._waiting == 0:
                self._connection.reply(ReplyFrame(self._number, self._ready, turn=True))
                self._ready = []

        def take_late(outcome: Answer | ActorError) -> None:
            self._connection.reply(ReplyFrame(self._number, [_reply(position, outcome)], turn=False))

        return take if quick else take_late


class _Served(_Frames):
    """The shard's end of a connection."""

    def __init__(
        self, takes: Takes, token: bytes | None, came: Callable[["_Served"], None], went: Callable[["_Served"], None]
    ) -> None:
        super().__init__()
        self._takes = takes
        self._token = token
        self._came = came
        self._went = went
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._came(self)
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
            calls = _call_decoder.decode(frame)
        except msgspec.MsgspecError as error:
            self.cut(f"a frame cannot be read ({error}); is the caller of another version?")
            return
        gathered = _Frame(self, calls)
        for position, call in enumerate(calls.calls):
            quick = not isinstance(call.command, Sell)
            self._takes(call.entity, call.command, call.origin, gathered.done(position, quick=quick))

    def reply(self, frame: ReplyFrame) -> None:
        """Send outcomes back, in several frames if one would be too long."""
        encoded = _encoder.encode(frame)
        if len(encoded) <= FRAME_BYTES_MAX:
            self.send(encoded)
        elif len(frame.replies) == 1:
            late = OutcomeUnknownError("The answer is too long to be sent.")
            self.reply(ReplyFrame(frame.frame, [_reply(frame.replies[0].position, late)], frame.turn))
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

    def _came(self, connection: _Served) -> None:
        self._connections.add(connection)
        self._deserted.clear()

    def _went(self, connection: _Served) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()


class Connection(_Frames):
    """The caller's end of a connection."""

    def __init__(self, replied: "Replied", lost: "Lost") -> None:
        super().__init__()
        self._replied = replied
        self._lost = lost

    def frame_received(self, frame: Bytes) -> None:
        """Outcomes have come."""
        try:
            replies = _reply_decoder.decode(frame)
        except msgspec.MsgspecError as error:
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
    return _encoder.encode(CallFrame(frame, calls))


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
