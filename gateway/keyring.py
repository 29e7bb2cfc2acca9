"""The API keys as the gateway knows them: in memory, read again all the time. With them, tokens that were checked."""

import asyncio
import logging
from asyncio import TimerHandle
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Final, Self

from gateway.access import Client, client_of
from gateway.faults import Fault, ProblemError
from gateway.rates import Rates
from gateway.services import Component, Condition
from gateway.settings import GatewaySettings
from gateway.tokens import Admitted, Tokens, is_token
from ledger.money import SECOND_MS
from persistence.errors import StorageError
from persistence.keys import ClientKey, KeyStore

SCHEME: Final = b"bearer "
USUAL_SCHEME: Final = b"Bearer "
CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="gift-ledger"')
RECENT_MAX: Final = 10_000
"""Headers whose clients are known without hashing the key again, until the keys are read again."""
TOKENS_MAX: Final = 5_000
"""Of these, tokens: they are kept until they end, and must not keep the keys out. 5 to 10 MB of memory, 40 with the
longest tokens."""
_KEY_BYTES_MAX: Final = 256
"""Of what may be a key: ours are far shorter, and hashing more would cost time for nothing."""

USED_SECONDS: Final = 60.0
"""Between two notes of which keys were used: each is a write that the server syncs."""

_logger = logging.getLogger(__name__)


