"""Parts are killed or hang in the middle of traffic: nothing is lost or done twice, and it goes on by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fault.embedded import FAULTS
from tests.fault.report import marked, settle
from tests.fault.trial import TRIAL_SECONDS_MAX, Fault, Trial
from tests.real.market import create_topics, kafka_settings
from tests.real.process import free_port
from tests.real.stack import RunningStack, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.kafka import RealKafka

pytestmark = [
    pytest.mark.real,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(TRIAL_SECONDS_MAX),
]

PREFIX = "fault."


@pytest.fixture(scope="module")
def stack(
    start_shared_kafka: Callable[[], RealKafka], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    kafka = start_shared_kafka()
    asyncio.run(create_topics(kafka, PREFIX))
    # the port is the same when the stack is started again, as behind a load balancer
    settings = {**kafka_settings(kafka, PREFIX), "HTTP_PORT": str(free_port())}
    yield from running(RunningStack(tmp_path_factory.mktemp("faults"), settings))


@pytest.mark.parametrize("fault", marked(FAULTS))
async def test_nothing_is_lost_or_doubled(
    fault: Fault[RunningStack], stack: RunningStack, record_property: Callable[[str, object], None]
) -> None:
    await settle(Trial(stack, PREFIX, fault), record_property)
