"""API keys: only their hashes are stored, each with the client, the role and the channel it stands for."""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from persistence.errors import UNDECODABLE, DamagedLogError
from persistence.redis_client import Client, connect
from persistence.redis_errors import answered

KEY_PREFIX: Final = "glk_"
"""By this scanners for leaked secrets, and people, know a key when they see one."""
_KEY_BYTES: Final = 32
CONNECTIONS_MAX: Final = 2
"""One reads all keys again and again; a command that adds or revokes one does not wait for it."""
ANSWER_SECONDS_MAX: Final = 5.0
"""After this a call without an answer counts as lost."""


class ClientKey(Struct, frozen=True, kw_only=True):
    """One key of one client. ``key_hash`` is :func:`hash_key`'s; times are milliseconds."""

    key_id: str
    key_hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]
    client: str
    role: str
    channel: str | None
    created_at: int
    revoked_at: int | None = None


def new_key() -> tuple[str, str]:
    """A fresh key (256 random bits, to be shown once) and its hash."""
    text = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return text, hash_key(text)


def hash_key(text: str) -> str:
    """SHA-256 of a key, in hex.

    A slow, salted hash protects what people make up and reuse. A key is 256 random bits: it can be neither guessed
    nor found in a table, so a fast hash is as safe, and every request can afford it. Keys are then looked up by hash,
    and how long that takes tells an attacker at most something of a hash, from which he gets to no key: nothing has
    to be compared in constant time.
    """
    return sha256(text.encode()).hexdigest()


class KeyStore(Protocol):
    """Where keys are kept. Every method may raise :class:`~persistence.errors.StorageError`."""

    async def add(self, key: ClientKey) -> None:
        """Keep a new key.

        Raises:
            ValueError: its id is taken.
        """
        ...

    async def all(self) -> Sequence[ClientKey]:
        """All keys, revoked ones too, oldest first."""
        ...

    async def revoke(self, key_id: str, at: int) -> bool:
        """Revoke a key at ``at`` (milliseconds); the first time counts. False if there is no such key."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class MemoryKeyStore:
    """Keys in memory, for tests."""

    def __init__(self, keys: Sequence[ClientKey] = ()) -> None:
        self._keys = {key.key_id: key for key in keys}

    async def add(self, key: ClientKey) -> None:
        """See :meth:`KeyStore.add`."""
        if key.key_id in self._keys:
            raise _taken(key)
        self._keys[key.key_id] = key

    async def all(self) -> list[ClientKey]:
        """See :meth:`KeyStore.all`."""
        return sorted(self._keys.values(), key=_age)

    async def revoke(self, key_id: str, at: int) -> bool:
        """See :meth:`KeyStore.revoke`."""
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at is None:
            self._keys[key_id] = replace(key, revoked_at=at)
        return key is not None

    async def close(self) -> None:
        """See :meth:`KeyStore.close`."""


class RedisKeyStore:
    """Keys in two hashes, so that neither is ever rewritten: ``PREFIX:keys`` (as made), ``PREFIX:keys:revoked`` (when).

    Args:
        url: of the server.
        prefix: first part of its keys.
        timeout_seconds: after this a call counts as unanswered.
        client: a client to use instead of a new one to ``url``; it is closed by whoever made it.
    """

    def __init__(
        self, url: str, prefix: str = "gl", *, timeout_seconds: float = ANSWER_SECONDS_MAX, client: Client | None = None
    ) -> None:
        self._owns_client = client is None
        self._redis = (
            connect(url, connections_max=CONNECTIONS_MAX, timeout_seconds=timeout_seconds) if client is None else client
        )
        self._keys = f"{prefix}:keys"
        self._revoked = f"{prefix}:keys:revoked"

    async def add(self, key: ClientKey) -> None:
        """See :meth:`KeyStore.add`."""
        stored = msgspec.json.encode(key)
        if not await answered(self._redis.execute_command("HSETNX", self._keys, key.key_id, stored)):
            raise _taken(key)

    async def all(self) -> list[ClientKey]:
        """See :meth:`KeyStore.all`."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("HGETALL", self._keys)
            pipeline.execute_command("HGETALL", self._revoked)
            stored, revoked = await answered(pipeline.execute())
        try:
            keys = [msgspec.json.decode(value, type=ClientKey) for value in stored.values()]
            told = [replace(key, revoked_at=int(revoked.get(key.key_id.encode(), 0)) or None) for key in keys]
        except (ValueError, *UNDECODABLE) as error:
            raise DamagedLogError(f"{self._keys} holds what is not a key: {error}") from error
        return sorted(told, key=_age)

    async def revoke(self, key_id: str, at: int) -> bool:
        """See :meth:`KeyStore.revoke`."""
        if not await answered(self._redis.execute_command("HEXISTS", self._keys, key_id)):
            return False
        await answered(self._redis.execute_command("HSETNX", self._revoked, key_id, at))
        return True

    async def close(self) -> None:
        """See :meth:`KeyStore.close`."""
        if self._owns_client:
            await self._redis.aclose()


def _age(key: ClientKey) -> tuple[int, str]:
    return key.created_at, key.key_id


def _taken(key: ClientKey) -> ValueError:
    return ValueError(f"there is a key {key.key_id} already")
