"""Parts are killed in the middle of batches: each item is carried out once, whichever answers were lost."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from actors.cores import CORES, cores_apart
from tests.real.caller import Caller
from tests.real.market import Market
from tests.real.stack import SHARD, UP, VALKEY, RunningStack, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

CODES = 20
DENOMINATION = 10_000_000
ITEMS = 200
CONCENTRATORS = 3
KILLS_MAX = 10
SOME = 6
"""Batches that are complete before and after a fault."""
COMPLETE_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.05
UNAVAILABLE = 503


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    settings = {"SHARDS": "1"}
    yield from running(RunningStack(tmp_path_factory.mktemp("bulk-faults"), settings))


class Concentrators:
    """Send batches until they are told to stop, each again as a whole until all of its items have an outcome."""

    def __init__(self, stack: RunningStack, codes: list[str]) -> None:
        self._stack = stack
        self._codes = codes
        self._news = asyncio.Condition()
        self._stop = False
        self.complete = 0
        self.repeated = 0
        self.asked: dict[str, str] = {}
        """The code of each key."""
        self.told: dict[str, set[tuple[int, str]]] = defaultdict(set)
        """For each key the outcomes that were told, but for 503."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCENTRATORS):
                group.create_task(self._concentrate())

    async def more(self, count: int) -> None:
        """Wait until so many batches more are complete."""
        goal = self.complete + count
        async with asyncio.timeout(COMPLETE_SECONDS_MAX), self._news:
            await self._news.wait_for(lambda: self.complete >= goal)

    def stop(self) -> None:
        self._stop = True

    async def _concentrate(self) -> None:
        async with self._stack.client("pos") as http:
            while not self._stop:
                await self._send(http, self._batch())
                async with self._news:
                    self.complete += 1
                    self._news.notify_all()

    def _batch(self) -> list[dict[str, Any]]:
        run = uuid.uuid4().hex
        items = []
        for number in range(ITEMS):
            code, key = self._codes[number % CODES], f"{run}-{number}"
            self.asked[key] = code
            items.append({"certificateCode": code, "amount": 1, "currency": "RUB", "idempotencyKey": key})
        return items

    async def _send(self, http: httpx.AsyncClient, items: list[dict[str, Any]]) -> None:
        async with asyncio.timeout(COMPLETE_SECONDS_MAX):
            while await self._attempt(http, items):
                self.repeated += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def _attempt(self, http: httpx.AsyncClient, items: list[dict[str, Any]]) -> bool:
        """Send the batch; gives whether it has to be sent again."""
        try:
            response = await http.post("/authorizations", json={"items": items})
        except httpx.TransportError:
            return True
        if response.status_code == UNAVAILABLE:
            return True
        assert response.status_code == 200, response.text
        outcomes = response.json()["outcomes"]
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome["status"] != UNAVAILABLE:
                name = outcome["body"].get("authorizationId") or outcome["body"]["code"]
                self.told[item["idempotencyKey"]].add((outcome["status"], name))
        return any(outcome["status"] == UNAVAILABLE for outcome in outcomes)


@pytest.mark.parametrize("kind", [SHARD, VALKEY])
async def test_every_item_is_carried_out_once(kind: str, stack: RunningStack) -> None:
    async with Market(stack) as market:
        codes = await market.sell(CODES, DENOMINATION)
    concentrators = Concentrators(stack, codes)
    async with asyncio.TaskGroup() as group:
        group.create_task(concentrators.run())
        await concentrators.more(SOME)

        # a part that dies between two batches may be back before the next one: nobody notices
        for _ in range(KILLS_MAX):
            await asyncio.to_thread(stack.kill_one, kind)
            await concentrators.more(SOME)
            if concentrators.repeated:
                break

        concentrators.stop()
    assert concentrators.repeated, "the fault was noticed"
    granted: dict[str, set[str]] = defaultdict(set)
    for key, outcomes in concentrators.told.items():
        ((status, name),) = outcomes
        assert status == 201, name
        granted[concentrators.asked[key]].add(name)
    assert sum(len(names) for names in granted.values()) == len(concentrators.asked)
    ops = Caller(stack, "ops")
    for code in codes:
        holds = (await ops.get(f"/certificates/{code}"))["holds"]
        assert {hold["authorizationId"] for hold in holds} == granted[code]
    await ops.close()
    proof = await asyncio.to_thread(stack.run, "verify")
    assert proof.returncode == 0, proof.stdout + proof.stderr


def test_each_loop_is_on_its_core_after_all_that(stack: RunningStack) -> None:
    """On two cores, that is; elsewhere everything goes where there is room."""
    every = set(CORES)
    apart = cores_apart(shards=1)
    gateway, shard = (every, every) if apart is None else ({apart[0]}, {apart[1]})

    assert os.sched_getaffinity(stack.processes(UP)[0]) == gateway
    assert shard in loops(stack.processes(SHARD)[0])
    assert loops(stack.processes(VALKEY)[0]) == [every]


def loops(pid: int) -> list[set[int]]:
    """The different sets of cores that the threads of a process may run on."""
    found: list[set[int]] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            cores = os.sched_getaffinity(int(thread.name))
            if cores not in found:
                found.append(cores)
    return found
