"""One connection of a client: bounds that uvicorn does not have, and the way of the hot calls past its tasks.

uvicorn times nothing but the pause after a response. So a client that sends nothing, a byte a minute or a head without
an end would hold its connection and memory for ever; and what cannot be parsed would be answered without what every
response has to carry.

A hot call that has come in one piece is begun right here, and answered when its outcome comes: a task for each, with
its coroutines and messages, would take as long as all the rest of the gateway.
"""

import asyncio
from asyncio import TimerHandle, Transport
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Final, Protocol, cast

import httptools
from litestar.types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.addresses import Addresses, networks
from gateway.crowd import Crowd
from gateway.cycle import Outgoing, ShortCycle
from gateway.exchange import Exchange
from gateway.faults import Fault, ProblemError, invalid
from gateway.front import Respond
from gateway.metrics import Metrics
from gateway.problems import problem
from gateway.reply import CLOSE, Header, Reply
from gateway.settings import GatewaySettings
from ledger.answers import Answer

_HOP_BY_HOP: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})


HOT_PATH: Final = b"/certificates/"
LINGER_SECONDS: Final = 1.0
"""How long a client that has its answer may go on sending before the connection is closed."""


class Stage(Enum):
    """How much of a request has come."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


# Under load they are looked at ten times for each request, and Python 3.11 takes long to find a member in its class.
IDLE, HEAD, BODY = Stage


class Begin(Protocol):
    """Begins on a request: :meth:`gateway.front.Front.begin`."""

    def __call__(self, scope: HTTPScope, body: bytes, respond: Respond) -> asyncio.Future[Answer] | None:
        """``None``: it has to take the ordinary way."""
        ...


class BoundedConnection(HttpToolsProtocol):
    """Closes itself when a request takes too long to come, is too long, or does not come at all."""

    settings: ClassVar[GatewaySettings]
    begin: ClassVar[Begin | None]
    metrics: ClassVar[Metrics]
    crowd: ClassVar[Crowd]

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's signature
        super().__init__(*arguments, **named)
        self._stage = IDLE
        self._messages = 0
        self._timed = (0, IDLE)
        self._timer: TimerHandle | None = None
        self._quiet_since: float | None = None
        self._quiet_timer: TimerHandle | None = None
        # a bound of the head's length that costs nothing: all that came since it began, with the chunk that it began in
        self._head_bytes = self._first_chunk_bytes = self._chunk_bytes = 0
        self._fault: ProblemError | None = None
        self._ended = False
        self._upgrading = False
        # the body of a request that is begun once it is complete, if that is in this chunk
        self._whole: bytes | None = None
        self._begun: asyncio.Future[Answer] | None = None

    # --- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client is there; it has as long to begin as between two requests."""
        super().connection_made(transport)
        self._outgoing = Outgoing(transport, self._end, self.loop)
        self.metrics.connections += 1
        self._address = self.crowd.enter(self.client)
        if self.metrics.connections > self.settings.connections_max or self.crowd.is_too_large(self._address):
            self._turn_away()
        else:
            self._wait_for_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.metrics.connections -= 1
        self.crowd.leave(self._address)
        self._clock(IDLE)
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
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
        if self._whole is not None:
            self._as_it_comes(self._whole)
        if self._stage is HEAD and self._is_too_long():
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
        self._stage = HEAD
        self._head_bytes = self._first_chunk_bytes = self._chunk_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind the body mean nothing here, and are not kept."""
        if self._stage is HEAD:
            name = name.lower()
            if name == b"expect":
                super().on_header(name, value)
            else:
                self.headers.append((name, value))

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
        self._stage = BODY
        self._unset_keepalive_if_required()
        if self._may_begin():
            self._whole = b""
        else:
            self._as_it_comes()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._whole is None:
            super().on_body(body)
        else:
            self._whole += body

    def on_message_complete(self) -> None:
        """All of the request has come."""
        if self._upgrading:
            self._upgrading = False
            return
        self._stage = IDLE
        if self._whole is not None:
            if self._begins(self._whole):
                return
            self._as_it_comes(self._whole)
        super().on_message_complete()

    def _as_it_comes(self, body: bytes = b"") -> None:
        """Have the request answered by a task, from its head on; ``body`` is what has come of the rest."""
        self._whole = None
        super().on_headers_complete()
        self.cycle.transport = cast("Transport", self._outgoing)
        if body:
            super().on_body(body)

    # --- the hot calls -----------------------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        """Whether the request may be a hot call; any doubt sends it the ordinary way."""
        parser = self.parser
        cycle: RequestResponseCycle | None = self.cycle
        return (
            self.begin is not None
            and self.url.startswith(HOT_PATH)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and (cycle is None or cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
        )

    def _begins(self, body: bytes) -> bool:
        url = self.url
        if self.begin is None or b"?" in url or b"%" in url or not url.isascii():
            return False
        scope = {"method": "POST", "path": url.decode(), "headers": self.headers, "client": self.client}
        short = ShortCycle(keep_alive=self.parser.should_keep_alive())
        self._begun = self.begin(cast("HTTPScope", scope), body, partial(self._respond, short))
        if self._begun is None:
            return False
        self._whole = None
        self.cycle = cast("RequestResponseCycle", short)
        return True

    def _respond(self, short: ShortCycle, reply: Reply, common: tuple[Header, ...]) -> None:
        self._begun = None
        short.response_complete = True
        if self.transport.is_closing():
            return
        if not short.keep_alive:
            common = (*common, CLOSE)
        self._write(reply, common)
        if not short.keep_alive:
            self._end()
        self.on_response_complete()

    def give_up(self) -> None:
        """Answer what is under way without its outcome: the server stops, and waits no longer."""
        if self._begun is not None:
            self._begun.cancel()

    def on_response_complete(self) -> None:
        """As uvicorn does it, but for its timer: one for each response takes longer than to parse the request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._wait_for_a_request()

    # --- bounds ------------------------------------------------------------------------------------------------------

    def _wait_for_a_request(self) -> None:
        """From now on the client has ``timeout_keep_alive`` seconds to begin on one."""
        self._quiet_since = self.loop.time()
        if self._quiet_timer is None:
            self._quiet_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_it_is_quiet)

    def _unset_keepalive_if_required(self) -> None:
        """A request has begun. The timer stays: it finds that out by itself."""
        self._quiet_since = None

    def _look_whether_it_is_quiet(self) -> None:
        self._quiet_timer = None
        if self._quiet_since is None:
            return  # set again once there is nothing under way
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._quiet_timer = self.loop.call_later(left, self._look_whether_it_is_quiet)
        else:
            self.timeout_keep_alive_handler()

    def _clock(self, stage: Stage) -> None:
        """Time the stage: what is complete is not timed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = (self._messages, stage)
        if stage is not IDLE:
            self._timer = self.loop.call_later(self.settings.receive_seconds, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        if self.flow.read_paused or self.pipeline:
            self._clock(self._stage)  # it is we who are not there yet
        elif self._stage is HEAD:
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
        self._clock(IDLE)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        self._tell(error)
        self._stage = HEAD  # there may be more of it
        self._end()

    def _turn_away(self) -> None:
        """Say that there are too many connections, and close this one: nothing of it is read."""
        self.metrics.connections_refused += 1
        self._ended = True
        self._tell(ProblemError(Fault.OVERLOADED, "Too many connections are open; nothing happened."))
        self.transport.close()

    def _tell(self, error: ProblemError) -> None:
        """Answer what is no request, or not looked at."""
        scope: dict[str, Any] = {"type": "http", "method": "", "path": "", "headers": [], "client": self.client}
        exchange = Exchange(cast("HTTPScope", scope))
        reply = problem(exchange, error)
        self.metrics.count_refused(reply.status, exchange.code)
        self._write(reply, (*exchange.common, CLOSE))

    def _write(self, reply: Reply, common: tuple[Header, ...]) -> None:
        """Send a reply behind whatever was written before it."""
        length = (b"content-length", b"%d" % len(reply.body))
        headers = (*self.server_state.default_headers, *reply.headers, length, *common)
        head = b"".join([b"%s: %s\r\n" % header for header in headers])
        self._outgoing.flush()
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[reply.status], head, reply.body))

    def _end(self) -> None:
        """Close the connection: at once if all of the request has come.

        While a client is still sending, its system would throw the answer away at that. So it may go on for a moment,
        and what it sends is dropped. Only without TLS it sees at once that nothing more will come.
        """
        self._outgoing.flush()
        if self._stage is IDLE:
            self.transport.close()
            return
        self._clock(IDLE)
        self._ended = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


def bounded(settings: GatewaySettings, begin: Begin | None, metrics: Metrics) -> type[BoundedConnection]:
    """The class of connections with these bounds; ``begin`` takes the hot calls that come in one piece."""
    begin = None if begin is None else staticmethod(begin)
    crowd = Crowd(Addresses(networks(settings.trusted_proxies)), settings.connections_address_max)
    members = {"settings": settings, "begin": begin, "metrics": metrics, "crowd": crowd}
    return type("BoundedConnection", (BoundedConnection,), members)
