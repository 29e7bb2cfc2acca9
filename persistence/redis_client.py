"""The connections to Redis."""

from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

RESP: Final = 2
"""Version of the protocol. RESP3 is no faster for what we ask, and brings push messages that nobody here reads."""

Word = str | bytes | int
"""One word of a command."""


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


class _Packing:
    """Has hiredis put commands into bytes.

    redis-py's asyncio connections do it in Python, word by word: for a batch of 64 authorizations that takes longer
    than all the rest.
    """

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's own signature
        """Bytes of one command, whose first word may be two (``CONFIG GET``)."""
        return [hiredis.pack_command((*str(args[0]).split(), *args[1:]))]


class _PackingConnection(_Packing, Connection):
    """A connection over TCP."""


class _PackingSSLConnection(_Packing, SSLConnection):
    """A connection over TLS."""


class _PackingUnixConnection(_Packing, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


_PACKING: Final[dict[type, type]] = {
    Connection: _PackingConnection,
    SSLConnection: _PackingSSLConnection,
    UnixDomainSocketConnection: _PackingUnixConnection,
}


def connect(url: str, *, connections_max: int, timeout_seconds: float) -> Client:
    """A client that never sends a command twice.

    redis-py's default is to try ten times by itself on a lost connection. An append whose answer was lost would
    then be refused as a conflict with itself.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user and password if there are any.
        connections_max: most connections at once; a call waits for a free one.
        timeout_seconds: longest wait for a connection, for its opening, and for an answer.
    """
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
    )
    pool.connection_class = _PACKING[pool.connection_class]
    return cast("Client", Redis.from_pool(pool))
