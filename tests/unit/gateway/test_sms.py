import asyncio
import json
import logging
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from gateway import sms
from gateway.bridge_settings import BridgeSettings
from gateway.sms import AT_ONCE_MAX, GIVE_UP_MS, RETRY_MS_MAX, pause_ms
from persistence.envelope import key_name, seal_new, tombstone
from persistence.forgetting import FORGOTTEN
from persistence.log import Batch, DataKey, QueuedMessage
from persistence.vault import RECIPIENT, SMS, Sms, Vault
from tests.unit.gateway.sms_stage import NOON, PHONE, TEXT, URL, VAULT, Answer, Stage, reply, until


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_the_request_is_as_the_gateway_expects_it(stage: Stage) -> None:
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"])

    (request,) = stage.requests
    assert (request.method, str(request.url)) == ("POST", URL)
    assert json.loads(request.content) == {"messageId": "sms_1", "to": PHONE, "text": TEXT}
    assert request.headers["idempotency-key"] == "sms_1"
    assert request.headers["content-type"] == "application/json"
    assert await stage.log.messages_waiting() == 0


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 413, 422, 425, 429])
async def test_a_client_error_is_final(stage: Stage, status: int) -> None:
    stage.answer = lambda _: reply(status, text=f"no such number {PHONE}")
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["givenUp"])
        assert sender.ready()

    assert await stage.log.message_failures() == {"sms_1": f"HTTP {status}"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(500), "HTTP 500"),
        (reply(503), "HTTP 503"),
        (reply(302, location="https://elsewhere.example/"), "HTTP 302"),
        (httpx.ConnectError("connection refused"), "ConnectError"),
        (httpx.ReadTimeout("too slow"), "ReadTimeout"),
        (httpx.RemoteProtocolError("broken"), "RemoteProtocolError"),
        (httpx.InvalidURL("broken"), "InvalidURL"),
    ],
)
async def test_what_passes_is_tried_again(stage: Stage, answer: Answer, reason: str) -> None:
    stage.answer = lambda _: answer
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])
        assert not sender.ready()
        assert sender.report()["lastError"] == reason
        assert len(stage.requests) == 1
        stage.answer = lambda _: reply(202)
        stage.clock.now += 1_000
        await until(lambda: sender.report()["accepted"])
        assert sender.ready()

    assert {request.headers["idempotency-key"] for request in stage.requests} == {"sms_1"}
    assert await stage.log.message_failures() == {}


async def test_a_gateway_that_says_when_to_come_back_is_left_alone_until_then(stage: Stage) -> None:
    stage.answer = lambda _: reply(503, retry_after="120")
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])

    assert await stage.log.messages_due(NOON + 119_999) == []
    assert len(await stage.log.messages_due(NOON + 120_000)) == 1


@pytest.mark.parametrize("said", ["soon", "-5", "99999999999", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_senseless_time_to_come_back_is_passed_over(stage: Stage, said: str) -> None:
    stage.answer = lambda _: reply(503, retry_after=said)
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])

    assert len(await stage.log.messages_due(NOON + 1_000)) == 1


async def test_after_24_hours_a_message_is_given_up(stage: Stage) -> None:
    stage.answer = lambda _: reply(500)
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"] == 1)
        stage.clock.now = NOON + GIVE_UP_MS - 1
        await until(lambda: sender.report()["retried"] == 2)
        assert await stage.log.message_failures() == {}
        stage.clock.now = NOON + GIVE_UP_MS
        await until(lambda: sender.report()["givenUp"])

    assert await stage.log.message_failures() == {"sms_1": "not taken within 24 h, at last: HTTP 500"}
    assert await stage.log.messages_waiting() == 0


async def test_a_message_that_is_none_is_given_up(stage: Stage) -> None:
    await stage.queue(1, VAULT.seal(b"{}", SMS))

    async with stage.running() as sender:
        await until(lambda: sender.report()["givenUp"])

    assert stage.requests == []
    assert await stage.log.message_failures() == {"sms_1": "cannot be opened: not a message"}


NAME = key_name("SO-1", 1, "1")
"""Of the data key of a recipient."""


async def queue_sealed_with_a_data_key(stage: Stage) -> bytes:
    """A message as shards seal it; gives the data key, which is kept nowhere yet."""
    sealed, kept = seal_new(VAULT, msgspec.json.encode(Sms(to=PHONE, text=TEXT)), SMS, NAME)
    await stage.queue(1, sealed)
    return kept


async def test_a_message_is_opened_with_the_data_key_of_its_recipient(stage: Stage) -> None:
    kept = await queue_sealed_with_a_data_key(stage)
    assert await stage.log.append(Batch(data_keys=(DataKey(*NAME, kept),))) is None

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"])

    assert json.loads(stage.requests[0].content) == {"messageId": "sms_1", "to": PHONE, "text": TEXT}


async def test_a_message_to_somebody_who_was_forgotten_is_given_up_at_once(stage: Stage) -> None:
    await queue_sealed_with_a_data_key(stage)
    await stage.log.forget_data_keys(NAME[0], [NAME[1]], tombstone(NOON))

    async with stage.running() as sender:
        await until(lambda: sender.report()["givenUp"])

    assert stage.requests == []
    assert await stage.log.message_failures() == {"sms_1": FORGOTTEN}
    assert await stage.log.messages_waiting() == 0


