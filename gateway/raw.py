"""Litestar's side of a :class:`~gateway.reply.Reply`."""

from typing import Any, Final, TypeVar

from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from gateway.exchange import SCOPE_KEY, Exchange
from gateway.reply import Reply, send_reply

T = TypeVar("T")


class Raw(Response[T]):
    """A reply that goes out as it is. ``T``, what its body shows, is for the OpenAPI document."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(content=None)  # type: ignore[arg-type]
        self.reply: Final = reply

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:  # noqa: ANN401 - Litestar's signature
        """The ASGI application that sends it."""
        return _Sender(self.reply)


class _Sender(ASGIResponse):
    def __init__(self, reply: Reply) -> None:
        super().__init__(status_code=reply.status)
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send_reply(self._reply, (), send)


def exchange_of(request: Request[Any, Any, Any]) -> Exchange:
    """The exchange that the front has put into the scope."""
    exchange: Exchange = request.scope[SCOPE_KEY]  # type: ignore[typeddict-item]
    return exchange
