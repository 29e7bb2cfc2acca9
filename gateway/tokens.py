"""Tokens of an identity provider instead of API keys."""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from msgspec import Struct

from gateway.access import Client
from gateway.faults import Fault, ProblemError
from gateway.jwks_document import JwksDocument
from gateway.services import Component
from gateway.signing_keys import SigningKeys
from gateway.token_check import Reason, TokenCheck, TokenError, token_id
from gateway.token_client import TokenClients
from gateway.token_settings import TokenSettings
from ledger.money import SECOND_MS
from ledger.refusals import Refusal

CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="gift-ledger", error="invalid_token"')
"""RFC 6750, 3."""
ADMITTED_SECONDS_MAX: Final = 3_600
"""A token that lives longer is checked again after it."""
_DOTS: Final = 2

_logger = logging.getLogger(__name__)


class Admitted(Struct, frozen=True):
    """Whom a token stands for, and until when (milliseconds)."""

    client: Client
    ends_at: int


class Tokens:
    """Tells the client of a token.

    Args:
        settings: which tokens are taken.
        clock: milliseconds since the epoch.
        refused: where those that are not are counted, by :class:`~gateway.token_check.Reason`.
    """

    def __init__(self, settings: TokenSettings, clock: Callable[[], int], refused: Counter[str]) -> None:
        self._settings = settings
        self._clock = clock
        self._refused = refused
        self._check = TokenCheck(settings, clock)
        self._clients = TokenClients(settings)
        self._document = JwksDocument(settings.jwks_url)
        self._keys = SigningKeys(settings, self._document)
        self._stack = AsyncExitStack()

    async def open(self, forget: Callable[[], None]) -> None:
        """Begin to read the provider's keys.

        Args:
            forget: called when tokens that were admitted have to be looked at again.
        """
        self._keys.forget = forget
        await self._stack.enter_async_context(self._document)
        await self._stack.enter_async_context(self._keys)

    async def close(self) -> None:
        """Read them no more."""
        await self._stack.aclose()

    @property
    def component(self) -> Component:
        """How the provider's keys are."""
        return self._keys.component

    async def admit(self, text: bytes) -> Admitted:
        """The client of a token. After the last wait in here nothing has changed when it returns.

        Raises:
            ProblemError: 401 ``Unauthenticated``; 403 ``Forbidden``: it is valid, and gives no role or several; 503
                if its key is not known and the provider's keys cannot be read, so that it may be a new one.
        """
        try:
            return await self._admitted(text)
        except TokenError as error:
            self._refused[error.reason] += 1
            _logger.debug("A token was refused: %s.", error.reason)
            raise _problem(error.reason) from None

    async def _admitted(self, text: bytes) -> Admitted:
        token = self._check.read(text)
        key = await self._keys.find(token.kid, token.algorithm)
        if key is None:
            if self._keys.fresh:
                raise TokenError(Reason.KEY)
            raise ProblemError(Fault.STORAGE_UNAVAILABLE, "Tokens cannot be checked just now; nothing happened.")
        if self._clock() >= token.claims["exp"] * SECOND_MS + self._settings.leeway_seconds * SECOND_MS:
            raise TokenError(Reason.CLAIMS)  # it has ended while its key was looked for
        self._check.verify(token, key)
        client = self._clients.client(token.claims, token_id(text))
        lives_s = min(
            token.claims["exp"] + self._settings.leeway_seconds, self._clock() // SECOND_MS + ADMITTED_SECONDS_MAX
        )
        return Admitted(client, int(lives_s * SECOND_MS))


def is_token(credentials: bytes) -> bool:
    """Whether this looks like a JWT; an API key has no dots."""
    return credentials.count(b".") == _DOTS


def _problem(reason: Reason) -> ProblemError:
    if reason is Reason.ROLE:
        return ProblemError(Refusal.FORBIDDEN, "The token gives no role here, or more than one.")
    return ProblemError(
        Fault.UNAUTHENTICATED, "The token is not valid here, or not any more: get a new one.", headers=(CHALLENGE,)
    )
