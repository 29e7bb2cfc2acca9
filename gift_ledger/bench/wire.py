"""One connection of the load generator: requests out, answers in, no pipelining."""

import socket
from select import EPOLLIN, EPOLLOUT
from typing import Final

from gift_ledger.bench.requests import Address, Answer

CONNECT_SECONDS_MAX: Final = 5.0
CHUNK_BYTES: Final = 262_144

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


class WireError(Exception):
    """The server closed a connection, or what it sent is no answer that we understand."""


class Wire:
    """A connection; it never blocks once it is open.

    Args:
        address: where to.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._received = b""
        self.fileno: Final = self._socket.fileno()
        self.number = -1
        """Of the flow that it is carrying."""
        self.intended_ns = 0
        """When the flow was to begin, by the monotonic clock."""

    @property
    def events(self) -> int:
        """What it waits for, as ``epoll`` has it."""
        return EPOLLIN | EPOLLOUT if self._unsent else EPOLLIN

    def send(self, request: bytes) -> None:
        """Send a request, or as much of it as goes out now.

        Raises:
            WireError: the connection is gone.
        """
        self._unsent = memoryview(request)
        self.flush()

    def flush(self) -> None:
        """Send what is left of the request.

        Raises:
            WireError: the connection is gone.
        """
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            raise WireError(str(error)) from error
        self._unsent = self._unsent[sent:]

    def receive(self) -> Answer | None:
        """The answer, if all of it has come.

        Raises:
            WireError: the connection is gone.
        """
        try:
            chunk = self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise WireError(str(error)) from error
        if not chunk:
            raise WireError("the server closed the connection")
        self._received += chunk
        return self._answer()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _answer(self) -> Answer | None:
        received = self._received
        end = received.find(_HEAD_END)
        if end < 0:
            return None
        body_at = end + len(_HEAD_END)
        body_end = body_at + _content_length(received[:body_at])
        if len(received) < body_end:
            return None
        self._received = received[body_end:]
        return Answer(int(received[9:12]), received[body_at:body_end])


def _content_length(head: bytes) -> int:
    at = head.find(_LENGTH)
    if at < 0:
        head = head.lower()
        at = head.find(_LENGTH)
        if at < 0:
            raise WireError("an answer without Content-Length")
    at += len(_LENGTH)
    return int(head[at : head.index(b"\r\n", at)])
