"""A response as it goes out: the two ASGI messages, without anything in between."""

from typing import Final, NamedTuple

from litestar.types import Send

JSON: Final = (b"content-type", b"application/json")
CLOSE: Final = (b"connection", b"close")
NO_STORE: Final = (b"cache-control", b"no-store")
REPLAYED: Final = (b"idempotency-replayed", b"true")

Header = tuple[bytes, bytes]


class Reply(NamedTuple):
    """Status, headers (lower-case names) and body.

    ``Content-Length`` and ``X-Request-Id`` are added by :func:`send_reply`.
    """

    status: int
    headers: tuple[Header, ...]
    body: bytes = b""


async def send_reply(reply: Reply, common: tuple[Header, ...], send: Send, *, bodiless: bool = False) -> None:
    """Send ``reply`` with the headers that all responses to this request carry; ``bodiless`` for HEAD."""
    status, headers, body = reply
    if status not in {204, 304}:
        headers = (*headers, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": (*headers, *common)})
    await send({"type": "http.response.body", "body": b"" if bodiless else body, "more_body": False})
