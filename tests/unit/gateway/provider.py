"""An identity provider: its keys, what it publishes of them, and tokens, right ones and forged ones.

It signs by `cryptography` alone: what checks tokens is another library, and has to agree with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.access import Role
from gateway.token_settings import TokenSettings
from tests.unit.gateway.house import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ISSUER: Final = "https://login.example/realms/shops"
AUDIENCE: Final = "gift-ledger"
NAMED: Final = "jwt:71ba59d8:"
"""How names of its clients begin; a test says that it is so."""
ROLES: Final = {"gift-till": Role.POS, "gift-site": Role.STOREFRONT, "gift-help": Role.SUPPORT, "gift-watch": Role.OPS}
LIFE_SECONDS: Final = 300

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
RSA: Final = rsa.generate_private_key(65_537, 2_048)
"""Made once: it takes a while."""


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def number(value: int, length: int) -> str:
    return b64(value.to_bytes(length, "big")).decode()


class Provider:
    """An issuer with keys by their id.

    Args:
        clock: Milliseconds since the epoch.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.clock = clock or Clock()
        self.keys: dict[str, tuple[str, PrivateKey]] = {}
        self.text: bytes | None = None
        """What is published instead of the keys."""
        self.add("ec", "ES256")

    def add(self, kid: str, algorithm: str) -> None:
        """Have one more key, or another one of this id."""
        made: dict[str, Callable[[], PrivateKey]] = {
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self.keys[kid] = (algorithm, made.get(algorithm, lambda: RSA)())

    @property
    def members(self) -> list[dict[str, Any]]:
        return [jwk(kid, algorithm, key) for kid, (algorithm, key) in self.keys.items()]

    @property
    def document(self) -> bytes:
        return json.dumps({"keys": self.members}).encode() if self.text is None else self.text

    def publish(self, path: Path) -> Path:
        path.write_bytes(self.document)
        return path

    def settings(self, place: str = "/nowhere", **more: Any) -> TokenSettings:  # noqa: ANN401 - of the settings
        given: dict[str, Any] = {"keys_refresh_seconds_min": 0.0, "roles": ROLES, "channel_claim": "channel"} | more
        return TokenSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=place, **given)

    def claims(self, **changed: object) -> dict[str, object]:
        """What a till says of itself; ``None`` takes a claim away."""
        now = self.clock() // 1_000
        whole = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "till-991",
            "roles": ["gift-till"],
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
        }
        return {name: value for name, value in (whole | changed).items() if value is not None}

    def token(self, kid: str = "ec", header: Mapping[str, object] | None = None, **changed: object) -> str:
        """A token; `header` and claims are changed as told, and it is signed all the same."""
        algorithm, key = self.keys[kid]
        head = {"alg": algorithm, "kid": kid, "typ": "JWT", **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return signed(json.dumps(head).encode(), json.dumps(self.claims(**changed)).encode(), algorithm, key)


def signed(header: bytes, payload: bytes, algorithm: str, key: PrivateKey) -> str:
    """A token of these very bytes."""
    text = b64(header) + b"." + b64(payload)
    return (text + b"." + b64(signature(text, algorithm, key))).decode()


def signature(text: bytes, algorithm: str, key: PrivateKey) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(text)
    if algorithm == "PS256":
        return key.sign(text, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    return key.sign(text, padding.PKCS1v15(), SHA256())


def by_secret(header: Mapping[str, object], claims: Mapping[str, object], secret: bytes) -> str:
    """A token that anybody can make who knows the secret; what is public is known to everybody."""
    text = b64(json.dumps(header).encode()) + b"." + b64(json.dumps(claims).encode())
    return (text + b"." + b64(hmac.digest(secret, text, hashlib.sha256))).decode()


def pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(kid: str, algorithm: str, key: PrivateKey) -> dict[str, Any]:
    """What is published of a key."""
    about = {"kid": kid, "alg": algorithm, "use": "sig"}
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return about | {"kty": "RSA", "n": number(public.n, (key.key_size + 7) // 8), "e": number(public.e, 3)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, length = key.public_key().public_numbers(), (key.key_size + 7) // 8
        curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[key.curve.name]
        return about | {"kty": "EC", "crv": curve, "x": number(point.x, length), "y": number(point.y, length)}
    return about | {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode(),
    }
