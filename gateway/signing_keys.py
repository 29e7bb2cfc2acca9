"""The keys of an identity provider as the gateway knows them: in memory, read again all the time."""

import asyncio
import logging
from asyncio import TimerHandle
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.jwks import JwksError, KeyName, SigningKey, keys_of
from gateway.services import Component, Condition
from gateway.token_settings import TokenSettings

WAITING_MAX: Final = 64
"""Requests that wait for one reading; further ones are answered at once. A flood of unknown keys must not take
the places of all other requests while a provider is slow."""

_logger = logging.getLogger(__name__)


class Document(Protocol):
    """Where the keys are read."""

    async def read(self) -> bytes:
        """The document as it is now.

        Raises:
            JwksError: it cannot be read.
        """
        ...


class SigningKeys:
    """Knows the keys by which tokens are checked.

    An owned task reads them every ``keys_refresh_seconds``, so that a key which the provider has dropped ends. A token
    of an unknown key has them read at once, since it may be new, but all of these together no more often than
    ``keys_refresh_seconds_min``. When ``keys_stale_seconds_max`` have gone since the last reading that succeeded began,
    none is trusted any more.

    Args:
        settings: how often they are read, and for which algorithms.
        document: where.
    """

    def __init__(self, settings: TokenSettings, document: Document) -> None:
        self.forget: Callable[[], None] = _nothing
        """Called when a key has gone, or is another, or none is trusted any more: what was checked by it, is not."""
        self._settings = settings
        self._document = document
        self._text = b""
        self._keys: dict[KeyName, SigningKey] = {}
        self._waiting = 0
        self._timer: TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        self._read_at = float("-inf")
        self._failure = "they were not read yet"

    async def __aenter__(self) -> Self:
        """Keep the keys fresh from now on. Nobody waits for them here: a provider that is down is not fatal."""
        self._task = asyncio.create_task(self._keep_fresh(), name="signing keys")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._task, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def trusted(self) -> bool:
        """Whether what is known of the keys is new enough."""
        return asyncio.get_running_loop().time() - self._read_at < self._settings.keys_stale_seconds_max

    @property
    def fresh(self) -> bool:
        """Whether what is not known does not exist: the last reading has succeeded, and none is under way."""
        return self.trusted and not self._failure and self._reading is None

    @property
    def component(self) -> Component:
        """How the keys are. Without them clients that have API keys work on."""
        if self._task is not None and self._task.done():
            return Component(status=Condition.DOWN, detail="The task that reads the provider's keys has died.")
        if not self.trusted:
            return Component(status=Condition.DOWN, detail="The provider's keys cannot be read.")
        if self._failure:
            return Component(status=Condition.DEGRADED, detail="The provider's keys are not fresh.")
        if not self._keys:
            return Component(status=Condition.DEGRADED, detail="The provider has no key that can be used.")
        return Component(status=Condition.OK)

    async def find(self, kid: str, algorithm: str) -> SigningKey | None:
        """The key of a token, once the keys were read if it is not known; ``None`` if there is none."""
        name = (kid, algorithm)
        key = self._keys.get(name)
        if key is None and self._waiting < WAITING_MAX and self._may_be_new():
            self._waiting += 1
            try:
                await self._refresh()
            finally:
                self._waiting -= 1
            key = self._keys.get(name)
        return key

    def _may_be_new(self) -> bool:
        since = asyncio.get_running_loop().time() - self._tried_at
        return self._reading is not None or since >= self._settings.keys_refresh_seconds_min

    async def _keep_fresh(self) -> None:
        loop, settings = asyncio.get_running_loop(), self._settings
        while True:
            await self._refresh()
            pause = settings.keys_refresh_seconds
            if self._failure:
                pause = min(pause, settings.keys_refresh_seconds_min)
            # from one beginning to the next: how long a reading takes adds nothing to how old the keys become
            await asyncio.sleep(self._tried_at + pause - loop.time())

    async def _refresh(self) -> None:
        """Read the keys, or wait for whoever is reading them."""
        if self._reading is None:
            self._tried_at = asyncio.get_running_loop().time()
            self._reading = asyncio.create_task(self._read(), name="signing keys: read")
            self._reading.add_done_callback(self._read_done)
        # shielded: a caller who goes away does not take the others' reading with him
        await asyncio.shield(self._reading)

    def _read_done(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        began_at = asyncio.get_running_loop().time()
        try:
            text = await self._document.read()
            keys = self._keys if text == self._text else keys_of(text, self._settings.algorithms)
        except JwksError as error:
            if str(error) != self._failure:
                _logger.warning("The keys of the identity provider cannot be read: %s.", error)
            self._failure = str(error)
            return
        if self._failure or bool(keys) != bool(self._keys):
            level = logging.INFO if keys else logging.WARNING
            _logger.log(level, "The identity provider has %d keys that can be used.", len({kid for kid, _ in keys}))
        gone = any(key != keys.get(name) for name, key in self._keys.items())
        self._text, self._keys, self._failure = text, keys, ""
        self._read_at = began_at  # what was done since may be missing in the answer
        if gone:
            self.forget()
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        """Trust no key any more when they are too old, and look again when they will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.trusted:
            stale_at = self._read_at + self._settings.keys_stale_seconds_max
            self._timer = asyncio.get_running_loop().call_at(stale_at, self._look_for_the_end)
        elif self._keys:
            self._text, self._keys = b"", {}
            self.forget()


def _nothing() -> None:
    """Nobody has to be told."""
