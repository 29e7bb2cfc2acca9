"""What tests put between two parts: a way that can be slowed, cut and torn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from tests.real.network import Link, Network, Way

MOMENT_SECONDS = 0.2
"""Long enough for an echo to come, if it can."""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
async def link(network: Network) -> AsyncIterator[Link]:
    echoes: list[asyncio.Task[None] | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoes.append(asyncio.current_task())
        with suppress(OSError):
            while line := await reader.readline():
                writer.write(line)
        await hang_up(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    place = server.sockets[0].getsockname()
    link = network.link(lambda: place)
    yield link
    link.reset()
    await asyncio.gather(*(echo for echo in echoes if echo is not None))
    server.close()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):  # the other side was first
        await writer.wait_closed()


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes in a moment: it is a time that is waited for."""
    await asyncio.sleep(MOMENT_SECONDS)
    return not reader._buffer  # type: ignore[attr-defined]


@pytest.mark.parametrize("ways", [Way.THERE, Way.BACK, Way.BOTH])
async def test_what_is_sent_over_a_cut_link_arrives_once_it_is_mended(link: Link, ways: Way) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"
    link.cut(ways)
    writer.write(b"after\n")
    assert await nothing_comes(reader)

    link.mend()

    assert await reader.readline() == b"after\n"
    await hang_up(writer)


async def test_a_connection_that_is_made_over_a_cut_link_finds_nobody_yet(link: Link) -> None:
    link.cut()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"early\n")
    assert await nothing_comes(reader)

    link.mend()

    assert await reader.readline() == b"early\n"
    await hang_up(writer)


async def test_connections_are_reset_and_new_ones_work(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"before\n")
    await reader.readline()

    link.reset()

    with pytest.raises(ConnectionResetError):
        await reader.readline()
    await hang_up(writer)
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"after\n")
    assert await reader.readline() == b"after\n"
    await hang_up(writer)


async def test_a_link_to_nobody_hangs_up(network: Network) -> None:
    link = network.link(lambda: ("127.0.0.1", 1))
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)

    assert await reader.read() == b""
    await hang_up(writer)
