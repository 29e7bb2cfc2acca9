"""Has the server write its files anew, so that what was replaced in memory is gone from its disk as well."""

import asyncio
from typing import Any, Final

from msgspec import Struct

from persistence.errors import StorageError
from persistence.redis_client import Client
from persistence.redis_errors import answered

POLL_SECONDS: Final = 0.1
"""Between two looks whether the server is done."""


class _File(Struct, frozen=True):
    """How one file is written anew, and by which facts the server tells that it is at it, and what came of it."""

    command: str
    busy: tuple[str, ...]
    status: str


_LOG: Final = _File("BGREWRITEAOF", ("aof_rewrite_in_progress", "aof_rewrite_scheduled"), "aof_last_bgrewrite_status")
_SNAPSHOT: Final = _File("BGSAVE", ("rdb_bgsave_in_progress",), "rdb_last_bgsave_status")


async def rewrite_files(client: Client, seconds_max: float) -> bool:
    """Have the append-only file rewritten, and the snapshot too if the server makes any; wait until that is done.

    A rewriting that is under way already does not count: it began with the memory as it was then. (The new file takes
    the place of the old one and of the increments since: both servers delete these once it is whole.)

    Args:
        client: of the server.
        seconds_max: how long to wait.

    Returns:
        Whether all was done in time. A server without an append-only file has none to rewrite. A snapshot that was
        left behind by a server that makes none any more is not looked for: nobody tells us of it.
    """
    try:
        async with asyncio.timeout(seconds_max):
            if not await _written(client, _LOG):
                return False
            return not await _makes_snapshots(client) or await _written(client, _SNAPSHOT)
    except TimeoutError:
        return False


async def _written(client: Client, file: _File) -> bool:
    await _rest(client, file)
    try:
        await answered(client.execute_command(file.command))
    except StorageError:
        return False  # not allowed to us, or another writing has begun in between
    return (await _rest(client, file)).get(file.status) in {b"ok", "ok"}


async def _makes_snapshots(client: Client) -> bool:
    """Whether it does, or does not tell."""
    try:
        settings: dict[str, str] = await answered(client.execute_command("CONFIG GET", "save"))
    except StorageError:
        return True
    return settings.get("save", "") != ""


async def _rest(client: Client, file: _File) -> dict[str, Any]:
    """Wait until the server writes nothing of this kind; gives what it says of itself then."""
    while True:
        info: dict[str, Any] = await answered(client.execute_command("INFO", "persistence"))
        if not any(int(info.get(name, 0)) for name in file.busy):
            return info
        await asyncio.sleep(POLL_SECONDS)
