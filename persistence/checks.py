"""Whether a server keeps what it acknowledges.

A server that answers "done" and forgets it after a power cut makes a ledger lie. So it is looked at before anything is written, and
everything that is wrong is said at once, with what to change.
"""

from typing import Any, Final

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from persistence.redis_errors import answered

VERSION_MIN: Final = (7, 0)
"""The first Redis whose scripts are refused before they run when the server cannot take a write."""

_SETTINGS: Final = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy")


class Server(Struct, frozen=True):
    """What a server says of itself. ``settings`` is ``None`` if it does not let us see them."""

    info: dict[str, Any]
    settings: dict[str, str] | None
    knows_waitaof: bool = True


async def look(client: Redis) -> Server:
    """Ask a server for what the checks need.

    Raises:
        StorageError: see :mod:`persistence.redis_errors`.
    """
    info: dict[str, Any] = await answered(client.info())
    knows_waitaof = bool((await answered(client.execute_command("COMMAND INFO", "WAITAOF")))[0:1] != [None])
    try:
        pairs: list[bytes] = await client.execute_command("CONFIG", "GET", *_SETTINGS)
    except (NoPermissionError, ResponseError):
        return Server(info, None, knows_waitaof)
    words = [word.decode() for word in pairs]
    return Server(info, dict(zip(words[::2], words[1::2], strict=True)), knows_waitaof)
