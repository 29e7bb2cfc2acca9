"""The codes of imported batches, which alone may be sold where the setting says so.

Of each code eighty bits of a digest are kept and not the code: two bytes choose a set, eight are a whole number in it.
Redis and Valkey keep a set of up to 512 whole numbers as one sorted array, so that a code takes some ten bytes and not
seventy. That a code counts as imported and is not has a chance of one in 10^18 with a million codes. The digest saves
memory; it hides nothing of codes that are short enough to be tried.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, Protocol, Self

from persistence.errors import StorageUnavailableError
from persistence.redis_client import Client, Word, connect
from persistence.redis_errors import answered
from persistence.redis_keys import codes_key
from persistence.redis_scripts import WAIT_SHARE
from persistence.settings import TIMEOUT_SECONDS, StorageSettings

CODES_AT_ONCE: Final = 1_000
"""Codes that are written in one round trip: a server does that in milliseconds, others get their turn."""
CONNECTIONS_MAX: Final = 2
"""A look-up is one short command; sales take turns."""
_SET_BYTES: Final = 2
_MEMBER_BYTES: Final = 8


class CodeStore(Protocol):
    """Where they are kept. Every method may raise :class:`~persistence.errors.StorageError`."""

    async def add(self, codes: Sequence[str]) -> int:
        """Keep codes, :data:`CODES_AT_ONCE` at most; gives how many were not there. Done twice it changes nothing.

        Raises:
            StorageUnavailableError: no answer came; some may be there. Add them again.
        """
        ...

    async def known(self, code: str) -> bool:
        """Whether a code is there."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class MemoryCodeStore:
    """Codes in memory, for tests."""

    def __init__(self, codes: Sequence[str] = ()) -> None:
        self._codes = set(codes)

    async def add(self, codes: Sequence[str]) -> int:
        """See :meth:`CodeStore.add`."""
        before = len(self._codes)
        self._codes.update(codes)
        return len(self._codes) - before

    async def known(self, code: str) -> bool:
        """See :meth:`CodeStore.known`."""
        return code in self._codes

    async def close(self) -> None:
        """See :meth:`CodeStore.close`."""


class RedisCodeStore:
    """Codes in the sets ``PREFIX:codes:0000`` to ``PREFIX:codes:ffff``.

    Args:
        client: where; closed with the store.
        prefix: first part of the keys.
        replicas: replicas that have to have a write on disk before it counts.
        timeout_seconds: the client's own time-out.
    """

    def __init__(
        self, client: Client, prefix: str = "gl", *, replicas: int = 0, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._replicas = replicas
        self._wait_ms = max(1, int(timeout_seconds * WAIT_SHARE * 1_000))

    @classmethod
    def at(cls, settings: StorageSettings) -> Self:
        """The codes beside the log that the settings name. Connects when it is first used."""
        client = connect(settings.redis_url, connections_max=CONNECTIONS_MAX, timeout_seconds=settings.timeout_seconds)
        return cls(client, settings.prefix, replicas=settings.replicas, timeout_seconds=settings.timeout_seconds)

    async def add(self, codes: Sequence[str]) -> int:
        """See :meth:`CodeStore.add`."""
        sets: dict[bytes, list[int]] = {}
        for chosen, member in map(_placed, codes):
            sets.setdefault(chosen, []).append(member)
        commands: list[Sequence[Word]] = [("SADD", self._key(chosen), *members) for chosen, members in sets.items()]
        if not self._replicas:
            return sum(await self._ask(commands))
        # in one pipeline, because WAITAOF is about the writes of its own connection
        *added, (_, confirmed) = await self._ask([*commands, ("WAITAOF", 1, self._replicas, self._wait_ms)])
        if confirmed < self._replicas:
            message = f"{confirmed} of {self._replicas} replicas have the codes on disk after {self._wait_ms} ms"
            raise StorageUnavailableError(message)
        return sum(added)

    async def known(self, code: str) -> bool:
        """See :meth:`CodeStore.known`."""
        chosen, member = _placed(code)
        return bool(await answered(self._client.execute_command("SISMEMBER", self._key(chosen), member)))

    async def close(self) -> None:
        """See :meth:`CodeStore.close`."""
        await self._client.aclose()

    def _key(self, chosen: bytes) -> str:
        return codes_key(self._prefix, chosen.hex())

    async def _ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        if not commands:
            return []
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await answered(pipeline.execute())


def _placed(code: str) -> tuple[bytes, int]:
    """Which set a code stands in, and as which number (64 bits, with a sign)."""
    digest = blake2b(code.encode(), digest_size=_SET_BYTES + _MEMBER_BYTES).digest()
    return digest[:_SET_BYTES], int.from_bytes(digest[_SET_BYTES:], "big", signed=True)
