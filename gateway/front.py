"""The front of the gateway: what every request passes, and the short way of the calls that come by the thousand.

Routing, dependency injection and response objects cost more than a till's whole authorization. So the calls in
:data:`HOT` are recognised here and answered at once, by the function that Litestar's handlers call as well; all else
goes to Litestar.
"""

from time import perf_counter
from typing import Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from gateway.access import Call
from gateway.certificates import Certificates
from gateway.exchange import SCOPE_KEY, Exchange, current
from gateway.faults import Fault, ProblemError
from gateway.metrics import Metrics
from gateway.problems import problem
from gateway.reply import send_reply
from ledger.refusals import Refusal

HOT: Final = {call.value: call for call in (Call.AUTHORIZE, Call.CAPTURE, Call.VOID)}
ORDERS: Final = "/orders/"
HEALTH: Final = "/health/"
"""Answered however many requests are under way: a gateway that is only busy must not be restarted for it."""


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
        self._metrics = metrics
        self._in_flight_max = in_flight_max
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand on what is not HTTP."""
        if scope["type"] != ScopeType.HTTP:
            await self._rest(scope, receive, send)
            return
        exchange = Exchange(scope)
        current.set(exchange)
        metrics = self._metrics
        started = perf_counter()
        metrics.in_flight += 1
        status = 0
        try:
            if metrics.in_flight > self._in_flight_max and not scope["path"].startswith(HEALTH):
                error = ProblemError(Fault.OVERLOADED, "Too many requests are under way; nothing happened. Try again.")
                reply = problem(exchange, error)
            elif b"%" in scope["raw_path"] and _hides_a_slash(scope):
                reply = problem(exchange, ProblemError(Refusal.NOT_FOUND, "There is nothing at this address."))
            elif scope["method"] == "POST" and (target := self._target(scope["path"])) is not None:
                try:
                    reply = await self._certificates.post(exchange, *target, receive)
                except Exception as error:  # noqa: BLE001 - the one place where a request's errors end
                    reply = problem(exchange, error)
            else:
                status = await self._through(exchange, scope, receive, send)
                return
            status = reply.status
            await send_reply(reply, exchange.common, send, bodiless=scope["method"] == "HEAD")
        finally:
            metrics.in_flight -= 1
            metrics.count(exchange.call, status, perf_counter() - started, exchange.code)

    def _target(self, path: str) -> tuple[Call, str] | None:
        """Call and code of ``/certificates/{code}/{call}`` if that is a hot one."""
        parts = path.split("/")
        if len(parts) != 4 or parts[1] != "certificates" or parts[0] or not parts[2]:  # noqa: PLR2004
            return None
        call = self._hot.get(parts[3])
        return None if call is None else (call, parts[2])

    async def _through(self, exchange: Exchange, scope: HTTPScope, receive: Receive, send: Send) -> int:
        """Have Litestar answer; gives the status. HEAD is GET without the body."""
        status = 0
        bodiless = scope["method"] == "HEAD"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *exchange.common]
            elif bodiless and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self._rest(cast("HTTPScope", {**scope, SCOPE_KEY: exchange}), receive, sending)
        except Exception as error:
            if status:
                raise  # the response is on its way: the server closes the connection
            reply = problem(exchange, error)
            status = reply.status
            await send_reply(reply, exchange.common, send, bodiless=bodiless)
        return status


def _hides_a_slash(scope: HTTPScope) -> bool:
    """Whether a slash in the path came percent-encoded, and so does not part it. Only an order id may have one."""
    return b"%2f" in scope["raw_path"].lower() and not scope["path"].startswith(ORDERS)
