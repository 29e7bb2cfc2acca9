"""Settings of an identity provider as they are written: what they mean, and what keeps them from meaning anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.access import Role
from gateway.jwks import ALGORITHMS
from gateway.jwks_document import is_address
from gateway.token_settings import TokenSettings
from gift_ledger.given_addresses import wrong_with_url
from gift_ledger.given_settings import GivenSettings

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts to which plain HTTP leads over no network."""
_NEEDED: Final = ("jwt_issuer", "jwt_audience", "jwt_jwks_url")


def tokens(given: GivenSettings) -> TokenSettings | None:
    """Which tokens are taken; ``None``: none."""
    if given.jwt_issuer is None or given.jwt_audience is None or given.jwt_jwks_url is None:
        return None
    place = given.jwt_jwks_url
    return TokenSettings(
        issuer=given.jwt_issuer,
        audience=given.jwt_audience,
        jwks_url=place if is_address(place) else str(Path(place).expanduser().absolute()),
        algorithms=tuple(dict.fromkeys(given.jwt_algorithms.split(","))),
        role_claim=given.jwt_role_claim,
        roles={value: Role(role) for value, role in _pairs(given.jwt_roles)} or {role.value: role for role in Role},
        client_claim=given.jwt_client_claim,
        channel_claim=given.jwt_channel_claim,
        leeway_seconds=given.jwt_leeway_seconds,
        keys_refresh_seconds=given.jwt_keys_refresh_seconds,
        keys_stale_seconds_max=given.jwt_keys_stale_seconds,
    )


def wrong_with_tokens(given: GivenSettings) -> Iterator[str]:
    """What is wrong, each with what to do."""
    unset = [name for name in _NEEDED if getattr(given, name) is None]
    if unset and len(unset) < len(_NEEDED):
        is_set = ", ".join(name for name in _NEEDED if name not in unset)
        yield f"{is_set} set without {', '.join(unset)}: set all three for tokens to be taken, or none."
    if given.jwt_jwks_url is not None and (wrong := _wrong_with_place(given.jwt_jwks_url)):
        yield f"jwt_jwks_url: {wrong}"
    unknown = [name for name in given.jwt_algorithms.split(",") if name not in ALGORITHMS]
    if unknown:
        yield (
            f"jwt_algorithms: {', '.join(unknown)} cannot be taken: name some of {', '.join(ALGORITHMS)}, with commas. "
            "Signatures by a shared secret, and none at all, never are."
        )
    values = [value for value, _ in _pairs(given.jwt_roles)]
    known = [role.value for role in Role]
    if any(not value or " " in value or role not in known for value, role in _pairs(given.jwt_roles)):
        yield f"jwt_roles: write VALUE=ROLE with commas between them; a ROLE is one of {', '.join(known)}."
    elif len(values) != len(set(values)):
        yield "jwt_roles: a value stands twice: leave one of the two out."
    if given.jwt_keys_stale_seconds < 2 * given.jwt_keys_refresh_seconds:
        yield "jwt_keys_stale_seconds is below twice jwt_keys_refresh_seconds: raise the first or lower the other."


def _wrong_with_place(place: str) -> str:
    if not is_address(place):
        return "it is no file and no address: write https://…, or the path of a file." if "://" in place else ""
    if wrong := wrong_with_url(place):
        return f"{wrong}: write an address such as https://HOST/PATH."
    parts = urlsplit(place)
    if "@" in parts.netloc or not place.isprintable() or " " in place:
        return "an address has no user, no password and no blanks: leave them out."
    if parts.scheme == "http" and parts.hostname not in _HERE:
        return "over plain HTTP anybody on the way could put keys of his own there: write https://…"
    return ""


def _pairs(text: str) -> list[tuple[str, str]]:
    """Values and roles; a value may hold ``=``."""
    parted = [pair.rpartition("=") for pair in text.split(",")] if text else []
    return [(value.strip(), role.strip()) for value, _, role in parted]
