"""One request and its response, as everything that deals with them knows it."""

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count
from typing import Final

from litestar.types import HTTPScope

from gateway.addresses import Peer
from gateway.reply import Header

SCOPE_KEY: Final = "gift_ledger.exchange"
"""Where the exchange stands in the ASGI scope."""

_REQUEST_ID: Final = re.compile(rb"[!-~]{1,64}")
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_INSTANCE_CHARACTERS_MAX: Final = 256
"""Of the path that a problem names: a path may be as long as the head."""

# Unique without a system call per request: the process draws a name once, and counts.
_process: Final = secrets.token_hex(8)
_requests: Final = count(1)


class Exchange:
    """What belongs to one request.

    Attributes:
        headers: by lower-case name; repeated ones are joined by a comma (RFC 9110, 5.2).
        request_id: the caller's, or a new one.
        trace_id: of the caller's ``traceparent`` (W3C Trace Context), if there is a valid one.
        common: headers of every response to this request.
        call: which call it turned out to be, for the metrics.
        client: who asks, once that is known.
        peer: who is connected, as host and port.
        code: of the problem, if it came to one.
        status: of the response, once that is on its way.
    """

    __slots__ = (
        "call",
        "client",
        "code",
        "common",
        "headers",
        "method",
        "path",
        "peer",
        "request_id",
        "status",
        "trace_id",
    )

    def __init__(self, scope: HTTPScope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.peer: Peer = scope.get("client")
        self.headers: Final = joined(scope["headers"])
        self.call = "other"
        self.client = ""
        self.code = ""
        self.status = 0
        given = self.headers.get(b"x-request-id")
        if given is None or not _REQUEST_ID.fullmatch(given):
            given = b"%s-%x" % (_process.encode(), next(_requests))
        self.request_id: Final = given.decode()
        self.common: tuple[Header, ...] = ((b"x-request-id", given),)
        self.trace_id = ""
        trace = self.headers.get(b"traceparent")
        if trace is not None and _TRACEPARENT.fullmatch(trace):
            self.trace_id = trace[3:35].decode()
            self.common = (*self.common, (b"traceparent", trace))

    @property
    def instance(self) -> str:
        """The path that a problem occurred at, as a URI reference of bounded length."""
        path = self.path[:_INSTANCE_CHARACTERS_MAX]
        return "".join(character if character in _URI else _escaped(character) for character in path)


def joined(raw: Iterable[Header]) -> dict[bytes, bytes]:
    """Headers by name. A repeated one becomes a list, so that one that may stand only once is then refused."""
    pairs = list(raw)
    headers = dict(pairs)
    if len(headers) != len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


_URI: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/")


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))


current: Final[ContextVar[Exchange | None]] = ContextVar("exchange", default=None)
"""The exchange that the running task works for; log lines take the request id from it."""
