"""The direct way to a shard: frames of commands over a Unix socket, or TCP with a token between machines.

A frame is its length (4 bytes, little-endian) and a msgpack message. A caller sends a :class:`CallFrame` and gets
back one
:class:`ReplyFrame` with all answers that came out of the same round, and further ones with those that take longer
(sales).
"""

import asyncio
import hmac
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.settings import SOCKET_PATH_BYTES_MAX
from actors.work import Done
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin, Sell

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer frame is no frame of ours; the connection is cut."""
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Replies that a caller has not read; beyond it the connection is cut."""
CONNECT_SECONDS_MAX: Final = 2.0
_LENGTH_BYTES: Final = 4

_logger = logging.getLogger(__name__)


class Call(Struct, frozen=True, array_like=True):
    """One command on the wire."""

    entity: str
    command: AnyCommand
    origin: Origin


class CallFrame(Struct, frozen=True, array_like=True):
    """Commands that were sent together; ``frame`` numbers the frames of a connection."""

    frame: int
    calls: list[Call]


class Reply(Struct, frozen=True, array_like=True):
    """Outcome of the call at ``position`` of its frame."""

    position: int
    answer: Answer | None = None
    failure: Literal["", "overloaded", "unknown"] = ""
    detail: str = ""

    @property
    def outcome(self) -> Answer | ActorError:
        """The answer, or why there is none."""
        if self.answer is not None:
            return self.answer
        return OverloadedError(self.detail) if self.failure == "overloaded" else OutcomeUnknownError(self.detail)


class ReplyFrame(Struct, frozen=True, array_like=True):
    """Outcomes of some calls of a frame, each once."""

    frame: int
    replies: list[Reply]


class Takes(Protocol):
    """Where a server puts commands: :meth:`actors.shard.Shard.submit`."""

    def __call__(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        """Take one command; ``done`` is called once with its outcome."""
        ...


_call_encoder: Final = msgspec.msgpack.Encoder()
_call_decoder: Final = msgspec.msgpack.Decoder(CallFrame)
_reply_encoder: Final = msgspec.msgpack.Encoder()
_reply_decoder: Final = msgspec.msgpack.Decoder(ReplyFrame)


class _Frames(asyncio.Protocol):
    """Cuts the byte stream into frames."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type
        self.transport = transport
        transport.set_write_buffer_limits(high=UNREAD_BYTES_MAX)

    def pause_writing(self) -> None:
        """The peer has stopped reading; waiting for it would only fill the memory."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "little")
            if length > FRAME_BYTES_MAX:
                self.transport.abort()
                return
            end = start + _LENGTH_BYTES + length
            if len(buffer) < end:
                break
            frame = bytes(buffer[start + _LENGTH_BYTES : end])
            start = end
            self.frame_received(frame)
        del buffer[:start]

    def frame_received(self, frame: bytes) -> None:
        """A whole frame has come."""
        raise NotImplementedError

    def send(self, frame: bytes) -> None:
        """Send a frame; on a connection that is gone nothing happens."""
        if not self.transport.is_closing():
            self.transport.write(len(frame).to_bytes(_LENGTH_BYTES, "little") + frame)


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
            connection.reply(ReplyFrame(frame.frame, []))

    def done(self, position: int, *, quick: bool) -> Done:
        """What the shard calls with the outcome of one call."""

        def take(outcome: Answer | ActorError) -> None:
            if isinstance(outcome, Answer):
                self._ready.append(Reply(position, outcome))
            else:
                failure: Literal["overloaded", "unknown"] = (
                    "overloaded" if isinstance(outcome, OverloadedError) else "unknown"
                )
                self._ready.append(Reply(position, None, failure, outcome.detail))
            self._waiting -= quick
            if self._waiting == 0 or not quick:
                self._connection.reply(ReplyFrame(self._number, self._ready))
                self._ready = []

        return take


class _Served(_Frames):
    """The shard's end of a connection."""

    def __init__(self, takes: Takes, token: bytes | None, connections: "set[_Served]") -> None:
        super().__init__()
        self._takes = takes
        self._token = token
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connections.discard(self)

    def frame_received(self, frame: bytes) -> None:
        if self._token is not None:
            if not hmac.compare_digest(frame, self._token):
                _logger.warning("a connection with a wrong token was refused")
                self.transport.abort()
            self._token = None
            return
        try:
            calls = _call_decoder.decode(frame)
        except msgspec.MsgspecError:
            _logger.exception("a frame cannot be read; is the caller of another version?")
            self.transport.abort()
            return
        gathered = _Frame(self, calls)
        for position, call in enumerate(calls.calls):
            quick = not isinstance(call.command, Sell)
            self._takes(call.entity, call.command, call.origin, gathered.done(position, quick=quick))

    def reply(self, replies: ReplyFrame) -> None:
        """Send outcomes back."""
        self.send(_reply_encoder.encode(replies))


class ChannelServer:
    """Listens for a shard."""

    def __init__(self, takes: Takes, token: bytes | None = None) -> None:
        self._takes = takes
        self._token = token
        self._server: asyncio.Server | None = None
        self._connections: set[_Served] = set()

    async def listen_unix(self, path: Path) -> str:
        """Listen on a Unix socket that only this user can reach; gives the address.

        Raises:
            ValueError: the path is too long for a socket.
        """
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            message = f"{path} is too long for a Unix socket; set a shorter DATA_DIR"
            raise ValueError(message)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(self._connected, path)
        path.chmod(0o600)
        return f"unix:{path}"

    async def listen_tcp(self, host: str) -> str:
        """Listen on a free port of ``host``, for callers that know the token; gives the address."""
        if self._token is None:
            message = "a TCP channel needs a token"
            raise ValueError(message)
        self._server = await asyncio.get_running_loop().create_server(self._connected, host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"tcp:{host}:{port}"

    async def close(self) -> None:
        """Stop listening and cut the connections. Idempotent."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.transport.close()
            await self._server.wait_closed()
            self._server = None

    def _connected(self) -> _Served:
        return _Served(self._takes, self._token, self._connections)


class Connection(_Frames):
    """The caller's end of a connection."""

    def __init__(self, replied: Callable[[ReplyFrame], None], lost: Callable[["Connection"], None]) -> None:
        super().__init__()
        self._replied = replied
        self._lost = lost

    def frame_received(self, frame: bytes) -> None:
        """Outcomes have come."""
        self._replied(_reply_decoder.decode(frame))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the lane."""
        self._lost(self)

    def call(self, frame: int, calls: list[Call]) -> None:
        """Send a frame of commands."""
        self.send(_call_encoder.encode(CallFrame(frame, calls)))


async def connect(
    address: str,
    token: bytes | None,
    replied: Callable[[ReplyFrame], None],
    lost: Callable[[Connection], None],
) -> Connection:
    """Connect to a shard.

    Raises:
        OSError: nobody listens there, or not in time.
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
    return connection
