"""The API keys as the gateway knows them: in memory, read again all the time."""

import asyncio
import logging
from hashlib import sha256
from types import TracebackType
from typing import Final, Self

from gateway.access import Client, client_of
from gateway.faults import Fault, ProblemError
from gateway.rates import Rates
from gateway.services import Component, Condition
from gateway.settings import GatewaySettings
from persistence.errors import StorageError
from persistence.keys import KeyStore

SCHEME: Final = b"bearer "
CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="gift-ledger"')
RECENT_MAX: Final = 10_000
"""Headers whose clients are known without hashing the key again, until the keys are read again."""
_KEY_BYTES_MAX: Final = 256
"""Of what may be a key: ours are far shorter, and hashing more would cost time for nothing."""

_logger = logging.getLogger(__name__)


class Keyring:
    """Tells the client of an ``Authorization`` header by one look into a dictionary.

    An owned task reads the keys again every ``keys_refresh_seconds``, so that a revoked key ends. An unknown key has
    them read at once, since it may be new, but all unknown keys together no more often than
    ``keys_refresh_seconds_min``. Keys that could not be read for ``keys_stale_seconds_max`` are forgotten: 503 rather
    than a revoked key that works.
    """

    def __init__(self, store: KeyStore, settings: GatewaySettings, rates: Rates | None = None) -> None:
        self.rates: Final = rates
        """How often the client of a key may ask; ``None``: as often as it likes."""
        self._store = store
        self._settings = settings
        self._clients: dict[bytes, Client] = {}
        self._recent: dict[bytes, Client] = {}
        self._reading: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        self._read_at = float("-inf")
        self._failure = "the keys were not read yet"

    async def __aenter__(self) -> Self:
        """Read the keys and keep them fresh from now on. Storage that is down is not fatal: keys come when it does."""
        await self._refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="keyring")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._task, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def find(self, authorization: bytes | None) -> Client | None:
        """The client, if its key is known right now."""
        if authorization is None:
            return None
        client = self._recent.get(authorization)
        if client is None and authorization[:7].lower() == SCHEME and len(authorization) <= _KEY_BYTES_MAX:
            client = self._clients.get(sha256(authorization[7:].strip()).digest())
            if client is not None and len(self._recent) < RECENT_MAX:
                self._recent[authorization] = client
        return client

    async def client(self, authorization: bytes | None) -> Client:
        """The client of the key.

        Raises:
            ProblemError: 401 ``Unauthenticated``; 503 while the keys cannot be read.
        """
        client = self.find(authorization)
        if client is not None:
            return client
        if authorization is None:
            raise _unauthenticated("Send the header `Authorization: Bearer KEY`.")
        if authorization[:7].lower() != SCHEME or len(authorization) > _KEY_BYTES_MAX:
            raise _unauthenticated("The header has to be `Authorization: Bearer KEY`.")
        now = asyncio.get_running_loop().time()
        if self._reading is not None or now - self._tried_at >= self._settings.keys_refresh_seconds_min:
            await self._refresh()
            client = self.find(authorization)
            if client is not None:
                return client
        if not self._trusted():
            raise ProblemError(Fault.STORAGE_UNAVAILABLE, "API keys cannot be checked just now; nothing happened.")
        raise _unauthenticated("The key is unknown or revoked.")

    @property
    def component(self) -> Component:
        """How the keyring is."""
        if self._task is not None and self._task.done():
            return Component(status=Condition.DOWN, detail="The task that reads the API keys has died.")
        if not self._trusted():
            return Component(status=Condition.DOWN, detail="API keys cannot be read.")
        if self._failure:
            return Component(status=Condition.DEGRADED, detail="API keys are not fresh.")
        return Component(status=Condition.OK)

    def _trusted(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at <= self._settings.keys_stale_seconds_max

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._settings.keys_refresh_seconds)
            await self._refresh()

    async def _refresh(self) -> None:
        """Read the keys, or wait for whoever is reading them."""
        if self._reading is None:
            self._tried_at = asyncio.get_running_loop().time()
            self._reading = asyncio.create_task(self._read(), name="keyring: read")
            self._reading.add_done_callback(self._read_done)
        # shielded: a caller who goes away does not take the others' reading with him
        await asyncio.shield(self._reading)

    def _read_done(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._settings.keys_refresh_seconds):
                keys = await self._store.all()
        except (StorageError, TimeoutError) as error:
            if not self._failure:
                _logger.warning("API keys cannot be read: %s: %s", type(error).__name__, error)
            self._failure = type(error).__name__
            if not self._trusted():
                self._clients = {}
                self._recent = {}
            return
        clients: dict[bytes, Client] = {}
        for key in keys:
            client = client_of(key) if key.revoked_at is None else None
            if client is not None:
                clients[bytes.fromhex(key.key_hash)] = client
        self._clients = clients
        self._recent = {}
        self._read_at = asyncio.get_running_loop().time()
        self._failure = ""


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(Fault.UNAUTHENTICATED, detail, headers=(CHALLENGE,))
