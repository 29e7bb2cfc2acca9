from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from gateway import dead_letters
from gateway.dead_letters import DeadLetterWriter, Received
from tests.unit.gateway.kafka_fakes import FakeBroker, FakeKeeper

RECORD = Received("All_Payments", 3, 17, b"SO-1", b"x" * 1_000, (("ce_id", b"e-1"),))


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    monkeypatch.setattr(dead_letters, "BACKOFF_SECONDS_MIN", 0.0)
    return FakeBroker()


def writer(broker: FakeBroker) -> DeadLetterWriter:
    return DeadLetterWriter("DeadLetter", cast("Any", FakeKeeper(broker)), lambda: 0)


async def test_a_broker_that_is_away_is_asked_until_it_has_the_letter(broker: FakeBroker) -> None:
    broker.failures = [KafkaConnectionError(), TimeoutError(), None]
    desk = writer(broker)

    await desk.put(RECORD, "NotJson", "because")

    ((key, value, _),) = broker.all("DeadLetter")
    assert (key, value) == (b"SO-1", b"x" * 1_000)
    assert (desk.written, desk.failing) == (1, False)


async def test_a_value_that_no_longer_fits_stays_where_it_came_from(broker: FakeBroker) -> None:
    broker.value_bytes_max, broker.too_large = 999, MessageSizeTooLargeError()

    await writer(broker).put(RECORD, "NotJson", "because")

    ((key, value, headers),) = broker.all("DeadLetter")
    assert (key, value) == (b"SO-1", b"")
    named = dict(headers)
    assert named["dlq_value_bytes"] == b"1000"
    assert (named["dlq_topic"], named["dlq_partition"], named["dlq_offset"]) == (b"All_Payments", b"3", b"17")
    assert "ce_id" not in named


async def test_a_key_that_does_not_fit_is_left_out_too(broker: FakeBroker) -> None:
    broker.value_bytes_max, broker.too_large = 999, MessageSizeTooLargeError()
    record = Received("All_Payments", 3, 17, b"k" * 2_000, b"x" * 1_000)

    await writer(broker).put(record, "NotJson", "because")

    ((key, _, _),) = broker.all("DeadLetter")
    assert key is None


async def test_a_long_reason_is_cut(broker: FakeBroker) -> None:
    await writer(broker).put(RECORD, "NotJson", "because " * 1_000 + "\ud800")

    ((_, _, headers),) = broker.all("DeadLetter")
    assert len(dict(headers)["dlq_detail"]) == dead_letters.DETAIL_CHARACTERS_MAX
