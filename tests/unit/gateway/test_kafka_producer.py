"""The keeper of the producer, on producers that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from gateway import kafka_producer
from gateway.bridge_settings import BridgeSettings
from gateway.kafka_producer import ProducerKeeper, close_producer, new_producer, start_client


class FakeProducer:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.client = self
        self.closed = False
        self.reachable = True
        self.probes = 0

    async def start(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def force_metadata_update(self) -> bool:
        self.probes += 1
        if not self.reachable:
            raise KafkaConnectionError
        return True


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("BACKOFF_SECONDS_MIN", "BACKOFF_SECONDS_MAX", "PROBE_SECONDS"):
            monkeypatch.setattr(kafka_producer, name, 0.0)
        self.made: list[FakeProducer] = []
        self.failures: list[Exception] = []
        monkeypatch.setattr(kafka_producer, "new_producer", self._new)
        monkeypatch.setattr(kafka_producer, "close_producer", self._close)

    def _new(self, *_: str) -> FakeProducer:
        producer = FakeProducer(self.failures.pop(0) if self.failures else None)
        self.made.append(producer)
        return producer

    async def _close(self, producer: FakeProducer) -> None:
        producer.closed = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ProducerKeeper]:
        keeper = ProducerKeeper(BridgeSettings(bootstrap="127.0.0.1:1"), "test")
        task = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(60):
                yield keeper
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0)


async def test_a_broker_that_is_away_at_first_is_tried_until_it_is_there(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.failures = [KafkaConnectionError(), TimeoutError()]
    async with stage.running() as keeper:
        async with keeper.delivery() as producer:
            assert producer is stage.made[2]
        assert (keeper.started, keeper.reachable) == (1, True)

    assert all(producer.closed for producer in stage.made)
    assert caplog.text.count("Kafka cannot be reached") == 1


async def test_a_producer_that_failed_is_not_used_again(stage: Stage) -> None:
    async with stage.running() as keeper:
        with pytest.raises(OutOfOrderSequenceNumber):
            async with keeper.delivery() as first:
                raise OutOfOrderSequenceNumber
        async with keeper.delivery() as second:
            assert second is not first
        assert stage.made[0].closed
        assert keeper.started == 2


async def test_when_one_delivery_fails_the_others_do_not_wait_for_a_producer_that_is_gone(stage: Stage) -> None:
    begun = asyncio.Event()

    async def wait_for_ever(keeper: ProducerKeeper) -> None:
        async with keeper.delivery():
            begun.set()
            await asyncio.Event().wait()

    async with stage.running() as keeper:
        waiting = asyncio.create_task(wait_for_ever(keeper))
        await begun.wait()
        with pytest.raises(KafkaConnectionError):
            async with keeper.delivery():
                raise KafkaConnectionError
        with pytest.raises(TimeoutError):
            await waiting
        await until(lambda: keeper.started == 2)

    assert len(stage.made) == 2


async def test_a_delivery_that_takes_too_long_costs_the_producer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_producer, "DELIVERY_SECONDS_MAX", 0.01)
    async with stage.running() as keeper:
        with pytest.raises(TimeoutError):
            async with keeper.delivery():
                await asyncio.Event().wait()
        await until(lambda: keeper.started == 2)


async def test_what_is_no_fault_of_the_broker_leaves_the_producer_alone(stage: Stage) -> None:
    async with stage.running() as keeper:
        with pytest.raises(ZeroDivisionError):
            async with keeper.delivery():
                raise ZeroDivisionError
        async with keeper.delivery() as producer:
            assert producer is stage.made[0]


async def test_it_finds_out_whether_the_broker_still_answers(stage: Stage) -> None:
    async with stage.running() as keeper:
        await until(lambda: stage.made and stage.made[0].probes)
        stage.made[0].reachable = False
        await until(lambda: not keeper.reachable)
        stage.made[0].reachable = True
        await until(lambda: keeper.reachable)
        assert keeper.started == 1


async def test_it_can_be_ended_while_it_starts_a_producer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()

    async def never(_: FakeProducer) -> None:
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(FakeProducer, "start", never)
    async with stage.running() as keeper:
        await started.wait()
        assert not keeper.reachable

    assert stage.made[0].closed


class Connection:
    """One of aiokafka's, as far as it matters when a producer is closed."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer: asyncio.StreamWriter | None = writer

    def close(self, **_: object) -> "asyncio.Future[None]":
        writer, self._writer = self._writer, None
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        if writer is not None:
            writer.close()
        return done


@pytest.mark.parametrize("lost", [False, True])
async def test_a_producer_that_is_closed_delivers_no_more_of_what_it_had_sent(lost: bool) -> None:  # noqa: FBT001
    reading, ended = asyncio.Event(), asyncio.Event()
    received = 0

    async def slow_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reading.wait()
        with suppress(ConnectionResetError):
            while chunk := await reader.read(1 << 20):
                received += len(chunk)
        writer.close()
        ended.set()

    server = await asyncio.start_server(slow_broker, "127.0.0.1", 0)
    async with server, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(bytes(64 << 20))
        if lost:
            writer.transport.abort()
            await asyncio.sleep(0)
        producer = new_producer(BridgeSettings(bootstrap="127.0.0.1:1"), "test")
        producer.client._conns[0] = Connection(writer)

        await close_producer(producer)
        reading.set()
        await ended.wait()

    assert received < 64 << 20


async def test_a_start_that_is_given_up_comes_to_its_own_end_first() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    starting = asyncio.create_task(start_client(start(), 10))
    await begun.wait()

    starting.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait({starting})

    assert ended.is_set()
    assert starting.cancelled()


async def test_a_start_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_producer, "CLOSE_SECONDS_MAX", 0.01)
    cut_off = asyncio.Event()

    async def start() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut_off.set()

    with pytest.raises(TimeoutError):
        await start_client(start(), 0.01)

    assert cut_off.is_set()
