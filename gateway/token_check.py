"""Whether a JWT is what it says: its form, its claims, its signature (RFC 7515, 7519, 8725).

What costs little comes first: a flood of tokens that cannot be right is refused before any signature is computed.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode
from msgspec import Struct

from gateway.jwks import SigningKey
from gateway.strict_json import json_object
from gateway.token_settings import TokenSettings
from ledger.money import SECOND_MS

TOKEN_BYTES_MAX: Final = 8_192
"""Of a token: those with long lists of groups have half of it."""
HEADER_BYTES_MAX: Final = 2_048
"""Of its header as it is written: it holds two or three short names."""
SIGNATURE_BYTES_MAX: Final = 1_024
"""Of its signature as it is written: of an RSA key of 4 096 bits it has 683."""
KID_CHARACTERS_MAX: Final = 256
"""Of the id of its key: they are digests."""

ID_DIGITS: Final = 16
"""Of a token's digest in records: nobody can make another token that has the same ones and is signed."""

TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""What ``typ`` may be, in any case (RFC 9068, 2.1): other kinds of JWT are signed by the same keys (RFC 8725, 3.11)."""
_NOT_UNDERSTOOD: Final = frozenset({"crit", "b64"})
"""Extensions that change what a token means (RFC 7515, 4.1.11; RFC 7797): there is none that we know."""
_SEGMENTS: Final = re.compile(rb"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)


class Reason(StrEnum):
    """Why a token was not taken, as it is counted. The caller is not told."""

    FORM = "form"
    HEADER = "header"
    CLAIMS = "claims"
    KEY = "key"
    SIGNATURE = "signature"
    CLIENT = "client"
    ROLE = "role"


class TokenError(Exception):
    """A token is not taken."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Final = reason


class Token(Struct, frozen=True):
    """A token whose form and claims are in order, and whose signature is still to be checked."""

    text: bytes
    kid: str
    algorithm: str
    claims: dict[str, Any]
    payload: bytes

    def __repr__(self) -> str:
        return "Token(…)"


class _Registry(jws.JWSRegistry):
    """What the library takes: the algorithms that are set, without its advice on them, and headers of any name.

    It warns at each use of EdDSA that RFC 9864 has a better name for it; which one stands there, the provider chooses.
    """

    max_header_length = HEADER_BYTES_MAX
    max_payload_length = TOKEN_BYTES_MAX
    max_signature_length = SIGNATURE_BYTES_MAX

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 - the library does not publish the type
        if not self.allowed or name not in self.allowed:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


def token_id(text: bytes) -> str:
    """What records say of a token instead of the id of a key: of what leaked, it tells what was done with it.

    A digest of what is signed, without the signature: of ECDSA anybody can make a second one that is as valid.
    """
    return f"t_{sha256(text.rpartition(b'.')[0]).hexdigest()[:ID_DIGITS]}"


class TokenCheck:
    """Checks tokens of one issuer for one audience.

    Args:
        settings: which.
        clock: milliseconds since the epoch.
    """

    def __init__(self, settings: TokenSettings, clock: Callable[[], int]) -> None:
        self._algorithms = frozenset(settings.algorithms)
        self._registry = _Registry(algorithms=settings.algorithms, strict_check_header=False)
        self._claims = JWTClaimsRegistry(
            now=lambda: clock() // SECOND_MS,
            leeway=settings.leeway_seconds,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
        )

    def read(self, text: bytes) -> Token:
        """A token as it says it is.

        Nothing in it is true before :meth:`verify`. Headers that name or hold a key (``jku``, ``jwk``, ``x5u``,
        ``x5c``) mean nothing here.

        Raises:
            TokenError: it cannot be right, whatever its signature.
        """
        segments = _SEGMENTS.fullmatch(text) if len(text) <= TOKEN_BYTES_MAX else None
        if segments is None or len(segments[1]) > HEADER_BYTES_MAX or len(segments[3]) > SIGNATURE_BYTES_MAX:
            raise TokenError(Reason.FORM)
        try:
            header = json_object(urlsafe_b64decode(segments[1]))
            kid, algorithm = self._key_of(header)
            payload = urlsafe_b64decode(segments[2])
            claims = json_object(payload)
        except ValueError:
            raise TokenError(Reason.FORM) from None
        try:
            self._claims.validate(claims)
        except JoseError:
            raise TokenError(Reason.CLAIMS) from None
        return Token(text, kid, algorithm, claims, payload)

    def _key_of(self, header: dict[str, Any]) -> tuple[str, str]:
        kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ", "JWT")
        if not (
            isinstance(kid, str)
            and 0 < len(kid) <= KID_CHARACTERS_MAX
            and isinstance(algorithm, str)
            and algorithm in self._algorithms
            and isinstance(kind, str)
            and kind.lower() in TYPES
            and not _NOT_UNDERSTOOD & header.keys()
        ):
            raise TokenError(Reason.HEADER)
        return kid, algorithm

    def verify(self, token: Token, key: SigningKey) -> None:
        """Check the signature.

        Raises:
            TokenError: it is not that of the key.
        """
        try:
            signed = jws.deserialize_compact(token.text, key, registry=self._registry)
        except (JoseError, ValueError):
            raise TokenError(Reason.SIGNATURE) from None
        if signed.payload != token.payload:
            raise TokenError(Reason.SIGNATURE)  # never: both read the same bytes
