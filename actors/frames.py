"""What travels between callers and shards, and how it is cut out of a stream of bytes.

A frame is its length (4 bytes, little-endian) and a msgpack message. A caller sends a :class:`CallFrame`, and gets its
answers in one or more :class:`ReplyFrame`: those that came out of the same round together, and each that takes longer
(sales) when it is there.
"""

import asyncio
import logging
import socket
from typing import Final, Literal, cast

import msgspec
from msgspec import Struct

from actors.errors import ActorError, LeavingError, OutcomeUnknownError, OverloadedError, PepperMissingError
from ledger.answers import Answer
from ledger.commands import AnyCommand, Origin

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A longer frame is no frame of ours; the connection is cut."""
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a peer has not read; beyond it the connection is cut."""
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


Failure = Literal["", "leaving", "overloaded", "pepper", "unknown"]


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
            case "pepper":
                return PepperMissingError(self.detail)
            case _:
                return OutcomeUnknownError(self.detail)


def reply_of(position: int, outcome: Answer | ActorError) -> Reply:
    """The reply that tells an outcome."""
    failure: Failure
    match outcome:
        case Answer():
            return Reply(position, outcome)
        case LeavingError():
            failure = "leaving"
        case PepperMissingError():
            failure = "pepper"
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


GOODBYE: Final = ReplyFrame(0, [], turn=False)
"""The shard is stopping: it answers what it has taken, and the caller sends it no more. Frames of calls begin at 1."""
encoder: Final = msgspec.msgpack.Encoder()
call_decoder: Final = msgspec.msgpack.Decoder(CallFrame)
reply_decoder: Final = msgspec.msgpack.Decoder(ReplyFrame)


class Frames(asyncio.Protocol):
    """Cuts the byte stream into frames."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.frame_bytes_max = FRAME_BYTES_MAX

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over."""
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
        """Pass on the frames that are whole now."""
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
