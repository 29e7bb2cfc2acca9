"""The web server of an identity provider, on loopback: it publishes keys, and misbehaves when it is told to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


class JwksServer:
    """Answers every request with `document`.

    `answer` takes the place of the whole response, `silent` of any.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.document = b'{"keys":[]}'
        self.answer: bytes | None = None
        self.silent = False
        self.asked = 0
        self.heads: list[bytes] = []
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/realms/shops/certs"

    async def start(self) -> None:
        """Listen, again at the same port if it has been up before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked += 1
            if self.silent:
                await reader.read()  # until whoever asked has gone
                return
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(self.document) + self.document if self.answer is None else self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # whoever asked has gone
        finally:
            writer.close()


@asynccontextmanager
async def jwks_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[JwksServer]:
    """Run one."""
    server = JwksServer(tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
