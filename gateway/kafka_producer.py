"""The one producer of a process: started when the broker is there, and replaced whenever it has failed.

aiokafka's producer is idempotent within its life, but it can wait for ever on a broker that is away (aiokafka #1101)
and be stuck on a sequence number for good (#1017). So every wait here is bounded, and a producer that failed once is
not used again. What it had not acknowledged is sent again by its successor: at worst a record comes twice.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gateway.bridge_settings import BridgeSettings
from gateway.kafka_refusals import refusal
from persistence.tls import TrustError

REQUEST_SECONDS_MAX: Final = 5.0
"""How long the broker may take over one request."""
START_SECONDS_MAX: Final = 6.0
"""How long a producer may take to find its broker: one request, and a little more."""
DELIVERY_SECONDS_MAX: Final = 10.0
"""How long a record may be on the way. aiokafka tries again by itself within it, which is enough for a new leader."""
CLOSE_SECONDS_MAX: Final = 2.0
"""How long a producer may take to close; then its tasks are cancelled."""
PROBE_SECONDS: Final = 1.0
"""Between two questions whether the broker answers; they also keep what is known of topics fresh."""
PROBE_SECONDS_MAX: Final = 2.0
"""After this a broker that was asked whether it answers counts as away."""
BATCH_BYTES_MAX: Final = 256 * 1024
"""Most that one request carries for one partition; brokers take 1 MiB unless told otherwise."""
BACKOFF_SECONDS_MIN: Final = 0.05
BACKOFF_SECONDS_MAX: Final = 2.0
"""Pause before a client is made anew: the first, and the longest. It doubles in between."""
_NOT_AT_ALL: Final = struct.pack("ii", 1, 0)
"""How long the kernel lingers over what it has not sent yet."""

KAFKA_FAILURES: Final = (KafkaError, OSError)
"""What goes wrong with a broker that is away, slow (a ``TimeoutError`` is an ``OSError``) or unwilling."""

_logger = logging.getLogger(__name__)


class ProducerKeeper:
    """Keeps a producer at hand, as long as :meth:`run` runs.

    Args:
        settings: where the brokers are, and how they are spoken to.
        client_id: what the broker's logs call it.
    """

    def __init__(self, settings: BridgeSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._current: asyncio.Future[AIOKafkaProducer] = asyncio.get_running_loop().create_future()
        self._failed = asyncio.Event()
        self._deliveries: set[asyncio.Timeout] = set()
        self.started = 0
        """Producers so far."""
        self.reachable = False
        """Whether the broker answered lately."""
        self.refusal = ""
        """What the brokers have against us, in words; empty while they let us in, or none is there."""

    async def producer(self) -> AIOKafkaProducer:
        """The producer to use now; waits until there is one."""
        while True:
            current = self._current
            producer = await asyncio.shield(current)
            if current is self._current and not self._failed.is_set():
                return producer
            await asyncio.sleep(BACKOFF_SECONDS_MIN)  # it is being replaced

    @asynccontextmanager
    async def delivery(self) -> AsyncIterator[AIOKafkaProducer]:
        """The producer, for one delivery that is waited for within the block; waits until there is one.

        Raises:
            aiokafka.errors.KafkaError: it failed, and the producer is replaced.
            TimeoutError: it took too long, or the producer is replaced for another reason; it may have come through.
        """
        producer = await self.producer()
        bound = asyncio.timeout(DELIVERY_SECONDS_MAX)
        try:
            async with bound:
                self._deliveries.add(bound)
                try:
                    yield producer
                finally:
                    self._deliveries.discard(bound)
        except KAFKA_FAILURES:
            self._discard(producer)
            raise

    def _discard(self, producer: AIOKafkaProducer) -> None:
        """Have a producer that failed replaced, and end what waits for it; it is no matter who says so first."""
        if self._current.done() and self._current.result() is producer and not self._failed.is_set():
            self._failed.set()
            now = asyncio.get_running_loop().time()
            for bound in self._deliveries:
                if not bound.expired():
                    bound.reschedule(now)

    async def run(self) -> None:
        """Start producers, one after the other, until cancelled."""
        while True:
            producer = await self._started()
            self.started += 1
            self.reachable = True
            self._failed.clear()
            self._current.set_result(producer)
            try:
                await self._watch(producer)
            finally:
                self.reachable = False
                self._current = asyncio.get_running_loop().create_future()
                await close_producer(producer)

    async def _started(self) -> AIOKafkaProducer:
        pause, level = BACKOFF_SECONDS_MIN, logging.WARNING
        while True:
            try:
                producer = await self._start()
            except KAFKA_FAILURES as error:
                self.refusal = await refusal(self._settings)
                why = str(error) if isinstance(error, TrustError) else self.refusal or type(error).__name__
                _logger.log(level, "Kafka cannot be reached, and is tried again: %s", why)
                level = logging.DEBUG  # said once
            else:
                self.refusal = ""
                return producer
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_SECONDS_MAX)

    async def _start(self) -> AIOKafkaProducer:
        producer = new_producer(self._settings, self._client_id)
        try:
            await start_client(producer.start(), START_SECONDS_MAX)
        except BaseException:
            await close_producer(producer)
            raise
        return producer

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Until it has failed, find out again and again whether the broker answers."""
        while not self._failed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._failed.wait()
                    return
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    self.reachable = await producer.client.force_metadata_update()
            except KAFKA_FAILURES:
                self.reachable = False
            self.refusal = "" if self.reachable else await refusal(self._settings)


