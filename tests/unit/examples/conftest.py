import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from examples.endpoints import Endpoints
from examples.sms_gateway import SmsGateway
from tests.unit.examples.stand_in import StandIn


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """A broker that speaks the protocol (librdkafka's mock), alive as long as its producer is."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=60).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(1)


@pytest.fixture
def keys() -> dict[str, str]:
    """The keys that the stand-in takes."""
    return {role: f"key-of-{role}" for role in ("storefront", "pos", "payments", "support", "ops")}


@pytest.fixture
async def endpoints(kafka: str) -> AsyncIterator[Endpoints]:
    """A stand-in for the service, running, with an SMS gateway."""
    gateway = SmsGateway()
    sms = await gateway.start()
    async with StandIn(kafka, sms).running() as http:
        yield Endpoints(http=http, kafka=kafka, sms_inbox=sms)
    await gateway.stop()


@pytest.fixture
def data_dir(endpoints: Endpoints, keys: dict[str, str], tmp_path: Path) -> Path:
    """The data directory of that service, with the two files that tell where it is."""
    addresses = {"http": endpoints.http, "kafka": endpoints.kafka, "smsInbox": endpoints.sms_inbox}
    (tmp_path / "endpoints.json").write_text(json.dumps(addresses))
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    return tmp_path
