"""The connections to Redis, where redis-py's own do something else."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import redis.exceptions
import uvloop

from persistence.redis_client import _LeanConnection

if TYPE_CHECKING:
    from collections.abc import Callable


async def send_over_a_torn_connection() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        connection = _LeanConnection()
        connection._reader, connection._writer = await asyncio.open_connection(sock=ours)
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # it is closed now
        await connection.send_packed_command(b"PING")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_torn_connection_fails_as_a_connection_does(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(redis.exceptions.ConnectionError):
        runner.run(send_over_a_torn_connection())
