"""Serves the gateway over HTTP, inside whatever event loop it is called in."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from litestar.types import ASGIApp

from gateway.connection import BoundedConnection, bounded
from gateway.front import Front
from gateway.logs import named_requests
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.tls import server_context

BACKLOG: Final = 2_048
"""Connections that the kernel keeps until they are taken."""
DATE_SECONDS: Final = 1.0
"""How often the ``Date`` header is made anew."""

Ready = Callable[[str], Awaitable[None]]

_logger = logging.getLogger(__name__)


class GatewayError(Exception):
    """The gateway did not start; the log says why."""


async def serve(app: ASGIApp, settings: GatewaySettings, stop: asyncio.Event, ready: Ready | None = None) -> None:
    """Serve until ``stop`` is set, then let requests under way finish for at most ``drain_seconds``.

    Args:
        app: what answers; its lifespan is run.
        settings: address and bounds.
        stop: ends it.
        ready: awaited with the base URL, e.g. ``http://127.0.0.1:8080``, once connections are taken.

    Raises:
        OSError: the address cannot be listened on, e.g. because it is in use; or the certificate cannot be used.
        GatewayError: the application did not start.
    """
    tls = tls_of(settings)
    listener = await listen(settings.host, settings.port)
    begin, metrics = (app.begin, app.metrics) if isinstance(app, Front) else (None, Metrics())
    config = uvicorn.Config(
        app,
        http=bounded(settings, begin, metrics),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.idle_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.drain_seconds,  # type: ignore[arg-type]
    )
    url = base_url(settings.host, listener, secure=tls is not None)
    server = _Server(config, url, stop, ready, tls, settings.receive_seconds)
    with named_requests():
        try:
            await server.serve(sockets=[listener])
        finally:
            if server.started and not server.ended:
                await server.shutdown([listener])
            listener.close()


def tls_of(settings: GatewaySettings) -> ssl.SSLContext | None:
    """By what connections are taken; ``None``: they are plain.

    Raises:
        CertificateError: certificate and key cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return server_context(Path(settings.tls_cert), Path(settings.tls_key))


async def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address.

    Raises:
        OSError: that cannot be; the message names the address.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"Cannot listen on {host}, port {port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def base_url(host: str, listener: socket.socket, *, secure: bool = False) -> str:
    """Where a client on this machine finds the listener."""
    scheme, port = "https" if secure else "http", listener.getsockname()[1]
    if listener.family == socket.AF_INET6:
        host = "::1" if host == "::" else host
        return f"{scheme}://[{host}]:{port}"
    return f"{scheme}://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server without its signals, its polling and its exits."""

    def __init__(
        self,
        config: uvicorn.Config,
        url: str,
        stop: asyncio.Event,
        ready: Ready | None,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        super().__init__(config)
        self._tls = tls
        # uvicorn has no bounds for these, and asyncio's are 60 and 30 seconds
        self._tls_bounds = {"ssl_handshake_timeout": handshake_seconds, "ssl_shutdown_timeout": handshake_seconds}
        self._url = url
        self._stop = stop
        self._ready = ready
        self.ended = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the business of whoever sets ``stop``."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen."""
        try:
            await super().startup([])
        except SystemExit as error:
            raise GatewayError("The gateway did not start; the log says why.") from error
        loop, config = asyncio.get_running_loop(), self.config
        bounds: dict[str, Any] = self._tls_bounds if self._tls is not None else {}

        protocol: Any = config.http_protocol_class  # its signature is not in uvicorn's types
        connection = partial(protocol, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        for listener in sockets or []:
            server = await loop.create_server(
                connection, sock=listener, ssl=self._tls, backlog=config.backlog, **bounds
            )
            self.servers.append(server)

    async def main_loop(self) -> None:
        """Keep the ``Date`` header fresh until it is time to stop."""
        await self.on_tick(0)
        _logger.info("listening on %s", self._url)
        if self._ready is not None:
            await self._ready(self._url)
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_SECONDS):
                    await self._stop.wait()
            await self.on_tick(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, end the application, and let go of every connection."""
        self.ended = True
        try:
            await super().shutdown(sockets)
        finally:
            connections = [one for one in self.server_state.connections if isinstance(one, BoundedConnection)]
            for connection in connections:
                connection.give_up()
            await asyncio.sleep(0)  # the replies are made
            await asyncio.sleep(0)  # and written
            for connection in connections:
                connection.transport.abort()
