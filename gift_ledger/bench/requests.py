"""Requests as they go over the wire, made ahead of the clock that measures them."""

from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

HOLD_SECONDS: Final = 86_400
"""Life of a hold that a benchmark leaves: no timer of it rings while something is measured."""
AMOUNT: Final = 100
"""Minor units of each authorization."""

BODY: Final = b'{"purpose":"Redemption","amount":%d,"currency":"RUB","ttlSeconds":%d}' % (AMOUNT, HOLD_SECONDS)


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes


class Address(Struct, frozen=True):
    """Where the load goes to, and with which API key."""

    host: str
    port: int
    key: str

    @classmethod
    def of(cls, url: str, key: str) -> "Address":
        """The address in a base URL such as ``http://127.0.0.1:8080``.

        Raises:
            ValueError: it names no host or no port.
        """
        parts = urlsplit(url)
        if not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} names no host and port")
        return cls(parts.hostname, parts.port, key)

    def post(self, path: str, body: bytes, idempotency_key: str = "") -> bytes:
        """A POST request in JSON."""
        named = f"Idempotency-Key: {idempotency_key}\r\n" if idempotency_key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{named}\r\n"
        )
        return head.encode() + body


class Plan(Protocol):
    """What is asked: flows of one or more requests, each flow on one connection."""

    def first(self, number: int) -> bytes:
        """The request that the flow with this number begins with."""
        ...

    def then(self, number: int, answer: Answer) -> bytes | None:
        """The request that follows upon an answer of 2xx; ``None``: the flow is complete."""
        ...


Codes = Callable[[int], str]
"""Gives the certificate's code of a flow."""


class Authorizations(Struct, frozen=True):
    """One authorization a flow, each with an idempotency key of its own that begins with ``run``."""

    address: Address
    codes: Codes
    run: str

    def first(self, number: int) -> bytes:
        """Authorize."""
        path = f"/certificates/{self.codes(number)}/authorize"
        return self.address.post(path, BODY, f"{self.run}-{number}")

    def then(self, number: int, answer: Answer) -> None:
        """Nothing follows."""


class _Authorized(Struct):
    authorization_id: str = msgspec.field(name="authorizationId")
    code: str = msgspec.field(name="certificateCode")
    status: str = ""


class Pairs(Struct, frozen=True):
    """An authorization and the capture of all of it."""

    address: Address
    codes: Codes
    run: str

    def first(self, number: int) -> bytes:
        """Authorize."""
        path = f"/certificates/{self.codes(number)}/authorize"
        return self.address.post(path, BODY, f"{self.run}-{number}")

    def then(self, number: int, answer: Answer) -> bytes | None:
        """Capture what was authorized; after that, nothing."""
        found = _authorized.decode(answer.body)
        if found.status != "Authorized":
            return None
        body = b'{"authorizationId":"%b"}' % found.authorization_id.encode()
        return self.address.post(f"/certificates/{found.code}/capture", body, f"{self.run}-{number}-c")


_authorized: Final = msgspec.json.Decoder(_Authorized)
