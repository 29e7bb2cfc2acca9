"""The connections to Redis."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

import hiredis
import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from persistence.redis_errors import answered
from persistence.tls import client_context

RESP: Final = 2
"""Version of the protocol. RESP3 is no faster for what we ask, and brings push messages that nobody here reads."""

Word = str | bytes | int
"""One word of a command."""

_SCRIPT: Final = "EVALSHA"


class Pipeline(Protocol):
    """Several commands in one round trip."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def execute_command(self, *words: Word) -> object:
        """Add a command."""
        ...

    async def execute(self) -> list[Any]:
        """Send them, and return their answers."""
        ...


class Client(Protocol):
    """As much of redis-py's client as we need. A fake that has it can stand in."""

    async def execute_command(self, *words: Word) -> Any:  # noqa: ANN401 - as the command answers
        """Send one command, and return its answer."""
        ...

    def pipeline(self, transaction: bool) -> Pipeline:  # noqa: FBT001 - redis-py's own signature
        """A pipeline; as a ``transaction`` it is done at one moment."""
        ...

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        ...


class _Lean(AbstractConnection):
    """Sends commands with less work, and lets itself be cancelled.

    redis-py's asyncio connections put commands into bytes in Python, word by word: for a batch of 64 authorizations
    that takes longer than all the rest. And they send under ``asyncio.wait_for``, which makes a task for each command
    and, before Python 3.12, loses a cancellation that comes as the task ends: whoever was cancelled goes on for ever.
    """

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's own signature
        """Bytes of one command, whose first word may be two (``CONFIG GET``)."""
        return [hiredis.pack_command((*str(args[0]).split(), *args[1:]))]

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: ARG002, FBT001, FBT002 - redis-py's own signature
    ) -> None:
        """Write bytes to the server; after the time-out, or when cancelled, the connection is of no use any more."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        writer = cast("asyncio.StreamWriter", self._writer)  # there is one while it is connected
        parts = [command.encode()] if isinstance(command, str) else [command] if isinstance(command, bytes) else command
        if writer.is_closing():  # the server has reset it, of which uvloop would tell by a RuntimeError
            await self.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError("The connection is closed")
        try:
            async with asyncio.timeout(self.socket_timeout):
                writer.writelines(parts)
                await writer.drain()
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise redis.exceptions.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            await self.disconnect(nowait=True)
            raise redis.exceptions.ConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What it reads from and writes to, once it is connected."""
        return cast("asyncio.StreamReader", self._reader), cast("asyncio.StreamWriter", self._writer)


class _LeanConnection(_Lean, Connection):
    """A connection over TCP."""


class _LeanSSLConnection(_Lean, SSLConnection):
    """A connection over TLS. Where issuers are given nobody else is believed: redis-py would add them to others."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - redis-py's own
        super().__init__(**options)
        if self.ca_certs is not None:
            context = client_context(str(self.ca_certs), self.certfile, self.keyfile)
            context.check_hostname = self.check_hostname
            context.verify_mode = ssl.VerifyMode(self.cert_reqs)
            self.ssl_context.context = context


class _LeanUnixConnection(_Lean, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


_LEAN: Final[dict[type, type]] = {
    Connection: _LeanConnection,
    SSLConnection: _LeanSSLConnection,
    UnixDomainSocketConnection: _LeanUnixConnection,
}


class _Pool(Protocol):
    """As much of redis-py's pool of connections as we need; untyped there."""

    async def get_connection(self) -> AbstractConnection: ...

    async def ensure_connection(self, connection: AbstractConnection) -> None: ...

    async def release(self, connection: AbstractConnection) -> None: ...


class _Direct:
    """A client that keeps one connection at hand for scripts, which are what an authorization waits for.

    redis-py's own way to a connection and back takes twice as long as sending a script and reading its answer.
    """

    def __init__(self, client: Client, pool: _Pool) -> None:
        self._client = client
        self._pool = pool
        self._at_hand: list[AbstractConnection] = []  # one at most

    async def execute_command(self, *words: Word) -> Any:  # noqa: ANN401 - as the command answers
        """As :meth:`Client.execute_command`."""
        if words[0] != _SCRIPT:
            return await self._client.execute_command(*words)
        connection = self._at_hand.pop() if self._at_hand else await self._pool.get_connection()
        try:
            await self._pool.ensure_connection(connection)
            await connection.send_packed_command(connection.pack_command(*words), check_health=False)
            return await connection.read_response()
        finally:
            # one that failed has disconnected itself, and is connected again when it is needed
            if self._at_hand:
                await self._pool.release(connection)
            else:
                self._at_hand.append(connection)

    def pipeline(self, transaction: bool) -> Pipeline:  # noqa: FBT001 - redis-py's own signature
        """As :meth:`Client.pipeline`."""
        return self._client.pipeline(transaction)

    async def aclose(self) -> None:
        """As :meth:`Client.aclose`."""
        await self._client.aclose()


def connect(url: str, *, connections_max: int, timeout_seconds: float) -> Client:
    """A client that never sends a command twice.

    redis-py's default is to try ten times by itself on a lost connection. An append whose answer was lost would
    then be refused as a conflict with itself.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, complete (:mod:`persistence.redis_address`).
        connections_max: most connections at once; a call waits for a free one.
        timeout_seconds: longest wait for a connection, for its opening, and for an answer.
    """
    pool = pool_of(url, connections_max=connections_max, timeout_seconds=timeout_seconds)
    client = cast("Client", Redis.from_pool(pool))
    # a single connection has to be there for everything: kept for scripts, nothing else would ever get one
    return _Direct(client, pool) if connections_max > 1 else client


@asynccontextmanager
async def streams(
    url: str, *, timeout_seconds: float
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which the server knows us, for what is no command with an answer.

    Raises:
        StorageError: it cannot be opened.
    """
    pool: Any = pool_of(url, connections_max=1, timeout_seconds=timeout_seconds)  # redis-py has no types for it
    connection = pool.make_connection()
    try:
        await answered(connection.connect())
        yield connection.streams()
    finally:
        await connection.disconnect(nowait=True)


def pool_of(url: str, *, connections_max: int, timeout_seconds: float) -> BlockingConnectionPool:
    """redis-py's pool of connections that send lean and never twice; as :func:`connect`."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=RESP,
        decode_responses=False,
        driver_info=None,  # nobody reads there which library we use, and it would need a right of its own
    )
    pool.connection_class = _LEAN[pool.connection_class]
    return pool
