"""Has the server write its append-only file anew, so that what was replaced in memory is gone from its disk as well."""

import asyncio
from typing import Any, Final

from persistence.errors import StorageError
from persistence.redis_client import Client
from persistence.redis_errors import answered

POLL_SECONDS: Final = 0.1
"""Between two looks whether the server is done."""


async def rewrite_files(client: Client, seconds_max: float) -> bool:
    """Have it rewritten, and wait until that is done.

    A rewriting that is under way already does not count: it began with the memory as it was then. (The new file takes
    the place of the old one and of the increments since: both servers delete these once it is whole.)

    Args:
        client: of the server.
        seconds_max: how long to wait.

    Returns:
        Whether it was done in time. A server without an append-only file has nothing to rewrite.
    """
    try:
        async with asyncio.timeout(seconds_max):
            await _rest(client)
            try:
                await answered(client.execute_command("BGREWRITEAOF"))
            except StorageError:
                return False  # not allowed to us, or another rewriting has begun in between
            return (await _rest(client)).get("aof_last_bgrewrite_status") in {b"ok", "ok"}
    except TimeoutError:
        return False


async def _rest(client: Client) -> dict[str, Any]:
    """Wait until the server rewrites nothing; gives what it says of itself then."""
    while True:
        info: dict[str, Any] = await answered(client.execute_command("INFO", "persistence"))
        if not any(int(info.get(f"aof_rewrite_{what}", 0)) for what in ("in_progress", "scheduled")):
            return info
        await asyncio.sleep(POLL_SECONDS)
