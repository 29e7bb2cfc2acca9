"""Which client a token stands for: its name, its role, its channel."""

import re
from hashlib import sha256
from typing import Any, Final

from gateway.access import CHANNELS, Client, Role
from gateway.token_check import Reason, TokenError
from gateway.token_settings import TokenSettings

ISSUER_DIGITS: Final = 8
"""Of the issuer's digest in names: two issuers of one company have different ones."""
SUBJECT_CHARACTERS_MAX: Final = 128
"""Of a client's name in a token: providers have ids, addresses and paths there. It stands in every record."""
_SUBJECT: Final = re.compile(rf"[A-Za-z0-9._@|:/+=-]{{1,{SUBJECT_CHARACTERS_MAX}}}")
_CHANNEL: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class TokenClients:
    """Makes clients of claims that were verified.

    Args:
        settings: which claims, and what they mean.
    """

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._prefix = name_prefix(settings.issuer)

    def client(self, claims: dict[str, Any], token_id: str) -> Client:
        """The client.

        Args:
            claims: of the token.
            token_id: what the records are to say instead of the id of a key.

        Raises:
            TokenError: it has no name that can be used, or not exactly one role.
        """
        settings = self._settings
        subject = _claim(claims, settings.client_claim)
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise TokenError(Reason.CLIENT)
        roles = {settings.roles[word] for word in _words(_claim(claims, settings.role_claim)) if word in settings.roles}
        if len(roles) != 1:
            raise TokenError(Reason.ROLE)
        (role,) = roles
        return Client(name=self._prefix + subject, role=role, channel=self._channel(claims, role), key_id=token_id)

    def _channel(self, claims: dict[str, Any], role: Role) -> str | None:
        name = self._settings.channel_claim
        given = None if name is None else _claim(claims, name)
        if given is None:
            return CHANNELS.get(role)
        if not isinstance(given, str) or not _CHANNEL.fullmatch(given):
            raise TokenError(Reason.CLIENT)
        return given


def name_prefix(issuer: str) -> str:
    """How the names of an issuer's clients begin.

    A name of a client with an API key has no colon, and another issuer has other digits: so two who are called the same
    are never the same client, whose operations, limits and idempotency keys are one.
    """
    return f"jwt:{sha256(issuer.encode()).hexdigest()[:ISSUER_DIGITS]}:"


def _claim(claims: dict[str, Any], name: str) -> object:
    """A claim by its name, which may have dots; or, if there is none, by the path that the dots make."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _words(value: object) -> list[str]:
    """The values of a claim that is a list, or a text with blanks in between (RFC 8693, 4.2)."""
    if isinstance(value, str):
        return value.split(" ")
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
