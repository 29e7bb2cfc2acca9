"""Lines to real servers: logs that are closed whatever becomes of the test, and a cable that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.real.redis import RealServer

ANSWER_SECONDS_MAX = 60.0
HASTY_SECONDS = 0.3


class Opener:
    """Opens logs that are closed whatever becomes of the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, url: str, connections_max: int = 8) -> RedisLog:
        settings = StorageSettings(
            redis_url=url, partitions=4, timeout_seconds=ANSWER_SECONDS_MAX, connections_max=connections_max
        )
        log = await RedisLog.open(settings)
        self._stack.push_async_callback(log.close)
        return log


@contextmanager
def in_haste(log: RedisLog) -> Iterator[None]:
    """While nobody waits for long on the lines that are open now."""
    client: Any = log._client
    lines = [*client._at_hand, *client._pool._available_connections]
    assert lines
    for line in lines:
        line.socket_timeout = HASTY_SECONDS
    try:
        yield
    finally:
        for line in lines:
            line.socket_timeout = ANSWER_SECONDS_MAX


class Cable:
    """A TCP line to a server that can be cut after the server has answered, or carry nothing any more."""

    def __init__(self, server: RealServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self.lose_answers = False
        self.silent = False
        self.blocked = asyncio.Event()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """Its address."""
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections at once, with what is under way."""
        for writer in self._near:
            writer.transport.abort()

    async def _connect(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._near.add(to_near)
        far, to_far = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(near, to_far, answers=False))
                both.create_task(self._carry(far, to_near, answers=True))
        except* (ConnectionError, _CutError):
            pass  # the end of a line, which is what this is for
        finally:
            to_near.close()
            to_far.close()
            self._tasks.discard(task)
            self._near.discard(to_near)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await source.read(65_536):
            if answers and self.lose_answers:
                raise _CutError
            if not answers and self.blocked.is_set():
                await asyncio.Event().wait()  # reads no more, until it is torn down
            if not (answers and self.silent):
                target.write(data)
                await target.drain()
        raise _CutError


class _CutError(Exception):
    pass
