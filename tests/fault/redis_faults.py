"""What may happen to Redis: it dies, stands still, refuses to write, has no room, or finds its file torn."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from tests.fault.rig import Rig
from tests.fault.trial import Fault
from tests.real.fixtures import lacking
from tests.real.process import POLL_SECONDS, ServerFailedError
from tests.real.small_disk import SmallDisk, small_disk_missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

AWAY_SECONDS: Final = 3.0
STOPPED_SECONDS: Final = 20.0
REFUSES_SECONDS: Final = 5.0
ROOM_BYTES: Final = 200_000
FULL_SECONDS_MAX: Final = 30.0
STARTS: Final = 2
"""How often the server is started on a disk that is full."""
NO_MASTER: Final = "1"
"""A port that nobody listens on."""
FOLDER: Final = "appendonlydir"
HALF_A_BATCH: Final = (
    b"*1\r\n$5\r\nMULTI\r\n*3\r\n$5\r\nRPUSH\r\n$4\r\ntorn\r\n$1\r\nx\r\n*3\r\n$5\r\nRPUSH\r\n$4\r\nto"
)
"""What a power cut leaves of an append that was being written: nobody was told of it yet."""
TORN_BYTES: Final = 100
"""Less than the last append, which clients were told of."""


def told(*commands: tuple[str, ...], undo: tuple[str, ...]) -> Callable[[Rig], AbstractAsyncContextManager[None]]:
    """The server is told something, and in the end something else."""

    @asynccontextmanager
    async def broken(rig: Rig) -> AsyncIterator[None]:
        for command in commands:
            await asyncio.to_thread(rig.redis.ask, *command)
        try:
            yield
        finally:
            await asyncio.to_thread(rig.redis.ask, *undo)

    return broken


@asynccontextmanager
async def killed(rig: Rig) -> AsyncIterator[None]:
    rig.redis.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(rig.redis.start)


@asynccontextmanager
async def stopped(rig: Rig) -> AsyncIterator[None]:
    pid = rig.redis.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def disk_full(rig: Rig) -> AsyncIterator[None]:
    """A server that syncs before it answers ends when it cannot write; so it does when it is started again."""
    if (missing := small_disk_missing()) is not None:
        lacking(missing)
    await asyncio.to_thread(rig.redis.stop)
    with SmallDisk(rig.redis.directory, ROOM_BYTES) as disk:
        rig.redis.within = disk.within
        try:
            for _ in range(STARTS):
                await asyncio.to_thread(_fill_up, rig)
            yield
        finally:
            rig.redis.kill()
            rig.redis.within = ()
            await asyncio.to_thread(disk.copy_back, FOLDER)
            await asyncio.to_thread(rig.redis.start)


@asynccontextmanager
async def tail_torn(rig: Rig) -> AsyncIterator[None]:
    """By a power cut in the middle of a write; `aof-load-truncated yes` has the server leave it out."""
    rig.redis.kill()
    with _tail(rig).open("ab") as file:
        file.write(HALF_A_BATCH)
    try:
        yield
    finally:
        await asyncio.to_thread(rig.redis.start)
    assert await asyncio.to_thread(rig.redis.ask, "EXISTS", "torn") == 0


@asynccontextmanager
async def tail_lost(rig: Rig) -> AsyncIterator[None]:
    """By a disk that had said that it has it; `aof-load-truncated no` has the server wait for whoever can mend it."""
    rig.redis.kill()
    file = _tail(rig)
    whole = file.read_bytes()
    os.truncate(file, len(whole) - TORN_BYTES)
    rig.redis.options = ("--aof-load-truncated", "no")
    try:
        with pytest.raises(ServerFailedError, match="ended with status 1"):
            await asyncio.to_thread(rig.redis.start)
        yield
    finally:
        rig.redis.kill()
        file.write_bytes(whole)  # from the copy of a replica
        await asyncio.to_thread(rig.redis.start)
        rig.redis.options = ()


def _tail(rig: Rig) -> Path:
    return max((rig.redis.directory / FOLDER).glob("*.incr.aof"), key=lambda file: int(file.name.split(".")[-3]))


def _fill_up(rig: Rig) -> None:
    """Start the server, and wait until it has ended for lack of room."""
    with suppress(ServerFailedError):  # it may end before it is seen to have started
        rig.redis.start()
    deadline = time.monotonic() + FULL_SECONDS_MAX
    while rig.redis.running:
        assert time.monotonic() < deadline, "the disk is not full"
        time.sleep(POLL_SECONDS)  # it tells nobody


FAULTS: Final = (
    Fault[Rig]("redis-killed", killed, lasts_seconds=AWAY_SECONDS),
    Fault[Rig]("redis-stopped", stopped, lasts_seconds=STOPPED_SECONDS),
    Fault[Rig](
        "redis-read-only",
        told(("REPLICAOF", "127.0.0.1", NO_MASTER), undo=("REPLICAOF", "NO", "ONE")),
        lasts_seconds=REFUSES_SECONDS,
    ),
    Fault[Rig](
        "redis-without-replicas",
        told(("CONFIG", "SET", "min-replicas-to-write", "1"), undo=("CONFIG", "SET", "min-replicas-to-write", "0")),
        lasts_seconds=REFUSES_SECONDS,
    ),
    Fault[Rig](
        "redis-out-of-memory",
        told(("CONFIG", "SET", "maxmemory", "1mb"), undo=("CONFIG", "SET", "maxmemory", "0")),
        lasts_seconds=REFUSES_SECONDS,
    ),
    Fault[Rig]("redis-disk-full", disk_full),
    Fault[Rig]("redis-tail-torn", tail_torn),
    Fault[Rig]("redis-tail-lost", tail_lost, lasts_seconds=AWAY_SECONDS),
)
