"""A Redis in memory that runs our scripts."""

from hashlib import sha1
from typing import Any, cast

from fakeredis import FakeAsyncRedis, FakeServer

from persistence.redis_client import RESP, Client


class _FakeRedis(FakeAsyncRedis):
    """fakeredis, which takes a script's first line, `#!lua …`, for Lua."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's own signature
        if words[0] == "SCRIPT LOAD":
            _, _, body = words[1].partition("\n")
            digest = sha1(words[1].encode(), usedforsecurity=False).hexdigest()
            self.connection_pool.connection_kwargs["server"].script_cache[digest.encode()] = body.encode()
            return digest
        return await super().execute_command(*words, **options)  # type: ignore[no-untyped-call]


def fake_redis(server: FakeServer | None = None) -> Client:
    """A client of a new server in memory, or of `server`."""
    return cast("Client", _FakeRedis(server=server or FakeServer(version=(7, 4), server_type="redis"), protocol=RESP))


def fake_pool(server: FakeServer) -> object:
    """A pool of connections to a server in memory."""
    return FakeAsyncRedis(server=server, protocol=RESP).connection_pool
