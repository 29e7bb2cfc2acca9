"""A CVC that was replaced is void: its message does not go out any more."""

import asyncio

import httpx
import pytest

from gateway.sms import RETRY_MS_MAX, SUPERSEDED
from ledger.records import Activated, Blocked, CvcReissued
from persistence.log import PAGE_MAX, Batch, Change
from tests.unit.gateway.sms_stage import CERTIFICATE, NOON, Stage, reply, until

ISSUED = Activated("SO-1", "1", 150_000, "RUB", NOON, b"first")
REISSUED = CvcReissued(b"another")
OTHER = Blocked("lost")


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_after_an_outage_only_the_newest_cvc_goes_out(stage: Stage) -> None:
    stage.answer = lambda _: httpx.ConnectError("down")
    (first,) = await stage.issue(ISSUED)

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])
        stage.requests.clear()
        second, third = await stage.issue(OTHER, REISSUED, REISSUED, OTHER)
        stage.answer = lambda _: reply(202)
        stage.clock.now += RETRY_MS_MAX
        await until(lambda: not sender.report()["waiting"])

    assert stage.sent() == [third]
    assert await stage.log.message_failures() == dict.fromkeys((first, second), SUPERSEDED)
    assert (sender.report()["accepted"], sender.report()["givenUp"]) == (1, 0)


async def test_a_new_cvc_leaves_after_the_old_one_that_is_on_its_way(stage: Stage) -> None:
    (old,) = await stage.issue(ISSUED)
    asked, gate = asyncio.Event(), asyncio.Event()
    arrived: list[str] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        asked.set()
        await gate.wait()
        arrived.append(request.headers["idempotency-key"])
        return reply(500 if len(arrived) == 1 else 202)

    async with stage.running(handle) as sender:
        await asked.wait()
        (new,) = await stage.issue(REISSUED)
        await until(lambda: sender.report()["waiting"] == 2)
        assert sender.report()["inFlight"] == 1
        gate.set()
        await until(lambda: sender.report()["accepted"])
        stage.clock.now += RETRY_MS_MAX
        await until(lambda: not sender.report()["waiting"])

    assert arrived == [old, new]
    assert await stage.log.message_failures() == {old: SUPERSEDED}


async def test_a_new_cvc_is_found_behind_any_number_of_records(stage: Stage) -> None:
    first, second = await stage.issue(ISSUED, *[OTHER] * PAGE_MAX, REISSUED)

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"])
        await until(lambda: not sender.report()["waiting"])

    assert stage.sent() == [second]
    assert await stage.log.message_failures() == {first: SUPERSEDED}


async def test_what_happens_to_a_certificate_otherwise_holds_no_message_up(stage: Stage) -> None:
    (first,) = await stage.issue(ISSUED, *[OTHER] * PAGE_MAX)

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"])

    assert stage.sent() == [first]


async def test_a_message_waits_while_the_log_cannot_tell_whether_its_cvc_holds(stage: Stage) -> None:
    await stage.issue(ISSUED)
    await stage.log.append(Batch(changes=(Change(CERTIFICATE, 1, (b"damaged",)),)))

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])
        assert not sender.ready()
        assert "stored bytes are not a record" in str(sender.report()["lastError"])

    assert stage.requests == []
    assert await stage.log.messages_waiting() == 1
