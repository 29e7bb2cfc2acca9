"""What may happen to Kafka: it is away for long, or dies between taking a record and saying so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from tests.fault.rig import Rig
from tests.fault.trial import NOTHING, Fault
from tests.real.network import Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOWN_SECONDS: Final = 60.0
PRODUCED_SECONDS: Final = 1.0


@asynccontextmanager
async def down(rig: Rig) -> AsyncIterator[None]:
    await asyncio.to_thread(rig.kafka.kill)
    yield
    await asyncio.to_thread(rig.kafka.start)


@asynccontextmanager
async def killed_in_a_produce(rig: Rig) -> AsyncIterator[None]:
    """The broker has records that it could not say it has: its answers are held up until it is dead."""
    rig.bridge_kafka.cut(Way.BACK)
    await asyncio.sleep(PRODUCED_SECONDS)  # records arrive
    await asyncio.to_thread(rig.kafka.kill)
    rig.bridge_kafka.reset()
    rig.bridge_kafka.mend()
    yield
    await asyncio.to_thread(rig.kafka.start)


FAULTS: Final = (
    Fault[Rig]("kafka-down", down, NOTHING, lasts_seconds=DOWN_SECONDS, goes_on=True),
    Fault[Rig]("kafka-killed-in-a-produce", killed_in_a_produce, NOTHING, goes_on=True),
)
