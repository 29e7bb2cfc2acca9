"""The subscriber that the documentation shows does what it says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.host import wall_clock
from gateway.relay import OutboxRelay
from ledger.identifiers import certificate_entity
from ledger.publications import STATE, Publication
from persistence import codec
from persistence.log import Batch
from persistence.memory import MemoryLog
from tests.integration.kafka_stage import bridge_settings, code, fill_outbox, make_topics, running, until

if TYPE_CHECKING:
    from tests.real.kafka import RealKafka

pytestmark = pytest.mark.real

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"


async def test_the_documented_subscriber_has_the_latest_state_of_each_certificate(
    kafka: RealKafka, kafka_prefix: str
) -> None:
    settings = bridge_settings(kafka.bootstrap, kafka_prefix)
    await make_topics(kafka, settings)
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    source = source.replace("GiftCertificateState", settings.states).replace("bi-pipeline", f"{kafka_prefix}bi")
    namespace: dict[str, Any] = {}
    exec(compile(source, str(PAGE), "exec"), namespace)  # noqa: S102 - our own page
    log = MemoryLog()
    await fill_outbox(log, range(1, 6), 10)
    given_back = Publication(STATE, code(3), "es_6", wall_clock(), b"")
    await log.append(Batch(outbox=((certificate_entity(code(3)), codec.encode_publication(given_back)),)))
    states: dict[str, dict[str, int]] = {}

    following = asyncio.create_task(namespace["follow"](kafka.bootstrap, states))
    async with running(OutboxRelay(log, settings, wall_clock)):
        await until(lambda: len(states) == 9 and {state["version"] for state in states.values()} == {5})
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert code(3) not in states
