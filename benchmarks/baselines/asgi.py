"""A bare ASGI callable that reads the body and answers: the ceiling of the server. It checks and validates nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from benchmarks.baselines.place import Place

_BODY: Final = (
    b'{"authorizationId":"au_4_0kXm2wQZ5h8nT1bY","certificateCode":"GC-BENCH-0000000","status":"Authorized",'
    b'"amount":100,"currency":"RUB","available":1000000000000,"balance":1000000000000,'
    b'"expiresAt":"2030-01-01T00:00:00.000Z"}'
)
_START: Final = {
    "type": "http.response.start",
    "status": 201,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))],
}
_END: Final = {"type": "http.response.body", "body": _BODY, "more_body": False}


@asynccontextmanager
async def asgi(_place: Place) -> AsyncIterator[ASGIApp]:
    """The application."""
    yield answer


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer."""
    if scope["type"] == "lifespan":  # type: ignore[comparison-overlap]
        await _live(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    await send(_START)  # type: ignore[arg-type]
    await send(_END)  # type: ignore[arg-type]


async def _live(receive: Receive, send: Send) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})  # type: ignore[typeddict-item]
