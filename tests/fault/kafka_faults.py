"""What may happen to Kafka: it is away for long, or dies between taking a record and saying so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from examples.topics import TRANSACTIONS
from tests.fault.rig import PREFIX, Rig
from tests.fault.trial import NOTHING, Fault
from tests.real.network import Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOWN_SECONDS: Final = 60.0
TOPIC: Final = PREFIX + TRANSACTIONS
SENT_SECONDS: Final = 0.5
PRODUCED_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.02


@asynccontextmanager
async def down(rig: Rig) -> AsyncIterator[None]:
    await asyncio.to_thread(rig.kafka.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(rig.kafka.start)


@asynccontextmanager
async def killed_in_a_produce(rig: Rig) -> AsyncIterator[None]:
    """The broker has records that it could not say it has: its answers are held up until it is dead."""
    rig.bridge_kafka.cut()
    try:
        await asyncio.sleep(SENT_SECONDS)  # traffic goes on, and the relay sends what waits at the link
        before = await asyncio.to_thread(rig.kafka.end_of, TOPIC)
        rig.bridge_kafka.cut(Way.BACK)
        async with asyncio.timeout(PRODUCED_SECONDS_MAX):
            while await asyncio.to_thread(rig.kafka.end_of, TOPIC) == before:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(POLL_SECONDS)
        await asyncio.to_thread(rig.kafka.kill)
    finally:
        rig.bridge_kafka.reset()
        rig.bridge_kafka.mend()
    try:
        yield
    finally:
        await asyncio.to_thread(rig.kafka.start)


FAULTS: Final = (
    Fault[Rig]("kafka-down", down, NOTHING, lasts_seconds=DOWN_SECONDS, goes_on=True),
    Fault[Rig]("kafka-killed-in-a-produce", killed_in_a_produce, NOTHING, goes_on=True),
)
