"""One connection of a client, with the bounds that uvicorn does not have.

uvicorn times nothing but the pause after a response. So a client that sends nothing, a byte a minute or a head without
an end would hold its connection and memory for ever; and what cannot be parsed would be answered without what every
response has to carry.
"""

import asyncio
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, Final, cast

import httptools
from litestar.types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.exchange import Exchange
from gateway.faults import Fault, ProblemError, invalid
from gateway.problems import problem
from gateway.reply import CLOSE
from gateway.settings import GatewaySettings

_HOP_BY_HOP: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})


LINGER_SECONDS: Final = 1.0
"""How long a client that has its answer may go on sending before the connection is closed."""


class Stage(Enum):
    """How much of a request has come."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


class BoundedConnection(HttpToolsProtocol):
    """Closes itself when a request takes too long to come, is too long, or does not come at all."""

    settings: ClassVar[GatewaySettings]

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's signature
        super().__init__(*arguments, **named)
        self._stage = Stage.IDLE
        self._messages = 0
        self._timed = (0, Stage.IDLE)
        self._timer: TimerHandle | None = None
        # a bound of the head's length that costs nothing: all that came since it began, with the chunk that it began in
        self._head_bytes = self._first_chunk_bytes = self._chunk_bytes = 0
        self._fault: ProblemError | None = None
        self._ended = False
        self._upgrading = False

    # --- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client is there; it has as long to begin as between two requests."""
        super().connection_made(transport)
        self._outgoing = _Outgoing(transport, self._end, self.loop)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._unset_keepalive_if_required()
        self._clock(Stage.IDLE)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: close once what is under way is answered."""
        self._outgoing.flush()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take what came. Only a request that begins ends the idle time: line breaks between two do not."""
        if self._ended:
            return
        self._chunk_bytes = len(data)
        self._head_bytes += self._chunk_bytes
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or invalid("", "This is not an HTTP request."))
            return
        if self._stage is Stage.HEAD and self._is_too_long():
            self._refuse(self._too_long())
            return
        if self._timed != (self._messages, self._stage):
            self._clock(self._stage)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # Not taken up, which is a server's right (RFC 9110, 7.8). But the parser takes the body for the other
                # protocol. So the rest is read by a parser that is not told of the upgrade, which Java's client sends
                # with ordinary requests.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [name + b": " + value for name, value in self.headers if name not in _HOP_BY_HOP]
        return b"\r\n".join([first, *lines, b"\r\n"])

    # --- what the parser tells ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._messages += 1
        self._stage = Stage.HEAD
        self._head_bytes = self._first_chunk_bytes = self._chunk_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind the body mean nothing here, and are not kept."""
        if self._stage is Stage.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: the request is answered from here on."""
        parser = self.parser
        if self._head_bytes > self.settings.head_bytes_max < self._parsed():
            self._fault = self._too_long()
            raise self._fault
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                self._fault = invalid("", "This is not a proxy.")
                raise self._fault
            self._upgrading = True
            return
        self._stage = Stage.BODY
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        self.cycle.transport = cast("Transport", self._outgoing)

    def on_message_complete(self) -> None:
        """All of the request has come."""
        if self._upgrading:
            self._upgrading = False
            return
        self._stage = Stage.IDLE
        super().on_message_complete()

    # --- bounds ------------------------------------------------------------------------------------------------------

    def _clock(self, stage: Stage) -> None:
        """Time the stage: what is complete is not timed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = (self._messages, stage)
        if stage is not Stage.IDLE:
            self._timer = self.loop.call_later(self.settings.receive_seconds, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        if self.flow.read_paused or self.pipeline:
            self._clock(self._stage)  # it is we who are not there yet
        elif self._stage is Stage.HEAD:
            detail = f"The head of the request did not come within {self.settings.receive_seconds:g} s."
            self._refuse(ProblemError(Fault.REQUEST_TIMEOUT, detail))
        elif self.cycle.response_complete:
            self._end()  # answered long ago, and the body that nobody wants still comes
        else:
            self.cycle.keep_alive = False  # whoever answers it waits for the body no longer either

    def _is_too_long(self) -> bool:
        """Whether a head that is not complete is too long already."""
        bytes_max = self.settings.head_bytes_max
        surely = self._head_bytes - self._first_chunk_bytes
        return self._head_bytes > bytes_max and (surely > bytes_max or self._parsed() > bytes_max)

    def _parsed(self) -> int:
        """Bytes of the head that the parser has told of."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _too_long(self) -> ProblemError:
        detail = f"The head of a request may have {self.settings.head_bytes_max} bytes at most."
        return ProblemError(Fault.REQUEST_TOO_LARGE, detail)

    def _refuse(self, error: ProblemError) -> None:
        """Answer what is no request, and read no further; requests before it are answered first."""
        self._unset_keepalive_if_required()
        self._clock(Stage.IDLE)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        scope = {"type": "http", "method": "", "path": "", "headers": []}
        exchange = Exchange(cast("HTTPScope", scope))
        reply = problem(exchange, error)
        headers = (
            *self.server_state.default_headers,
            *reply.headers,
            (b"content-length", b"%d" % len(reply.body)),
            *exchange.common,
            CLOSE,
        )
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self._outgoing.flush()
        self.transport.write(STATUS_LINE[reply.status] + head + b"\r\n" + reply.body)
        self._stage = Stage.HEAD  # there may be more of it
        self._end()

    def _end(self) -> None:
        """Close the connection: at once if all of the request has come.

        While a client is still sending, its system would throw the answer away at that. So it may go on for a moment,
        and what it sends is dropped.
        """
        self._outgoing.flush()
        if self._stage is Stage.IDLE:
            self.transport.close()
            return
        self._clock(Stage.IDLE)
        self._ended = True
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


class _Outgoing:
    """The transport as a response knows it, whose end is the connection's to make.

    Head and body come one after the other and leave together: that is a system call less here, and one wake-up of the
    client instead of two.
    """

    def __init__(self, transport: Transport, end: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self.is_closing = transport.is_closing
        self._write = transport.write
        self._end = end
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Have ``data`` leave with whatever else is written in this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            self._write(b"".join(self._held))
            self._held.clear()

    def close(self) -> None:
        """The response wants no more of this connection."""
        self._end()


def bounded(settings: GatewaySettings) -> type[asyncio.Protocol]:
    """The class of connections with these bounds."""
    return type("BoundedConnection", (BoundedConnection,), {"settings": settings})