async def start_client(start: Coroutine[Any, Any, None], seconds_max: float) -> None:
    """Start a producer or consumer within a bounded time.

    aiokafka leaves its first connection open if the start is cancelled while it asks that one who the brokers are. So
    a start that is given up may come to its own end first, which takes a moment if the broker answers.

    Raises:
        aiokafka.errors.KafkaError: the broker does not answer, or refuses.
        TimeoutError: it took too long.
    """
    starting = asyncio.ensure_future(start)
    try:
        async with asyncio.timeout(seconds_max):
            await asyncio.shield(starting)
    finally:
        try:
            await asyncio.wait({starting}, timeout=CLOSE_SECONDS_MAX)
        finally:
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


def new_producer(settings: BridgeSettings, client_id: str) -> AIOKafkaProducer:
    """A producer, not started yet, whose records are acknowledged by all replicas and come once as long as it lives.

    Raises:
        persistence.tls.TrustError: a file of TLS cannot be used.
    """
    return AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap.split(","),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES_MAX,
        request_timeout_ms=int(REQUEST_SECONDS_MAX * 1_000),
        **settings.security.options(),
    )


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Close a producer within a bounded time, whatever state it is in; what it had not delivered is dropped.

    Its own ``stop`` waits until all is delivered, which may be never, and cannot be interrupted.
    """
    _hang_up(producer)
    producer._closed = True  # noqa: SLF001 - what ``stop`` does first
    sender = producer._sender  # noqa: SLF001
    ending: list[asyncio.Future[None]] = [asyncio.ensure_future(producer.client.close())]
    if sender.sender_task is not None:
        # it would tell a transaction that we do not have
        sender.sender_task.remove_done_callback(sender._fail_all)  # noqa: SLF001
        sender.sender_task.cancel()
        ending.append(sender.sender_task)
    _, late = await asyncio.wait(ending, timeout=CLOSE_SECONDS_MAX)
    for task in late:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    await producer.client.close()  # what the sender has opened meanwhile


def _hang_up(producer: AIOKafkaProducer) -> None:
    """Drop what the connections still hold.

    Closed politely they would go on to deliver it, perhaps after a successor has sent it again and more behind it.
    """
    for connection in producer.client._conns.values():  # noqa: SLF001
        if connection._writer is not None:  # noqa: SLF001
            transport = connection._writer.transport  # noqa: SLF001
            with suppress(OSError):  # it is closed already
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOT_AT_ALL)
            transport.abort()
