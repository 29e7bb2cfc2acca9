"""The drill: back up under load, lose everything, put it back, and know exactly what is gone."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.kafka_stage import read_topic
from tests.real.audit import moves_money
from tests.real.fixtures import lacking
from tests.real.kafka import RealKafka, kafka_missing
from tests.real.market import Market, create_topics, kafka_settings
from tests.real.stack import RunningStack, run_program
from tests.real.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

DRILL_SECONDS_MAX = 400.0
"""Two starts of a stack, and five commands that read all of it, on a busy machine."""
pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(DRILL_SECONDS_MAX)]

PREFIX = "drill."
DENOMINATION = 1_000_000
CALLS = 400
PUBLISHED_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
QUIET = 20
"""Certificates that nobody uses after the backup."""
HOT, COLD = 2, 10


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    if (missing := kafka_missing()) is not None:
        lacking(missing)
    own = RealKafka(tmp_path_factory.mktemp("kafka-drill"))
    try:
        own.start()
        asyncio.run(create_topics(own, PREFIX))
        yield own
    finally:
        own.kill()


@pytest.fixture
def stack(broker: RealKafka, tmp_path: Path) -> Iterator[RunningStack]:
    made = RunningStack(tmp_path, kafka_settings(broker, PREFIX))
    try:
        made.start()
        yield made
    finally:
        made.kill()


async def run(stack: RunningStack, *arguments: str) -> CompletedProcess[str]:
    """Run a command that prints JSON, beside or without the stack."""
    return await asyncio.to_thread(run_program, stack.environment, *arguments, "--json")


async def last_versions(stack: RunningStack, bootstrap: str) -> dict[str, int]:
    """What the compacted topic keeps: of each code the version of its last state."""
    records = await read_topic(bootstrap, f"{PREFIX}GiftCertificateState", 1)
    return {record.key.decode(): json.loads(record.value)["version"] for record in records}


async def published_up_to(stack: RunningStack, bootstrap: str, code: str, version: int) -> dict[str, int]:
    """The last versions, once this one is among them: the relay comes after the answer."""
    async with asyncio.timeout(PUBLISHED_SECONDS_MAX):
        while (now := await last_versions(stack, bootstrap)).get(code, 0) < version:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(POLL_SECONDS)
    return now


def lose_everything(stack: RunningStack) -> None:
    """Kill all at once, and delete all but the secrets, of which there is a copy in another place."""
    stack.kill()
    secrets = (stack.data_dir / "secrets.json").read_bytes()
    shutil.rmtree(stack.data_dir)
    stack.data_dir.mkdir(mode=0o700)
    (stack.data_dir / "secrets.json").touch(mode=0o600)
    (stack.data_dir / "secrets.json").write_bytes(secrets)


async def test_what_is_lost_is_known_to_the_operation_and_all_else_is_back(
    stack: RunningStack, broker: RealKafka, tmp_path: Path
) -> None:
    file = str(tmp_path / "monday.backup")
    async with Market(stack, PREFIX) as market:
        codes = await market.sell(HOT + COLD + QUIET, DENOMINATION)
        used, quiet = codes[: HOT + COLD], codes[HOT + COLD :]
        async with Traffic(stack, PREFIX, used[:HOT], used[HOT:], seed=4) as traffic:
            await traffic.more(CALLS)
            backed_up = await run(stack, "backup", file)
            await traffic.more(CALLS)
        all_codes = [*codes, *traffic.sold]
        before = {code: await market.history(code) for code in all_codes}
        in_order = await run(stack, "reconcile")
        while json.loads(in_order.stdout)["waiting"]:
            in_order = await run(stack, "reconcile")
    assert backed_up.returncode == 0, backed_up.stderr
    assert in_order.returncode == 0, in_order.stdout
    published = await last_versions(stack, broker.bootstrap)

    await asyncio.to_thread(lose_everything, stack)
    proved = await run(stack, "verify", "--backup", file)
    assert proved.returncode == 0, proved.stdout
    restored = await run(stack, "restore", file)
    assert restored.returncode == 1, restored.stderr
    await asyncio.to_thread(stack.start)

    lost = {one["code"]: one for one in json.loads(restored.stdout)["reconciliation"]["lost"]}
    assert lost.keys() <= {*used, *traffic.sold}
    await _nothing_else_is_lost(stack, before, lost)
    await _the_lost_are_shut_and_told(stack, before, lost)
    assert not lost.keys() & {*quiet}
    async with Market(stack, PREFIX) as market:
        (fresh,) = await market.sell(1, DENOMINATION)
        version = (await market.certificate(fresh))["version"]
    now = await published_up_to(stack, broker.bootstrap, fresh, version)
    assert {code: version for code, version in published.items() if now[code] < version} == {}, "nothing is rewound"


async def _nothing_else_is_lost(
    stack: RunningStack, before: dict[str, list[dict[str, Any]]], lost: dict[str, dict[str, Any]]
) -> None:
    """Certificates that are not shut have all that moved money, and can be used."""
    async with Market(stack, PREFIX) as market:
        for code, history in before.items():
            if code in lost:
                continue
            now = await market.history(code)
            assert now[: len(history)] == history[: len(now)], code
            assert not any(moves_money(entry) for entry in history[len(now) :]), code
        quiet = next(code for code in before if code not in lost)
        answer = await market.shop.post(
            f"/certificates/{quiet}/authorize", {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
        )
        assert answer["certificateCode"] == quiet, answer


async def _the_lost_are_shut_and_told(
    stack: RunningStack, before: dict[str, list[dict[str, Any]]], lost: dict[str, dict[str, Any]]
) -> None:
    """Of the others all that moved money after the backup is listed; they are refused, and verify says so."""
    reconciled = await run(stack, "reconcile")
    assert reconciled.returncode == 1
    report = json.loads(reconciled.stdout)
    assert report["counts"] == {"lost": len(lost)}
    told = {
        (event["code"], event["version"], event["type"], event["amount"])
        for event in report["lostEvents"]
        if event["topic"] == "transaction"
    }
    expected = {
        (code, entry["version"], entry["type"], entry["amount"])
        for code, one in lost.items()
        for entry in before[code]
        if entry["version"] > one["version"] and moves_money(entry)
    }
    assert told == expected
    assert expected, "the clients did not rest"
    verified = await run(stack, "verify")
    assert verified.returncode == 1
    findings = json.loads(verified.stdout)["findings"]
    assert {finding["entity"] for finding in findings if "records were lost" in finding["problem"]} == {
        f"c:{code}" for code in lost
    }
    assert {finding["entity"] for finding in findings} <= {f"c:{code}" for code in lost}
    async with stack.client("support") as support:
        for code in lost:
            assert (await support.get(f"/certificates/{code}")).status_code == 503, code


async def test_a_stack_that_runs_is_not_restored_into(shared_stack: RunningStack, tmp_path: Path) -> None:
    file = str(tmp_path / "monday.backup")
    assert (await run(shared_stack, "backup", file)).returncode == 0

    ran = await run(shared_stack, "restore", file)

    assert ran.returncode == 2
    assert "cannot be set back" in ran.stderr or "another stack runs on" in ran.stderr
    assert (await run(shared_stack, "verify")).returncode == 0
