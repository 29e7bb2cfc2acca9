"""Copies a ledger from one server to another, key by key.

It goes through commands that every Redis and Valkey knows, so the two may be of different kinds and versions. The
source must not change meanwhile. Until :func:`open_copy` the copy is closed: no part of the service opens it.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from persistence.errors import StorageError, StorageUnsafeError
from persistence.redis_client import Client, Word
from persistence.redis_errors import answered
from persistence.redis_keys import any_key, meta_key
from persistence.redis_meta import CLOSED

KEYS_AT_ONCE: Final = 200
"""Keys that are read in one round trip."""
MEMBERS_AT_ONCE: Final = 1_000
"""Members of a key that are read and written at once: it bounds the memory, at some megabytes."""

_GONE: Final = "none"
"""Type of a key that has expired since it was listed."""
_COLLECTIONS: Final = {"hash": ("HSCAN", "HSET"), "zset": ("ZSCAN", "ZADD"), "set": ("SSCAN", "SADD")}
"""By type: how they are read and written. Every score of a ledger is a time, a whole number of milliseconds."""
_CLOSED_BECAUSE: Final = (
    "a restore into it is under way, or was broken off. If none runs any more, delete its keys and restore once more."
)

Command = tuple[Word, ...]


class TargetInUseError(StorageUnsafeError):
    """The server holds a ledger, or something else under its prefix: nothing is overwritten."""


async def claim(target: Client, prefix: str) -> None:
    """Take an empty prefix for a copy, and close it to all others.

    Raises:
        TargetInUseError: it is not empty; nothing was changed.
    """
    meta = meta_key(prefix)
    await _require_empty(target, prefix)
    taken = await answered(target.execute_command("HSETNX", meta, CLOSED, _CLOSED_BECAUSE))
    try:
        # a service may have made a ledger since; from now on none does
        fields = await answered(target.execute_command("HLEN", meta))
        if not taken or fields != 1:
            raise _in_use(prefix)
        await _require_empty(target, prefix, but=meta.encode())
    except TargetInUseError:
        if taken:
            await answered(target.execute_command("HDEL", meta, CLOSED))
        raise


async def copy_keys(source: Client, target: Client, prefix: str, on_progress: Callable[[int], None]) -> int:
    """Copy everything but what the ledger knows of itself (:func:`open_copy`); gives the number of keys.

    Raises:
        StorageError: a server failed, or a key is of a type that no ledger has.
    """
    meta, done = meta_key(prefix).encode(), 0
    async for page in _keys(source, prefix):
        keys = [key for key in page if key != meta]
        await _copy_page(source, target, keys)
        done += len(keys)
        on_progress(done)
    return done


async def require_ours(target: Client, prefix: str, keys: int) -> None:
    """See that nobody has written to the copy but us.

    Args:
        target: the copy.
        prefix: of its keys.
        keys: how many :func:`copy_keys` has copied.

    Raises:
        TargetInUseError: there are more: a part of the service runs on the server, and has written; it stays closed.
    """
    found = 0
    async for page in _keys(target, prefix):
        found += len(page)
    if found > keys + 1:
        raise TargetInUseError(
            f"somebody has written under {prefix!r} while the backup was put back: stop all parts of the service, "
            "delete its keys, and restore once more."
        )


async def open_copy(source: Client, target: Client, prefix: str) -> None:
    """Let the service open the copy, which is whole now.

    Raises:
        StorageError: a server failed; it may be open.
    """
    meta = meta_key(prefix)
    fields: Mapping[bytes, bytes] = await answered(source.execute_command("HGETALL", meta))
    async with target.pipeline(transaction=True) as pipeline:
        for field, value in fields.items():
            if field != CLOSED.encode():
                pipeline.execute_command("HSET", meta, field, value)
        pipeline.execute_command("HDEL", meta, CLOSED)
        await answered(pipeline.execute())


async def _require_empty(target: Client, prefix: str, *, but: bytes = b"") -> None:
    async for page in _keys(target, prefix):
        if any(key != but for key in page):
            raise _in_use(prefix)


def _in_use(prefix: str) -> TargetInUseError:
    return TargetInUseError(
        f"there is something under {prefix!r} on this server already, and a restore overwrites nothing. Name an empty "
        "server, or another redis_prefix; or delete what is there, once you know that nobody needs it."
    )


async def _copy_page(source: Client, target: Client, keys: Sequence[bytes]) -> None:
    told = await _ask(source, [command for key in keys for command in (("TYPE", key), ("PTTL", key))])
    kinds = {key: kind.decode() for key, kind in zip(keys, told[::2], strict=True)}
    small = [key for key, kind in kinds.items() if kind in {"string", "list"}]
    values = await _ask(
        source,
        [("GET", key) if kinds[key] == "string" else ("LRANGE", key, 0, MEMBERS_AT_ONCE - 1) for key in small],
    )
    await _ask(target, [command for key, value in zip(small, values, strict=True) for command in _put(key, value)])
    for key, value in zip(small, values, strict=True):
        if isinstance(value, list) and len(value) == MEMBERS_AT_ONCE:
            await _copy_list(source, target, key)
    for key, kind in kinds.items():
        if kind in _COLLECTIONS:
            await _copy_collection(source, target, key, kind)
        elif kind not in {"string", "list", _GONE}:
            raise StorageError(f"{key.decode(errors='replace')} is a {kind}, which no ledger has")
    expiries = zip(keys, told[1::2], strict=True)
    await _ask(target, [("PEXPIRE", key, left) for key, left in expiries if left >= 0])


def _put(key: bytes, value: bytes | list[bytes] | None) -> Sequence[Command]:
    match value:
        case None:
            return ()
        case bytes():
            return (("SET", key, value),)
        case _:
            return (("DEL", key), ("RPUSH", key, *value))  # a scan may show a key twice


async def _copy_list(source: Client, target: Client, key: bytes) -> None:
    """What stands behind the part that is there already."""
    start = MEMBERS_AT_ONCE
    while records := await answered(source.execute_command("LRANGE", key, start, start + MEMBERS_AT_ONCE - 1)):
        await answered(target.execute_command("RPUSH", key, *records))
        start += len(records)


async def _copy_collection(source: Client, target: Client, key: bytes, kind: str) -> None:
    scan, write = _COLLECTIONS[kind]
    cursor: int | None = None
    while cursor != 0:
        cursor, found = await answered(source.execute_command(scan, key, cursor or 0, "COUNT", MEMBERS_AT_ONCE))
        words = list(_words(kind, found))
        if words:
            await answered(target.execute_command(write, key, *words))


def _words(kind: str, found: Any) -> Iterator[Word]:  # noqa: ANN401 - as redis-py gives the page of a scan
    match kind:
        case "hash":
            for field, value in found.items():
                yield from (field, value)
        case "zset":
            for member, score in found:
                yield from (int(score), member)
        case _:
            yield from found


async def _keys(client: Client, prefix: str) -> AsyncIterator[list[bytes]]:
    cursor: int | None = None
    while cursor != 0:
        words = ("SCAN", cursor or 0, "MATCH", any_key(prefix), "COUNT", KEYS_AT_ONCE)
        cursor, keys = await answered(client.execute_command(*words))
        if keys:
            yield list(dict.fromkeys(keys))


async def _ask(client: Client, commands: Sequence[Command]) -> list[Any]:
    if not commands:
        return []
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return await answered(pipeline.execute())