async def test_a_message_whose_data_key_is_missing_waits(stage: Stage) -> None:
    kept = await queue_sealed_with_a_data_key(stage)

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])
        missing = sender.report()["lastError"]
        assert await stage.log.append(Batch(data_keys=(DataKey(*NAME, kept),))) is None
        stage.clock.now += RETRY_MS_MAX
        await until(lambda: sender.report()["accepted"])

    assert missing == "cannot be opened: the data key of its recipient is missing"
    assert len(stage.requests) == 1


@pytest.mark.parametrize(
    ("sealed", "reason"),
    [
        (b"\0", "cannot be opened: an envelope that names no data key"),
        (b"", "cannot be opened: sealed with a key that this vault does not have"),
        (b"\x02 sealed with a key of tomorrow", "cannot be opened: sealed with a key that this vault does not have"),
        (Vault.generate().seal(b"{}", SMS), "cannot be opened: not what was sealed as 'sms'"),
        (VAULT.seal(b"{}", RECIPIENT), "cannot be opened: not what was sealed as 'sms'"),
    ],
)
async def test_a_message_that_these_keys_do_not_open_waits_for_the_right_ones(
    stage: Stage, sealed: bytes, reason: str
) -> None:
    await stage.queue(1, sealed)

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"])
        assert not sender.ready()
        assert sender.report()["lastError"] == reason
        assert await stage.log.messages_waiting() == 1
        stage.clock.now = NOON + GIVE_UP_MS
        await until(lambda: sender.report()["givenUp"])

    assert stage.requests == []
    assert await stage.log.message_failures() == {"sms_1": f"not taken within 24 h, at last: {reason}"}


async def test_nothing_private_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")
    answers: list[Answer] = [
        httpx.ConnectError(f"cannot reach {URL}"),
        reply(500, text=f"{PHONE} {TEXT}"),
        reply(400, text=f"{PHONE} {TEXT}"),
    ]
    stage.answer = lambda _: answers.pop(0)
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["retried"] == 1)
        stage.clock.now += RETRY_MS_MAX
        await until(lambda: sender.report()["retried"] == 2)
        stage.clock.now += RETRY_MS_MAX
        await until(lambda: sender.report()["givenUp"])

    for private in (PHONE, TEXT, "hidden", "sms.example"):
        assert private not in caplog.text
        assert private not in str(await stage.log.message_failures())
        assert private not in str(sender.report())
        assert private not in repr(sms.Outgoing(message_id="sms_1", to=PHONE, text=TEXT))
        assert private not in repr(BridgeSettings(bootstrap="b", sms_url=URL))


async def test_a_log_that_does_not_answer_has_the_message_sent_again_under_the_same_key(stage: Stage) -> None:
    await stage.queue()

    def accept_and_lose_the_log(_: httpx.Request) -> Answer:
        if len(stage.requests) == 1:
            stage.log.away = 2
        return reply(202)

    stage.answer = accept_and_lose_the_log
    async with stage.running() as sender:
        await until(lambda: len(stage.requests) == 2)
        await until(sender.ready)

    assert [request.headers["idempotency-key"] for request in stage.requests] == ["sms_1", "sms_1"]
    assert await stage.log.messages_waiting() == 0


async def test_slow_answers_are_waited_for_side_by_side_and_bounded(stage: Stage) -> None:
    for number in range(AT_ONCE_MAX + 5):
        await stage.queue(number)
    arrived: set[str] = set()
    gate = asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        arrived.add(request.headers["idempotency-key"])
        await gate.wait()
        return reply(202)

    async with stage.running(handle) as sender:
        await until(lambda: len(arrived) == AT_ONCE_MAX)
        for _ in range(50):
            await asyncio.sleep(0)
        assert sender.report()["inFlight"] == AT_ONCE_MAX
        gate.set()
        await until(lambda: sender.report()["accepted"] == AT_ONCE_MAX + 5)

    assert len(arrived) == AT_ONCE_MAX + 5


async def test_an_answer_without_an_end_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "ANSWER_BYTES_MAX", 10)
    chunks = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal chunks
        while True:
            chunks += 1
            yield b"1234567"

    stage.answer = lambda _: httpx.Response(202, content=endless())
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"])

    assert chunks == 2


async def test_a_message_that_cannot_be_read_is_put_aside_and_the_others_go_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    broken = QueuedMessage("sms_broken", "", b"", NOON - 1, NOON - 1, damage="it cannot be read", partition=3)
    assert await stage.log.append(Batch(messages=(broken,))) is None
    await stage.queue()

    async with stage.running() as sender:
        await until(lambda: sender.report()["accepted"] and sender.report()["givenUp"])
        assert sender.ready()

    assert stage.sent() == ["sms_1"]
    assert await stage.log.message_failures() == {"sms_broken": "it cannot be read"}
    assert await stage.log.messages_waiting() == 0
    assert "message sms_broken is given up: it cannot be read" in caplog.text


async def test_a_gateway_that_never_answers_is_given_up_on_for_now(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "SEND_SECONDS_MAX", 0.01)
    await stage.queue()

    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with stage.running(handle) as sender:
        await until(lambda: sender.report()["retried"])
        assert sender.report()["lastError"] == "TimeoutError"


async def test_a_request_that_outlasts_the_stop_leaves_its_message_in_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "DRAIN_SECONDS_MAX", 0.0)
    await stage.queue()
    asked = asyncio.Event()

    async def handle(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with stage.running(handle):
        await asked.wait()

    assert await stage.log.messages_waiting() == 1


def test_pauses_grow_and_are_bounded() -> None:
    for tries in (0, 1, 5, 8, 9, 50, 10_000):
        longest = min(1_000 * 2**tries, RETRY_MS_MAX)
        for _ in range(20):
            assert longest / 2 <= pause_ms(tries) <= longest
