"""The front of the gateway: what every request passes, and the short way of the calls that come by the thousand.

Routing, dependency injection and response objects cost more than a till's whole authorization. So the calls in
:data:`HOT` are recognised here and answered at once, by the function that Litestar's handlers call as well; all else
goes to Litestar.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from actors.errors import OutcomeUnknownError
from gateway.access import Call
from gateway.certificates import Certificates
from gateway.exchange import SCOPE_KEY, Exchange, current
from gateway.faults import Fault, ProblemError
from gateway.metrics import Metrics
from gateway.problems import problem
from gateway.reply import CLOSE, Header, Reply, send_reply
from ledger.answers import Answer
from ledger.refusals import Refusal

HOT: Final = {call.value: call for call in (Call.AUTHORIZE, Call.CAPTURE, Call.VOID)}
ORDERS: Final = "/orders/"
HEALTH: Final = "/health/"
"""Answered however many requests are under way: a gateway that is only busy must not be restarted for it."""
STOPPED: Final = "The gateway was stopped in the middle of the request."

Respond = Callable[[Reply, tuple[Header, ...]], None]
"""Takes the reply, and the headers that all responses to the request carry."""


class Front:
    """The ASGI application that the server runs.

    Gives each request its id, counts it, bounds how many are under way, and sees to it that every response carries what
    every response has to.

    Args:
        rest: takes what is not answered here.
        certificates: answers the POST calls.
        metrics: where requests are counted.
        in_flight_max: requests under way at once; more are refused.
        hot: calls that take the short way, by the last part of their path.
    """

    def __init__(
        self,
        rest: ASGIApp,
        certificates: Certificates,
        metrics: Metrics,
        in_flight_max: int,
        hot: dict[str, Call] = HOT,
    ) -> None:
        self._rest = rest
        self._certificates = certificates
        self.metrics = metrics
        self._in_flight_max = in_flight_max
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand on what is not HTTP."""
        if scope["type"] != ScopeType.HTTP:
            await self._rest(scope, receive, send)
            return
        exchange = Exchange(scope)
        current.set(exchange)
        metrics = self.metrics
        started = perf_counter()
        metrics.in_flight += 1
        try:
            reply = await self._reply(exchange, scope, receive, send)
            if reply is not None:
                exchange.status = reply.status
                await send_reply(reply, exchange.common, send, bodiless=scope["method"] == "HEAD")
        except asyncio.CancelledError:
            if not exchange.status:
                reply = problem(exchange, OutcomeUnknownError(STOPPED))
                exchange.status = reply.status
                await send_reply(reply, (*exchange.common, CLOSE), send, bodiless=scope["method"] == "HEAD")
            raise
        finally:
            metrics.in_flight -= 1
            metrics.count(exchange.call, exchange.status, perf_counter() - started, exchange.code)

    def begin(self, scope: HTTPScope, body: bytes, respond: Respond) -> asyncio.Future[Answer] | None:
        """Begin on a hot call that has come as a whole, without a task of its own; ``respond`` gets the reply.

        Cancel the future to have the reply at once: that the outcome is unknown. ``None``: nothing was begun, the
        request has to take the ordinary way. That goes for whatever is not as it should be, too: it is told there.
        """
        metrics = self.metrics
        target = self._target(scope["path"])
        if target is None or metrics.in_flight >= self._in_flight_max:
            return None
        exchange = Exchange(scope)
        token = current.set(exchange)
        try:
            answering = self._certificates.begin(exchange, *target, body)
            if answering is not None:
                metrics.in_flight += 1
                answering.add_done_callback(partial(self._answered, exchange, perf_counter(), respond))
        except Exception:  # noqa: BLE001 - met again on the ordinary way, and told there
            return None
        finally:
            current.reset(token)
        return answering

    def _answered(
        self, exchange: Exchange, started: float, respond: Respond, answering: asyncio.Future[Answer]
    ) -> None:
        metrics = self.metrics
        metrics.in_flight -= 1
        try:
            reply = self._certificates.reply(exchange, answering.result())
        except asyncio.CancelledError:
            reply = problem(exchange, OutcomeUnknownError(STOPPED))
        except Exception as error:  # noqa: BLE001 - told, and logged if it is a defect
            reply = problem(exchange, error)
        metrics.count(exchange.call, reply.status, perf_counter() - started, exchange.code)
        respond(reply, exchange.common)

    async def _reply(self, exchange: Exchange, scope: HTTPScope, receive: Receive, send: Send) -> Reply | None:
        """The reply to a request; ``None``: Litestar has sent it already."""
        try:
            self._check(scope)
            if scope["method"] == "POST" and (target := self._target(scope["path"])) is not None:
                return await self._certificates.post(exchange, *target, receive)
            await self._through(exchange, scope, receive, send)
        except Exception as error:
            if exchange.status:
                raise  # the response is on its way: the server closes the connection
            return problem(exchange, error)
        return None

    def _check(self, scope: HTTPScope) -> None:
        if self.metrics.in_flight > self._in_flight_max and not scope["path"].startswith(HEALTH):
            raise ProblemError(Fault.OVERLOADED, "Too many requests are under way; nothing happened. Try again.")
        if b"%" in scope["raw_path"] and b"%2f" in scope["raw_path"].lower() and not scope["path"].startswith(ORDERS):
            # a slash that came percent-encoded does not part the path, and only an order id may have one
            raise ProblemError(Refusal.NOT_FOUND, "There is nothing at this address.")

    def _target(self, path: str) -> tuple[Call, str] | None:
        """Call and code of ``/certificates/{code}/{call}`` if that is a hot one."""
        parts = path.split("/")
        if len(parts) != 4 or parts[1] != "certificates" or parts[0] or not parts[2]:  # noqa: PLR2004
            return None
        call = self._hot.get(parts[3])
        return None if call is None else (call, parts[2])

    async def _through(self, exchange: Exchange, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Have Litestar answer. HEAD is GET without the body."""
        bodiless = scope["method"] == "HEAD"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *exchange.common]
            elif bodiless and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await self._rest(cast("HTTPScope", {**scope, SCOPE_KEY: exchange}), receive, sending)
