"""API keys: only their hashes are stored, each with the client, the role and the channel it stands for."""

import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Final, Protocol
from zlib import crc32

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from persistence.errors import UNDECODABLE, DamagedLogError
from persistence.redis_client import Client, Word, connect
from persistence.redis_errors import answered
from persistence.redis_scripts import Script

KEY_PREFIX: Final = "glk_"
"""By this scanners for leaked secrets, and people, know a key when they see one."""
_KEY_BYTES: Final = 32
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS: Final = 43
"""As many as 256 bits take in base 62."""
_CHECK_DIGITS: Final = 6
"""As many as a CRC-32 takes in base 62."""
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
    """Since when nobody takes it, whatever his clock says."""
    expires_at: int | None = None
    """From then on nobody takes it, each by his own clock."""

    def ended(self, now: int) -> bool:
        """Whether it is no longer to be taken."""
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


def new_key() -> tuple[str, str]:
    """A fresh key (256 random bits, to be shown once) and its hash.

    43 digits of base 62, and 6 that check them: the CRC-32 of the 43. By it a scanner tells a key from what only looks
    like one, without asking anybody. Keys of before have 43 characters of URL-safe base64 and no check; they work on.
    """
    secret = _base_62(int.from_bytes(secrets.token_bytes(_KEY_BYTES), "big"), _SECRET_DIGITS)
    text = f"{KEY_PREFIX}{secret}{_check(secret)}"
    return text, hash_key(text)


def is_whole(text: str) -> bool:
    """Whether this has the form of :func:`new_key`'s keys, and its check is right."""
    secret, check = text[len(KEY_PREFIX) : -_CHECK_DIGITS], text[-_CHECK_DIGITS:]
    return text.startswith(KEY_PREFIX) and len(secret) == _SECRET_DIGITS and _check(secret) == check


def _check(secret: str) -> str:
    return _base_62(crc32(secret.encode()), _CHECK_DIGITS)


def _base_62(number: int, digits: int) -> str:
    found = []
    for _ in range(digits):
        number, digit = divmod(number, len(_DIGITS))
        found.append(_DIGITS[digit])
    return "".join(reversed(found))


def hash_key(text: str) -> str:
    """SHA-256 of a key, in hex.

    A slow, salted hash protects what people make up and reuse. A key is 256 random bits: it can be neither guessed
    nor found in a table, so a fast hash is as safe, and every request can afford it. Keys are then looked up by hash,
    and how long that takes tells an attacker at most something of a hash, from which he gets to no key: no secret is
    compared with what he sends, so there is nothing whose time would tell him how near he is.
    """
    return sha256(text.encode()).hexdigest()


class KeyStore(Protocol):
    """Where keys are kept. Every method may raise :class:`~persistence.errors.StorageError`."""

    async def add(
        self, key: ClientKey, *, known: int | None = None, replaced: ClientKey | None = None, ends_at: int = 0
    ) -> bool:
        """Keep a new key, and give the one that it replaces an end: both or neither.

        Args:
            key: the new one.
            known: how many keys the caller has seen; ``None``: it does not matter.
            replaced: the other one, as the caller has seen it.
            ends_at: when that ends, in milliseconds.

        Returns:
            False, with nothing done, if there are other keys by now, or the replaced one has another end.

        Raises:
            ValueError: its id is taken.
        """
        ...

    async def all(self) -> Sequence[ClientKey]:
        """All keys, those that have ended too, oldest first."""
        ...

    async def revoke(self, key_id: str, at: int) -> bool:
        """Revoke a key at ``at`` (milliseconds); the first time counts. False if there is no such key."""
        ...

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Note when keys were used (milliseconds, by id); what is noted never goes back."""
        ...

    async def used(self) -> dict[str, int]:
        """When each key was used last, as far as that was noted."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class MemoryKeyStore:
    """Keys in memory, for tests."""

    def __init__(self, keys: Sequence[ClientKey] = ()) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._used: dict[str, int] = {}

    async def add(
        self, key: ClientKey, *, known: int | None = None, replaced: ClientKey | None = None, ends_at: int = 0
    ) -> bool:
        """See :meth:`KeyStore.add`."""
        if known is not None and len(self._keys) != known:
            return False
        if replaced is not None and self._keys.get(replaced.key_id) != replaced:
            return False
        if key.key_id in self._keys:
            raise _taken(key)
        self._keys[key.key_id] = key
        if replaced is not None:
            self._keys[replaced.key_id] = replace(replaced, expires_at=ends_at)
        return True

    async def all(self) -> list[ClientKey]:
        """See :meth:`KeyStore.all`."""
        return sorted(self._keys.values(), key=_age)

    async def revoke(self, key_id: str, at: int) -> bool:
        """See :meth:`KeyStore.revoke`."""
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at is None:
            self._keys[key_id] = replace(key, revoked_at=at, expires_at=None)
        return key is not None

    async def note_used(self, used: Mapping[str, int]) -> None:
        """See :meth:`KeyStore.note_used`."""
        for key_id, at in used.items():
            self._used[key_id] = max(at, self._used.get(key_id, at))

    async def used(self) -> dict[str, int]:
        """See :meth:`KeyStore.used`."""
        return dict(self._used)

    async def close(self) -> None:
        """See :meth:`KeyStore.close`."""


