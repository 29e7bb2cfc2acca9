"""The document in which an identity provider publishes its keys (RFC 7517), and which of them are used."""

from collections.abc import Collection
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from gateway.strict_json import json_object

ALGORITHMS: Final = {
    "RS256": ("RSA", ""),
    "PS256": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""Signatures that can be checked, each with the type and the curve of its keys. None is symmetric: a gateway that could
make tokens would be one more place to steal them from. Each takes at most 0.2 ms to check, with the longest key."""

DOCUMENT_BYTES_MAX: Final = 131_072
"""Of the whole document: twenty keys with their certificates take a third of it."""
KEYS_MAX: Final = 64
"""In the document: providers have two to ten."""
RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 4_096
"""Of an RSA key: shorter ones are not safe (RFC 7518, 3.3), and longer ones take too long to check."""

SigningKey = RSAKey | ECKey | OKPKey
KeyName = tuple[str, str]
"""The key's id and an algorithm: so an algorithm is never used with a key that is not for it (RFC 8725, 3.1)."""

_TYPES: Final[dict[str, type[SigningKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class JwksError(Exception):
    """There are no keys to be had; the message says why, in words that may stand in a log."""


def keys_of(document: bytes, algorithms: Collection[str]) -> dict[KeyName, SigningKey]:
    """The keys that are used, by id and algorithm; none if the provider has dropped all.

    Passed over, as RFC 7517, 5 has it, are keys without an id, for encryption, of types and lengths that are not used,
    and broken ones; and keys whose private half stands there, since everybody may have it. Of two with one name the
    first counts.

    Args:
        document: what the provider publishes.
        algorithms: those that are allowed, of :data:`ALGORITHMS`.

    Raises:
        JwksError: it is no set of keys.
    """
    if len(document) > DOCUMENT_BYTES_MAX:
        raise JwksError(f"the document is longer than {DOCUMENT_BYTES_MAX} bytes")
    try:
        listed = json_object(document).get("keys")
    except ValueError:
        raise JwksError("the document is not JSON, or has a name twice") from None
    if not isinstance(listed, list):
        raise JwksError("the document has no list `keys`")
    if len(listed) > KEYS_MAX:
        raise JwksError(f"the document has more than {KEYS_MAX} keys")
    found: dict[KeyName, SigningKey] = {}
    for member in listed:
        if not isinstance(member, dict) or not _usable(member):
            continue
        names = [(member["kid"], algorithm) for algorithm in algorithms if _is_for(member, algorithm)]
        key = _imported(member) if names else None
        if key is not None:
            found = dict.fromkeys(names, key) | found
    return found


def _usable(member: dict[str, Any]) -> bool:
    """Whether what stands around the key lets it be used."""
    kid, operations = member.get("kid"), member.get("key_ops", ["verify"])
    return (
        isinstance(kid, str)
        and kid != ""
        and member.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in member
    )


def _is_for(member: dict[str, Any], algorithm: str) -> bool:
    kind, curve = ALGORITHMS[algorithm]
    fits = member.get("kty") == kind and (not curve or member.get("crv") == curve)
    return fits and member.get("alg", algorithm) == algorithm


def _imported(member: dict[str, Any]) -> SigningKey | None:
    """The key; ``None``: it is broken, or of a length that is not used."""
    kind = _TYPES[member["kty"]]
    try:
        if kind is RSAKey and not RSA_BITS_MIN <= _bits(member["n"]) <= RSA_BITS_MAX:
            return None
        return kind.import_key(member)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        return None


def _bits(modulus: str) -> int:
    # what is far too long is not made a number at all: that takes longer than everything else
    return RSA_BITS_MAX + 1 if len(modulus) > RSA_BITS_MAX else base64_to_int(modulus).bit_length()
