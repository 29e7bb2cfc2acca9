"""Litestar's routes.

The POST handlers hand on to :meth:`~gateway.certificates.Certificates.post`, which takes the request from there: three
of them are usually answered before they get here (:mod:`gateway.front`). The GET handlers stand behind
:class:`Admission`.
"""

from typing import Annotated, Any, Final

from litestar import HttpMethod, Request, post, route
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from gateway.access import Call, Client
from gateway.bulk import Bulk
from gateway.certificates import Certificates, admit
from gateway.documentation import Documentation
from gateway.keyring import Keyring
from gateway.metrics import Exposition
from gateway.raw import Raw, exchange_of
from gateway.readiness import LIVE, ReadinessCheck
from gateway.reads import Reads

READ: Final = (HttpMethod.GET, HttpMethod.HEAD)
"""HEAD is GET without the body, which the front leaves out."""
CALL: Final = "call"
"""Option of a handler that names its call, by which :class:`Admission` knows who may come in."""

Asked = Request[Any, Any, Any]
Admitted = Request[Client, Any, Any]


class Admission:
    """Guard of the GET calls: lets in whoever may use the call, before anything else of the request is looked at."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Make the client the connection's user.

        Raises:
            ProblemError: 401 ``Unauthenticated``, 403 ``Forbidden``; 503 while keys cannot be checked.
        """
        call = handler.opt.get(CALL)
        if call is not None:  # Litestar's own answers to OPTIONS are for everybody
            connection.scope["user"] = await admit(self._keyring, exchange_of(connection), call)


# --- changes ---------------------------------------------------------------------------------------------------------


@post("/certificates/{code:str}/authorize")
async def authorize(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Reserve a code for an order line, or set money aside on a certificate."""
    return Raw(await certificates.post(exchange_of(request), Call.AUTHORIZE, code, request.receive))


@post("/certificates/{code:str}/capture")
async def capture(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Take money from an authorization."""
    return Raw(await certificates.post(exchange_of(request), Call.CAPTURE, code, request.receive))


@post("/certificates/{code:str}/void")
async def void(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Undo an authorization, a capture or an activation."""
    return Raw(await certificates.post(exchange_of(request), Call.VOID, code, request.receive))


@post("/certificates/{code:str}/balance")
async def balance(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Tell the balance."""
    return Raw(await certificates.post(exchange_of(request), Call.BALANCE, code, request.receive))


@post("/certificates/{code:str}/block")
async def block(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Stop redemption."""
    return Raw(await certificates.post(exchange_of(request), Call.BLOCK, code, request.receive))


@post("/certificates/{code:str}/unblock")
async def unblock(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Allow redemption again."""
    return Raw(await certificates.post(exchange_of(request), Call.UNBLOCK, code, request.receive))


@post("/certificates/{code:str}/cvc")
async def cvc(request: Asked, code: FromPath[str], certificates: NamedDependency[Certificates]) -> Raw:
    """Send a new CVC to the recipient."""
    return Raw(await certificates.post(exchange_of(request), Call.CVC, code, request.receive))


@post("/authorizations")
async def authorizations(request: Asked, bulk: NamedDependency[Bulk]) -> Raw:
    """Set money aside on many certificates."""
    return Raw(await bulk.post(exchange_of(request), Call.AUTHORIZATIONS, request.receive))


@post("/captures")
async def captures(request: Asked, bulk: NamedDependency[Bulk]) -> Raw:
    """Take money from many authorizations."""
    return Raw(await bulk.post(exchange_of(request), Call.CAPTURES, request.receive))


@post("/voids")
async def voids(request: Asked, bulk: NamedDependency[Bulk]) -> Raw:
    """Undo many operations."""
    return Raw(await bulk.post(exchange_of(request), Call.VOIDS, request.receive))


# --- reads -----------------------------------------------------------------------------------------------------------


@route("/certificates/{code:str}", http_method=READ, opt={CALL: Call.CERTIFICATE})
async def certificate(
    request: Admitted,
    code: FromPath[str],
    reads: NamedDependency[Reads],
    as_of: Annotated[str | None, QueryParameter(name="asOf")] = None,
) -> Raw:
    """Tell the state of a certificate."""
    return Raw(await reads.certificate(exchange_of(request), request.user, code, as_of))


@route("/certificates/{code:str}/operations", http_method=READ, opt={CALL: Call.OPERATIONS})
async def operations(
    request: Admitted,
    code: FromPath[str],
    reads: NamedDependency[Reads],
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
) -> Raw:
    """Tell a page of a certificate's history."""
    return Raw(await reads.operations(exchange_of(request), request.user, code, after, limit))


# ``path``: an order id may hold a slash, which comes percent-encoded and reaches Litestar decoded
@route("/orders/{order_id:path}", http_method=READ, opt={CALL: Call.ORDER})
async def order(request: Admitted, reads: NamedDependency[Reads]) -> Raw:
    """Tell the allocation of an order."""
    return Raw(await reads.order(exchange_of(request), request.user, request.scope["raw_path"]))


@route("/metrics", http_method=READ, opt={CALL: Call.METRICS})
async def metrics(exposition: NamedDependency[Exposition]) -> Raw:
    """Tell the metrics."""
    return Raw(await exposition.reply())


# --- for everybody ---------------------------------------------------------------------------------------------------


@route("/health/live", http_method=READ)
async def live() -> Raw:
    """Tell that the process answers."""
    return Raw(LIVE)


@route("/health/ready", http_method=READ)
async def ready(readiness: NamedDependency[ReadinessCheck]) -> Raw:
    """Tell whether the service can work."""
    return Raw(await readiness.reply())


@route("/schema", http_method=READ)
async def page(documentation: NamedDependency[Documentation]) -> Raw:
    """The documentation, for people."""
    return Raw(documentation.page)


@route("/schema/openapi.json", http_method=READ)
async def openapi(documentation: NamedDependency[Documentation]) -> Raw:
    """The documentation, for programs."""
    return Raw(documentation.openapi)


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    *(authorize, capture, void, balance, block, unblock, cvc),
    *(authorizations, captures, voids),
    *(certificate, operations, order, metrics),
    *(live, ready, page, openapi),
)
"""All routes of the gateway. :class:`Admission` guards those that name a call."""
