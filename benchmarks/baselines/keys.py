"""The API key of a request, found out as the gateway does: by one look into a dictionary of hashes."""

from hashlib import blake2b, sha256
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler

CLIENT: Final = "till"
_SCHEME: Final = "bearer "


class KeyCheck:
    """Knows the clients. A guard of Litestar's.

    Args:
        key: the one that is valid.
    """

    def __init__(self, key: str) -> None:
        self._clients = {sha256(key.encode()).digest(): CLIENT}
        self._recent: dict[str, str] = {}

    def client(self, authorization: str | None) -> str | None:
        """The client of an ``Authorization`` header."""
        if authorization is None:
            return None
        client = self._recent.get(authorization)
        if client is None and authorization[:7].lower() == _SCHEME:
            client = self._clients.get(sha256(authorization[7:].strip().encode()).digest())
            if client is not None:
                self._recent[authorization] = client
        return client

    def __call__(self, connection: "ASGIConnection[Any, Any, Any, Any]", _: BaseRouteHandler) -> None:
        """Let through who has a key."""
        if self.client(connection.headers.get("authorization")) is None:
            raise NotAuthorizedException


def idempotency_digest(key: str) -> bytes:
    """Under this the outcome of an ``Idempotency-Key`` is stored, scoped to the client."""
    return blake2b(f"{CLIENT}\0{key}".encode(), digest_size=16).digest()


def fingerprint(code: str, *values: object) -> bytes:
    """By this a key that is used again for something else is known."""
    return blake2b(repr((code, values)).encode(), digest_size=8).digest()