class Keyring:
    """Tells the client of an ``Authorization`` header by one look into a dictionary.

    An owned task reads the keys again every ``keys_refresh_seconds``, so that a revoked key ends. An unknown key has
    them read at once, since it may be new, but all unknown keys together no more often than
    ``keys_refresh_seconds_min``.

    What stands in the dictionary may be used, so nobody looks at a clock on the way of a request: a timer takes a key,
    or a token, out when it expires. It takes all keys out when ``keys_stale_seconds_max`` have gone since the last
    reading that succeeded began: 503 rather than a revoked key that works.

    Args:
        store: where the keys are.
        settings: how often they are read.
        clock: milliseconds since the epoch, by which keys expire.
        rates: how often the client of a key may ask.
        tokens: what checks tokens of an identity provider; ``None``: there are none.
    """

    def __init__(
        self,
        store: KeyStore,
        settings: GatewaySettings,
        clock: Callable[[], int],
        rates: Rates | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.rates: Final = rates
        """How often the client of a key may ask; ``None``: as often as it likes."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._clients: dict[bytes, Client] = {}
        self._ends: dict[bytes, int] = {}
        self._recent: dict[bytes, Client] = {}
        self._tokens = tokens
        self._admitted: dict[bytes, Admitted] = {}
        self._used: dict[str, int] = {}
        self._told_at = float("-inf")
        self._telling: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried_at = float("-inf")
        self._read_at = float("-inf")
        self._failure = "the keys were not read yet"

    async def __aenter__(self) -> Self:
        """Read the keys and keep them fresh from now on. Storage that is down is not fatal: keys come when it does."""
        if self._tokens is not None:
            await self._tokens.open(self._forget_tokens)
        await self._refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="keyring")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for task in (self._task, self._reading, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._tokens is not None:
            await self._tokens.close()

    def find(self, authorization: bytes | None) -> Client | None:
        """The client, if its key is known right now, or its token was checked."""
        if authorization is None:
            return None
        client = self._recent.get(authorization)
        if client is None and authorization[:7].lower() == SCHEME and len(authorization) <= _KEY_BYTES_MAX:
            client = self._clients.get(sha256(authorization[7:].strip()).digest())
            if client is not None and len(self._recent) < RECENT_MAX:
                self._recent[authorization] = client  # which tells, too, who was here since the keys were read
        return client

    async def client(self, authorization: bytes | None) -> Client:
        """The client of the key, or of the token.

        Raises:
            ProblemError: 401 ``Unauthenticated``; 403 ``Forbidden``: the token gives no role; 503 while the keys cannot
                be read.
        """
        client = self.find(authorization)
        if client is not None:
            return client
        if authorization is None:
            raise _unauthenticated("Send the header `Authorization: Bearer KEY`.")
        if self._tokens is not None and authorization[:7].lower() == SCHEME and is_token(authorization):
            # as it stands there: blanks in between would be a new header to remember each time
            return self._remembered(authorization, await self._tokens.admit(authorization[7:]))
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
        raise _unauthenticated("The key is unknown, revoked or expired.")

    def _remembered(self, authorization: bytes, admitted: Admitted) -> Client:
        """The client of a token that was just checked, which is known from now on."""
        if len(self._admitted) >= TOKENS_MAX and authorization not in self._admitted:
            oldest = next(iter(self._admitted))
            del self._admitted[oldest]
            self._recent.pop(oldest, None)
        # the usual spelling alone: with others one token would be many headers
        if len(self._recent) < RECENT_MAX and authorization.startswith(USUAL_SCHEME):
            self._admitted[authorization] = admitted
            self._recent[authorization] = admitted.client
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + (admitted.ends_at - self._clock()) / SECOND_MS
            if self._timer is None or ends_at < self._timer.when():
                self._look_at(ends_at)
        return admitted.client

    def _forget_tokens(self) -> None:
        """Have all tokens checked again."""
        for authorization in self._admitted:
            self._recent.pop(authorization, None)
        self._admitted = {}

    @property
    def tokens(self) -> Component | None:
        """How the keys of tokens are; ``None``: there are no tokens."""
        return None if self._tokens is None else self._tokens.component

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
        return asyncio.get_running_loop().time() - self._read_at < self._settings.keys_stale_seconds_max

    async def _keep_fresh(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # from one beginning to the next: how long a reading takes adds nothing to how old the keys become
            await asyncio.sleep(self._tried_at + self._settings.keys_refresh_seconds - loop.time())
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
        began_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._settings.keys_refresh_seconds):
                keys = await self._store.all()
        except (StorageError, TimeoutError) as error:
            if not self._failure:
                _logger.warning("API keys cannot be read: %s: %s", type(error).__name__, error)
            self._failure = type(error).__name__
            self._look_for_ends()
            return
        self._note_used()
        self._take(keys)
        self._read_at = began_at  # what was done since may be missing in the answer
        self._failure = ""
        self._look_for_ends()
        self._tell_used()

    def _take(self, keys: Sequence[ClientKey]) -> None:
        now = self._clock()
        self._clients, self._ends = {}, {}
        for key in keys:
            client = None if key.ended(now) else client_of(key)
            if client is None:
                continue
            digest = bytes.fromhex(key.key_hash)
            self._clients[digest] = client
            if key.expires_at is not None:
                self._ends[digest] = key.expires_at

    def _look_for_ends(self) -> None:
        """Take out what may not be used any more, and look again when the next one ends."""
        now = self._clock()
        ended = [digest for digest, end in self._ends.items() if end <= now]
        if not self._trusted():
            ended = list(self._clients)
        if ended:
            self._note_used()
            for digest in ended:
                self._clients.pop(digest)
                self._ends.pop(digest, None)
        for authorization in [one for one, admitted in self._admitted.items() if admitted.ends_at <= now]:
            del self._admitted[authorization]
            self._recent.pop(authorization, None)
        ends = [*self._ends.values(), *(admitted.ends_at for admitted in self._admitted.values())]
        loop = asyncio.get_running_loop()
        looks = [loop.time() + (min(ends) - now) / SECOND_MS] if ends else []
        if self._clients:
            looks.append(self._read_at + self._settings.keys_stale_seconds_max)
        self._look_at(min(looks, default=None))

    def _look_at(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if when is None else loop.call_at(when, self._look_for_ends)

    # --- which keys are used -----------------------------------------------------------------------------------------

    def _note_used(self) -> None:
        """Note whose keys were here since the last time, and forget their headers; tokens stay until they end."""
        now = self._clock()
        self._used.update((one.key_id, now) for shown, one in self._recent.items() if shown not in self._admitted)
        self._recent = {authorization: admitted.client for authorization, admitted in self._admitted.items()}

    def _tell_used(self) -> None:
        """Have written down which keys were used, unless that is under way or was done just now."""
        now = asyncio.get_running_loop().time()
        if self._used and self._telling is None and now - self._told_at >= USED_SECONDS:
            used, self._used = self._used, {}
            self._telling = asyncio.create_task(self._tell(used), name="keyring: last used")
            self._telling.add_done_callback(self._told)

    def _told(self, _task: asyncio.Task[None]) -> None:
        self._telling = None

    async def _tell(self, used: Mapping[str, int]) -> None:
        try:
            async with asyncio.timeout(self._settings.keys_refresh_seconds):
                await self._store.note_used(used)
        except (StorageError, TimeoutError):
            self._used = {**used, **self._used}  # told after the next reading
        else:
            self._told_at = asyncio.get_running_loop().time()


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(Fault.UNAUTHENTICATED, detail, headers=(CHALLENGE,))
