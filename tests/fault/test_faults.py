"""Parts are killed or hang in the middle of traffic: nothing is lost or done twice, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from gift_ledger.embedded.ray import WATCH_SECONDS
from tests.real.audit import Events, audit
from tests.real.caller import Caller
from tests.real.market import Market, create_topics, kafka_settings
from tests.real.process import free_port
from tests.real.stack import GCS, INBOX, RELAY, SHARD, SMS_SENDER, VALKEY, RunningStack, ended, running
from tests.real.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.kafka import RealKafka

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

PREFIX = "fault."
HOT, COLD = 3, 40
DENOMINATION = 20_000
SERVED_SECONDS_MAX = 10.0
SOLD_SECONDS_MAX = 20.0
"""A killed inbox is missed by the broker only after some seconds."""
HUNG_SECONDS = 6.0
"""Longer than a call waits for its answer."""
WATCHED_SECONDS = 2 * WATCH_SECONDS
ENDED_SECONDS_MAX = 45.0
"""Three looks, of which one may wait, and the end of everything, on a busy machine; Ray's own end comes at 60 s."""
COULD_NOT_RUN = 2
SOME = 60
"""Calls that are answered before and after a fault."""


@pytest.fixture(scope="module")
def stack(
    start_shared_kafka: Callable[[], RealKafka], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    kafka = start_shared_kafka()
    asyncio.run(create_topics(kafka, PREFIX))
    # the port is the same when the stack is started again, as behind a load balancer
    settings = {**kafka_settings(kafka, PREFIX), "HTTP_PORT": str(free_port())}
    yield from running(RunningStack(tmp_path_factory.mktemp("faults"), settings))


async def all_served(stack: RunningStack, codes: list[str]) -> None:
    """Every certificate is served again, whichever shard it lives in."""
    ops = Caller(stack, "ops")
    try:
        async with asyncio.timeout(SERVED_SECONDS_MAX):
            await asyncio.gather(*(ops.get(f"/certificates/{code}") for code in codes))
    finally:
        await ops.close()


async def kill(stack: RunningStack, kind: str) -> None:
    await asyncio.to_thread(stack.kill_one, kind)


async def hang(stack: RunningStack, kind: str) -> None:
    pid = stack.processes(kind)[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(HUNG_SECONDS)  # it is the time that is the fault
    finally:
        os.kill(pid, signal.SIGCONT)


async def kill_everything(stack: RunningStack, _kind: str) -> None:
    await asyncio.to_thread(stack.kill)
    await asyncio.to_thread(stack.start)


async def end_ray(stack: RunningStack, kind: str) -> None:
    """Whoever runs the stack is told that it has to be started again, instead of having a lame one.

    Ray dies while somebody waits for an answer of it: such a call would come back after a minute.
    """
    os.kill(stack.processes(kind)[0], signal.SIGSTOP)
    await asyncio.sleep(WATCHED_SECONDS)  # somebody looks whether it is there
    await kill(stack, kind)
    assert await asyncio.to_thread(stack.exit_code, ENDED_SECONDS_MAX) == COULD_NOT_RUN
    assert await asyncio.to_thread(ended, stack.data_dir) == {}
    await asyncio.to_thread(stack.start)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (kill, SHARD),
        (kill, VALKEY),
        (kill, RELAY),
        (kill, INBOX),
        (kill, SMS_SENDER),
        (hang, SHARD),
        (hang, VALKEY),
        (end_ray, GCS),
        (kill_everything, ""),
    ],
)
async def test_nothing_is_lost_or_doubled(fault: Callable, kind: str, stack: RunningStack) -> None:  # type: ignore[type-arg]
    async with Market(stack, PREFIX) as market:
        codes = await market.sell(HOT + COLD, DENOMINATION)
        async with Traffic(stack, PREFIX, codes[:HOT], codes[HOT:], seed=len(kind)) as traffic:
            await traffic.more(SOME)

            await fault(stack, kind)

            await all_served(stack, codes)
            await traffic.another_sale(SOLD_SECONDS_MAX)
            await traffic.more(SOME)
        bought = [*codes, *traffic.sold]
        await audit(market, traffic.told, Events(stack.bootstrap, PREFIX, bought))

    proof = await asyncio.to_thread(stack.run, "verify")
    assert proof.returncode == 0, proof.stdout + proof.stderr
