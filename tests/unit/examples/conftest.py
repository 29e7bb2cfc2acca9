from collections.abc import Iterator

import pytest
from confluent_kafka import Producer


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """A broker that speaks the protocol (librdkafka's mock), alive as long as its producer is."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=5).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(1)
