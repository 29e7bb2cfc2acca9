"""Litestar's side of a :class:`~gateway.reply.Reply`."""

from typing import Any, Final

from litestar import Response
from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from gateway.exchange import SCOPE_KEY, Exchange
from gateway.reply import Reply, send_reply


class Raw(Response[None]):
    """A reply that goes out as it is."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(content=None)
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


def exchange_of(request: ASGIConnection[Any, Any, Any, Any]) -> Exchange:
    """The exchange that the front has put into the scope."""
    exchange: Exchange = request.scope[SCOPE_KEY]  # type: ignore[typeddict-item]
    return exchange
