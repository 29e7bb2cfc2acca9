"""All that a server holds, as it was at one moment: what it sends to a new replica.

The server forks and goes on; the child sends the data as they were when it was forked. So nobody waits, wherever
the server is, and what stands in several keys agrees.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from persistence.errors import StorageRefusedError, StorageUnavailableError
from persistence.redis_client import streams

CHUNK_BYTES: Final = 256 * 1024
"""Read from the server at once."""
LINE_BYTES_MAX: Final = 1_024
"""Longest answer that is no data."""
MARK_BYTES: Final = 40
"""Length of the random mark behind data whose length the server does not know beforehand."""
SILENCE_SECONDS_MAX: Final = 60.0
"""A server that prepares sends a sign of life each second; one that is silent for so long is gone."""


async def dump(url: str, *, timeout_seconds: float) -> AsyncIterator[bytes]:
    """The data of a server, as one file in the format of its snapshots (RDB), in pieces.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password if there are any.
        timeout_seconds: longest wait for the connection.

    Raises:
        StorageRefusedError: the server does not allow it (a user needs ``+sync +replconf``).
        StorageUnavailableError: it stopped in the middle.
    """
    async with streams(url, timeout_seconds=timeout_seconds) as (reader, writer):
        # an old server does not know "rdb-only" and says so, which does no harm: it then sends more behind the data
        for command in (b"REPLCONF rdb-only 1", b"REPLCONF capa eof"):
            writer.write(command + b"\r\n")
            await _line(reader)
        writer.write(b"SYNC\r\n")
        head = await _line(reader)
        if not head.startswith(b"$"):
            raise StorageRefusedError(
                f"the log's server gives no copy of its data: {head.decode(errors='replace').lstrip('-')}. "
                "Its user needs the rights +sync and +replconf."
            )
        pieces = _until(reader, head[5:]) if head.startswith(b"$EOF:") else _exactly(reader, int(head[1:]))
        async for piece in pieces:
            yield piece


async def _line(reader: asyncio.StreamReader) -> bytes:
    """One answer; empty lines are signs of life."""
    line = bytearray()
    while not line.strip() or not line.endswith(b"\n"):
        line += await _some(reader, 1)
        if len(line) > LINE_BYTES_MAX:
            line.clear()  # nothing but signs of life
    return bytes(line.strip())


async def _exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await _some(reader, min(CHUNK_BYTES, length))
        length -= len(piece)
        yield piece


async def _until(reader: asyncio.StreamReader, mark: bytes) -> AsyncIterator[bytes]:
    if len(mark) != MARK_BYTES:
        raise StorageUnavailableError("the log's server does not say where its data end")
    rest = b""
    while rest != mark:
        rest += await _some(reader, CHUNK_BYTES)
        if len(rest) > MARK_BYTES:
            yield rest[:-MARK_BYTES]
            rest = rest[-MARK_BYTES:]


async def _some(reader: asyncio.StreamReader, most: int) -> bytes:
    try:
        async with asyncio.timeout(SILENCE_SECONDS_MAX):
            piece = await reader.read(most)
    except OSError as error:
        raise StorageUnavailableError(
            f"the log's server stopped to send its data: {str(error) or 'no answer'}"
        ) from error
    if not piece:
        raise StorageUnavailableError("the log's server closed the connection before all its data had come")
    return piece
