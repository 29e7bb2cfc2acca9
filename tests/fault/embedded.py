"""Faults of `gift-ledger up`: one machine, Valkey and Ray embedded, an Apache Kafka beside it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from gift_ledger.embedded.ray import WATCH_SECONDS
from tests.fault.processes import HUNG_SECONDS, frozen, killed, send
from tests.fault.trial import CUT, NOTHING, STORAGE, Fault
from tests.real.stack import GCS, INBOX, RAYLET, RELAY, SHARD, SMS_SENDER, VALKEY, RunningStack, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WATCHED_SECONDS: Final = 2 * WATCH_SECONDS
ENDED_SECONDS_MAX: Final = 90.0
"""Three looks, of which one may wait, and the end of everything, on a busy machine; Ray's own end, which comes at 60 s,
has another exit code."""
COULD_NOT_RUN: Final = 2


@asynccontextmanager
async def everything_killed(stack: RunningStack) -> AsyncIterator[None]:
    await asyncio.to_thread(stack.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(stack.start)


@asynccontextmanager
async def ray_ended(stack: RunningStack) -> AsyncIterator[None]:
    """Whoever runs the stack is told that it has to be started again, instead of having a lame one.

    Ray dies while somebody waits for an answer of it: such a call would come back after a minute.
    """
    await send(stack, GCS, signal.SIGSTOP)
    await asyncio.sleep(WATCHED_SECONDS)  # somebody looks whether it is there
    await send(stack, GCS, signal.SIGKILL)
    try:
        await _has_ended(stack)
        yield
    finally:
        await _started_again(stack)


@asynccontextmanager
async def raylet_killed(stack: RunningStack) -> AsyncIterator[None]:
    """The actors end with the raylet that has started them, and so does the stack."""
    await send(stack, RAYLET, signal.SIGKILL)
    try:
        await _has_ended(stack)
        yield
    finally:
        await _started_again(stack)


async def _has_ended(stack: RunningStack) -> None:
    """By itself, with all that it had started."""
    assert await asyncio.to_thread(stack.exit_code, ENDED_SECONDS_MAX) == COULD_NOT_RUN
    assert await asyncio.to_thread(ended, stack.data_dir) == {}


async def _started_again(stack: RunningStack) -> None:
    await asyncio.to_thread(stack.kill)  # it has ended, or a finding has been made
    await asyncio.to_thread(stack.start)


FAULTS: Final = (
    Fault[RunningStack]("shard-killed", killed(SHARD), always=True),
    Fault[RunningStack]("valkey-killed", killed(VALKEY), always=True),
    Fault[RunningStack]("relay-killed", killed(RELAY), NOTHING, always=True),
    Fault[RunningStack]("inbox-killed", killed(INBOX), NOTHING, always=True),
    Fault[RunningStack]("sms-sender-killed", killed(SMS_SENDER), NOTHING, always=True),
    Fault[RunningStack]("shard-frozen", frozen(SHARD), lasts_seconds=HUNG_SECONDS, always=True),
    Fault[RunningStack]("valkey-frozen", frozen(VALKEY), lasts_seconds=HUNG_SECONDS, always=True),
    Fault[RunningStack]("gcs-killed", ray_ended, STORAGE | CUT),
    Fault[RunningStack]("raylet-killed", raylet_killed, STORAGE | CUT),
    Fault[RunningStack]("everything-killed", everything_killed, STORAGE | CUT, always=True),
)