class RedisKeyStore:
    """Keys in Redis; what was written when a key was made is never written again.

    ``PREFIX:keys`` has the keys as they were made, ``PREFIX:keys:revoked`` since when one is refused,
    ``PREFIX:keys:ends`` when one is to end, and ``PREFIX:keys:used`` when it was used last. An end stands in the second
    of them too: versions that know nothing of ends look only there, and refuse at once what they would otherwise
    take for ever.

    Args:
        url: of the server.
        prefix: first part of its keys.
        timeout_seconds: after this a call counts as unanswered.
        client: instead of one of its own.
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
        self._ends = f"{prefix}:keys:ends"
        self._used = f"{prefix}:keys:used"

    async def add(
        self, key: ClientKey, *, known: int | None = None, replaced: ClientKey | None = None, ends_at: int = 0
    ) -> bool:
        """See :meth:`KeyStore.add`."""
        made = msgspec.json.encode(replace(key, revoked_at=None, expires_at=None))
        words: list[Word] = [key.key_id, made, _word(key.expires_at), _word(known)]
        if replaced is None:
            words += ["", "", ""]
        else:
            seen = replaced.expires_at if replaced.revoked_at is None else replaced.revoked_at
            words += [replaced.key_id, _word(seen), ends_at]
        done = await self._run(_ADD, words)
        if done < 0:
            raise _taken(key)
        return bool(done)

    async def all(self) -> list[ClientKey]:
        """See :meth:`KeyStore.all`."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("HGETALL", self._keys)
            pipeline.execute_command("HGETALL", self._revoked)
            pipeline.execute_command("HGETALL", self._ends)
            stored, revoked, ends = await answered(pipeline.execute())
        try:
            keys = [msgspec.json.decode(value, type=ClientKey) for value in stored.values()]
            told = [_with_end(key, revoked, ends) for key in keys]
        except (ValueError, *UNDECODABLE) as error:
            raise DamagedLogError(f"{self._keys} holds what is not a key: {error}") from error
        return sorted(told, key=_age)

    async def revoke(self, key_id: str, at: int) -> bool:
        """See :meth:`KeyStore.revoke`."""
        return bool(await self._run(_REVOKE, [key_id, at]))

    async def note_used(self, used: Mapping[str, int]) -> None:
        """See :meth:`KeyStore.note_used`."""
        words: list[Word] = ["ZADD", self._used, "GT"]
        for key_id, at in used.items():
            words += [at, key_id]
        await answered(self._redis.execute_command(*words))

    async def used(self) -> dict[str, int]:
        """See :meth:`KeyStore.used`."""
        flat = await answered(self._redis.execute_command("ZRANGE", self._used, 0, -1, "WITHSCORES"))
        return {key_id.decode(): int(float(at)) for key_id, at in zip(flat[::2], flat[1::2], strict=True)}

    async def close(self) -> None:
        """See :meth:`KeyStore.close`."""
        if self._owns_client:
            await self._redis.aclose()

    async def _run(self, script: Script, words: list[Word]) -> int:
        names = (self._keys, self._revoked, self._ends)
        # seldom enough to send the script itself
        done: int = await answered(self._redis.execute_command("EVAL", script.text, len(names), *names, *words))
        return done


_ADD: Final = Script("keys_add")
_REVOKE: Final = Script("keys_revoke")


def _with_end(key: ClientKey, revoked: Mapping[bytes, Any], ends: Mapping[bytes, Any]) -> ClientKey:
    """The key with what became of it. One that is refused since another time than its planned end was revoked."""
    name = key.key_id.encode()
    since, planned = revoked.get(name), ends.get(name)
    revoked_at = None if since is None or since == planned else int(since)
    return replace(key, revoked_at=revoked_at, expires_at=None if planned is None else int(planned))


def _word(number: int | None) -> Word:
    return "" if number is None else number


def _age(key: ClientKey) -> tuple[int, str]:
    return key.created_at, key.key_id


def _taken(key: ClientKey) -> ValueError:
    return ValueError(f"there is a key {key.key_id} already")
