"""Litestar with a typed handler that checks the key, validates, and answers: the ceiling of the ordinary way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

from litestar import Litestar, post
from litestar.params import Parameter
from litestar.types import ASGIApp

from benchmarks.baselines.keys import KeyCheck
from benchmarks.baselines.place import Place
from gateway.requests import Redemption
from ledger.identifiers import AUTHORIZATION, identifier
from ledger.views.operations import Authorization

IdempotencyKey = Annotated[str, Parameter(header="Idempotency-Key", min_length=1, max_length=64)]
_EXPIRES: Final = "2030-01-01T00:00:00.000Z"


@asynccontextmanager
async def noop(place: Place) -> AsyncIterator[ASGIApp]:
    """The application."""
    yield litestar(place, authorize)


@post("/certificates/{code:str}/authorize")
async def authorize(code: str, data: Redemption, idempotency_key: IdempotencyKey) -> Authorization:  # noqa: ARG001
    """Answer as if it had been done."""
    return Authorization(
        authorization_id=identifier(AUTHORIZATION, code, 4),
        certificate_code=code,
        status="Authorized",
        amount=data.amount,
        currency=data.currency,
        available=10**12,
        balance=10**12,
        expires_at=_EXPIRES,
    )


def litestar(place: Place, *handlers: object) -> ASGIApp:
    """Litestar with these handlers, and without what is not needed."""
    return Litestar(
        list(handlers),  # type: ignore[arg-type]
        guards=[KeyCheck(place.key)],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
