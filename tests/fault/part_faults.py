"""What may happen to gateways, to Ray, and to everything one after the other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from tests.fault.processes import HUNG_SECONDS, frozen, killed, send
from tests.fault.rig import Rig
from tests.fault.trial import CUT, NOTHING, STORAGE, Fault
from tests.real.roles import SHARDS_SIGN
from tests.real.stack import INBOX, RAYLET, RELAY, SHARD, SMS_SENDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ENDED_SECONDS_MAX: Final = 60.0
REPLACED_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05


@asynccontextmanager
async def gateway_killed(rig: Rig) -> AsyncIterator[None]:
    await asyncio.to_thread(rig.kill, "gateway-0")
    try:
        yield
    finally:
        await asyncio.to_thread(rig.start_gateway, 0)


@asynccontextmanager
async def gateway_frozen(rig: Rig) -> AsyncIterator[None]:
    pid = rig.program("gateway-0").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def gateways_disagree(rig: Rig) -> AsyncIterator[None]:
    """One of them believes that there is one shard: half of the certificates have two writers."""
    before = await _conflicts(rig)
    await asyncio.to_thread(rig.stop, "gateway-1")
    await asyncio.to_thread(rig.start_gateway, 1, {"SHARDS": 1})
    try:
        yield
    finally:
        await asyncio.to_thread(rig.stop, "gateway-1")
        await asyncio.to_thread(rig.start_gateway, 1)
    assert await _conflicts(rig) > before, "no certificate had two writers"


async def _conflicts(rig: Rig) -> int:
    """How often the log has refused a shard whose version was old."""
    actors = json.loads((await asyncio.to_thread(rig.run, "inspect", "--json")).stdout)
    return sum(actor["facts"].get("conflicts", 0) for actor in actors if actor["kind"] == "shard")


@asynccontextmanager
async def raylet_killed(rig: Rig) -> AsyncIterator[None]:
    """All actors end with it; whoever watches over the programs starts them again."""
    await send(rig, RAYLET, signal.SIGKILL)
    async with asyncio.timeout(ENDED_SECONDS_MAX):
        while rig.program("ray").running or rig.processes(SHARD):  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        await asyncio.to_thread(rig.kill_programs)
        await asyncio.to_thread(rig.start_programs)


@asynccontextmanager
async def rolling_restart(rig: Rig) -> AsyncIterator[None]:
    """Every part is replaced in good order, as by a new version, and the next one only when it is there again."""
    for number in range(len(rig.ports)):
        await asyncio.to_thread(rig.stop, f"gateway-{number}")
        await asyncio.to_thread(rig.start_gateway, number)
    for kind in (SHARD, RELAY, INBOX, SMS_SENDER):
        for pid in rig.processes(kind):
            await _replace(rig, kind, pid)
    for role, sign in (("shards", SHARDS_SIGN), ("bridge", "")):
        await asyncio.to_thread(rig.stop, role)
        await asyncio.to_thread(rig.start_role, role, sign)
    for server in (rig.redis, rig.kafka):
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    yield


async def _replace(rig: Rig, kind: str, pid: int) -> None:
    count = len(rig.processes(kind))
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(REPLACED_SECONDS_MAX):
        while pid in (running := rig.processes(kind)) or len(running) < count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(POLL_SECONDS)


FAULTS: Final = (
    Fault[Rig]("gateway-killed", gateway_killed, CUT, goes_on=True),
    Fault[Rig]("gateway-frozen", gateway_frozen, STORAGE | CUT, lasts_seconds=HUNG_SECONDS),
    Fault[Rig]("gateways-disagree", gateways_disagree, STORAGE | CUT, goes_on=True),
    Fault[Rig]("one-of-two-shards-killed", killed(SHARD)),
    Fault[Rig]("relay-frozen", frozen(RELAY), NOTHING, lasts_seconds=HUNG_SECONDS, goes_on=True),
    Fault[Rig]("inbox-frozen", frozen(INBOX), NOTHING, lasts_seconds=HUNG_SECONDS, goes_on=True),
    Fault[Rig]("raylet-frozen", frozen(RAYLET), NOTHING, lasts_seconds=HUNG_SECONDS, goes_on=True),
    Fault[Rig]("node-lost", raylet_killed, STORAGE | CUT),
    Fault[Rig]("rolling-restart", rolling_restart, STORAGE | CUT),
)
