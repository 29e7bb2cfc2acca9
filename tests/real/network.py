"""The network between two parts, to be slowed down and cut: proxies on loopback, in a thread of their own.

A cut loses nothing of a connection that lives on: as with TCP, what was sent meanwhile arrives once the way is free.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

CONNECT_SECONDS_MAX: Final = 5.0
CONTROL_SECONDS_MAX: Final = 60.0
CHUNK_BYTES: Final = 65_536
RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: a connection that is closed so ends with a reset."""

Place = tuple[str, int]
Result = TypeVar("Result")


class Way(enum.Flag):
    """Directions through a link."""

    THERE = enum.auto()
    """From whoever has connected: what is asked."""
    BACK = enum.auto()
    """What is answered."""
    BOTH = THERE | BACK


class Link:
    """A port that leads to another one. Its methods may be called from any thread, and block for a moment.

    Args:
        network: Whose thread it lives in.
        target: Where it leads to; asked for each connection, since a part that was started again may have moved.
    """

    def __init__(self, network: Network, target: Callable[[], Place]) -> None:
        self._network = network
        self._target = target
        self._open = {way: asyncio.Event() for way in (Way.THERE, Way.BACK)}
        self._delay_seconds = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        """Where it listens."""

    async def listen(self) -> asyncio.Server:
        """Begin; called by the network."""
        for gate in self._open.values():
            gate.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut(self, ways: Way = Way.BOTH) -> None:
        """Let nothing through these ways until `mend`; connections stay open, new ones too find nobody."""
        self._network.call(self._set(ways, 0.0))

    def slow(self, delay_seconds: float) -> None:
        """Let everything come so much later, each way."""
        self._network.call(self._set(Way(0), delay_seconds))

    def mend(self) -> None:
        """Let everything through again, what was held up first."""
        self._network.call(self._set(Way(0), 0.0))

    def reset(self) -> None:
        """End all connections at once; what was held up in them is lost."""
        self._network.call(self._reset())

    async def _set(self, shut: Way, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        for way, gate in self._open.items():
            if way in shut:
                gate.clear()
            else:
                gate.set()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            connection: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):  # it has ended by itself
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open[Way.THERE].wait()
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                answers, questions = await asyncio.open_connection(*self._target())
        except (OSError, TimeoutError):  # nobody is there
            self._drop(writer)
            return
        self._writers.add(questions)
        pumps = [
            asyncio.ensure_future(self._pump(reader, questions, Way.THERE)),
            asyncio.ensure_future(self._pump(answers, writer, Way.BACK)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._drop(writer)
            self._drop(questions)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Carry until the end of what is read, or of either connection."""
        with suppress(OSError):
            while piece := await reader.read(CHUNK_BYTES):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                await self._open[way].wait()
                writer.write(piece)
                await writer.drain()
        await self._open[way].wait()

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()


class Network:
    """A `with` block while which links work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._servers: list[asyncio.Server] = []
        self.links: list[Link] = []
        """All of them."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_SECONDS_MAX)
        self._loop.close()

    def link(self, target: Callable[[], Place]) -> Link:
        """A new link, which listens."""
        link = Link(self, target)
        self.call(self._listen(link))
        return link

    def call(self, action: Coroutine[Any, Any, Result]) -> Result:
        """Have something done in the thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(CONTROL_SECONDS_MAX)

    async def _listen(self, link: Link) -> None:
        self._servers.append(await link.listen())
        self.links.append(link)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for link in self.links:
            await link._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
