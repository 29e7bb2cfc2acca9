"""Guessing CVCs over HTTP: at once, over gateways that have a Redis in common, and while that does not answer."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from actors.errors import OverloadedError
from gateway.front import Front
from gateway.record import stride
from gateway.trials import VEIL_SECONDS_MIN
from persistence.errors import StorageUnavailableError
from tests.integration.guessing import (
    ADDRESS_MAX,
    CLIENT_MAX,
    DEFAULT,
    PROXIES,
    at_once,
    codes,
    gateway,
    guess,
    hold,
    one_by_one,
    told,
    tried,
    wrong,
)
from tests.integration.http_client import PATIENCE_SECONDS, hold_up, post
from tests.unit.gateway.house import CODE, UNKNOWN

pytestmark = pytest.mark.real

# --- the limits ------------------------------------------------------------------------------------------------------


async def test_two_hundred_guesses_at_once_are_as_many_as_an_address_has(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        answers = await at_once(here, [guess(code) for code in codes(200)])

        assert tried(here) == ADDRESS_MAX
    assert told(answers) == {"CertificateRefused": ADDRESS_MAX, "RateLimited": 200 - ADDRESS_MAX}
    limited = [answer for answer in answers if answer.status == 429]
    for answer in limited:
        assert 0 < int(answer.headers["retry-after"]) <= DEFAULT.guess_window_seconds
        assert msgspec.json.decode(answer.content)["retryAfter"] == int(answer.headers["retry-after"])


async def test_two_gateways_at_once_let_through_no_more_than_was_computed(redis_url: str) -> None:
    async with gateway(redis_url) as (one, _), gateway(redis_url) as (other, _):
        await asyncio.gather(
            at_once(one, [guess(code) for code in codes(100)]),
            at_once(other, [guess(code) for code in codes(100, first=100)]),
        )
        both = tried(one) + tried(other)
        again = await asyncio.gather(*(at_once(here, [guess(code) for code in codes(50)]) for here in (one, other)))

        assert ADDRESS_MAX <= both <= ADDRESS_MAX + 2 * stride(ADDRESS_MAX)
        assert [told(answers) for answers in again] == [{"RateLimited": 50}] * 2
        assert tried(one) + tried(other) == both


async def test_a_gateway_that_is_started_anew_knows(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX)])

    async with gateway(redis_url) as (here, _):
        answers = await one_by_one(here, [guess()])

        assert (answers[0].status, tried(here)) == (429, 0)


async def test_a_guesser_with_many_addresses_has_what_a_client_has(redis_url: str) -> None:
    async with gateway(redis_url, **PROXIES) as (here, _):
        answers = await at_once(
            here,
            [
                guess(code, "0000", "storefront", f"X-Forwarded-For: 10.0.0.1, 198.51.{number}.1")
                for number, code in enumerate(codes(200))
            ],
        )
        other = await one_by_one(here, [guess(client="pos")])
        metrics = (await here.house.get("/metrics", "ops")).content.decode()

        assert tried(here) == CLIENT_MAX + 1
    assert told(answers) == {"CertificateRefused": CLIENT_MAX, "RateLimited": 200 - CLIENT_MAX}
    assert told(other) == {"CertificateNotFound": 1}
    assert f'gift_ledger_http_limited_total{{limit="client"}} {200 - CLIENT_MAX}.0' in metrics
    assert f"gift_ledger_http_cvc_wrong_total {CLIENT_MAX + 1}.0" in metrics


async def test_an_address_that_a_client_makes_up_changes_nothing(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        answers = await one_by_one(
            here,
            [
                guess(code, "0000", "storefront", f"X-Forwarded-For: 198.51.100.{number}")
                for number, code in enumerate(codes(ADDRESS_MAX + 5))
            ],
        )

    assert [answer.status for answer in answers] == [403] * ADDRESS_MAX + [429] * 5


async def test_a_limit_says_nothing_about_a_code_and_does_not_ask_for_it(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX)])
        asked = len(here.house.ledger.asked)

        answers = await one_by_one(here, [guess(CODE, cvc), guess(CODE, wrong(cvc)), guess(UNKNOWN)])

        assert len(here.house.ledger.asked) == asked
    bodies = [msgspec.json.decode(answer.content) | {"instance": "", "retryAfter": 0} for answer in answers]
    for body in bodies:
        body["detail"] = body["detail"].partition(";")[0]
    assert bodies == [bodies[0]] * 3
    assert [answer.headers.keys() for answer in answers] == [answers[0].headers.keys()] * 3


async def test_a_call_that_is_sent_again_has_its_first_outcome_at_the_limit_too(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        call = guess(CODE, cvc, "storefront", "Idempotency-Key: k-1")
        (first,) = await one_by_one(here, [call])
        await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX)])

        again, *others = await one_by_one(
            here,
            [
                call,
                guess(CODE, wrong(cvc), "storefront", "Idempotency-Key: k-1"),
                guess(CODE, cvc, "storefront", "Idempotency-Key: k-2"),
                guess(CODE, cvc),
            ],
        )

    assert (first.status, again.status, again.content) == (201, 201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert [other.code for other in others] == ["IdempotencyKeyReused", "RateLimited", "RateLimited"]


async def test_a_till_without_a_cvc_is_never_touched(redis_url: str) -> None:
    async with gateway(redis_url) as (here, windows):
        cvc = await here.house.issue()
        first = await one_by_one(here, [hold()])
        await one_by_one(here, [guess(code, client="pos") for code in codes(ADDRESS_MAX)])
        limited = await one_by_one(here, [guess(CODE, cvc, client="pos")])
        windows.down = True
        calls = windows.calls
        authorization = msgspec.json.decode(first[0].content)["authorizationId"]

        line = await here.line()
        holds = [await line.ask(hold()) for _ in range(3)]
        balance = await line.ask(post(f"/certificates/{CODE}/balance", b"{}"))
        body = msgspec.json.encode({"authorizationId": authorization, "amount": 600, "final": False})
        capture = await line.ask(post(f"/certificates/{CODE}/capture", body))
        body = msgspec.json.encode({"operationId": authorization})
        void = await line.ask(post(f"/certificates/{CODE}/void", body))

        assert windows.calls == calls
    assert told(limited) == {"RateLimited": 1}
    assert [answer.status for answer in (*holds, balance, capture, void)] == [201, 201, 201, 200, 201, 201]


# --- the way of a call -----------------------------------------------------------------------------------------------


async def test_a_call_whose_sender_is_known_asks_nobody_and_needs_no_task(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = Counter[str]()
    answer = Front.__call__

    async def counting(front: Front, *arguments: object) -> None:
        tasks["asgi"] += 1
        await answer(front, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("gateway.guesses.REFRESH_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("gateway.record.STALE_SECONDS", PATIENCE_SECONDS)
    async with gateway(redis_url) as (here, windows):
        cvc = await here.house.issue()
        line = await here.line()
        monkeypatch.setattr(Front, "__call__", counting)

        first = await line.ask(guess(CODE, cvc))
        assert (tasks["asgi"], windows.calls) == (1, 4)  # wrong and earned ones, of the client and of the address
        known = [await line.ask(guess(CODE, cvc)) for _ in range(20)]
        assert (tasks["asgi"], windows.calls) == (1, 4)
        mistyped = await line.ask(guess(CODE, wrong(cvc)))
        assert (tasks["asgi"], windows.calls) == (1, 6)

    assert [answer.status for answer in (first, *known, mistyped)] == [201] * 21 + [403]


@pytest.mark.parametrize("raises", [True, False])
async def test_a_ledger_that_takes_nothing_at_once_costs_nothing(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, *, raises: bool
) -> None:
    def ask_now(*_: object) -> None:
        if raises:
            raise OverloadedError("busy")

    async with gateway(redis_url) as (here, _):
        await one_by_one(here, [guess()])  # known from here on
        monkeypatch.setattr(here.house.ledger, "ask_now", ask_now)

        answers = await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX)])

    assert told(answers) == {"CertificateRefused": ADDRESS_MAX - 1, "RateLimited": 1}


async def test_a_wrong_cvc_is_noted_before_its_answer_leaves(redis_url: str) -> None:
    async with gateway(redis_url) as (one, _), gateway(redis_url) as (other, _):
        line = await one.line()
        for code in codes(ADDRESS_MAX):
            await line.ask(guess(code))

        first = await one_by_one(other, [guess()])

    assert first[0].status == 429


async def test_a_refusal_is_kept_back_and_what_is_right_is_not(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        line = await here.line()
        clock = asyncio.get_running_loop().time
        missing = post(f"/certificates/{UNKNOWN}/balance", b"{}", client="storefront")

        for data in (guess(CODE, wrong(cvc)), guess(UNKNOWN), guess(UNKNOWN, client="pos"), missing):
            begun = clock()
            refused = await line.ask(data)
            assert clock() - begun >= VEIL_SECONDS_MIN - 0.002  # timers are exact to a millisecond
            assert refused.status in {403, 404}


async def test_who_hangs_up_before_he_is_told_has_guessed(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX - 2)])
        at_work, go_on = hold_up(here.house.ledger)
        for code in codes(2, first=500):
            line = await here.line()
            at_work.clear()
            await line.send(guess(code))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await at_work.wait()
            await line.close()
        go_on.set()

        answers = await one_by_one(here, [guess()])

    assert answers[0].status == 429


async def test_a_call_without_an_outcome_is_no_wrong_one(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):

        async def fail() -> None:
            raise StorageUnavailableError("down")

        here.house.ledger.trouble = fail
        failed = await one_by_one(here, [guess(code) for code in codes(3 * ADDRESS_MAX)])
        here.house.ledger.trouble = None

        answers = await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX + 1)])

    assert told(failed) == {"StorageUnavailable": 3 * ADDRESS_MAX}
    assert told(answers) == {"CertificateRefused": ADDRESS_MAX, "RateLimited": 1}


# --- windows that do not answer --------------------------------------------------------------------------------------


async def test_guessing_is_closed_while_the_windows_do_not_answer(redis_url: str) -> None:
    async with gateway(redis_url) as (here, windows):
        cvc = await here.house.issue()
        windows.down = True

        closed = await one_by_one(here, [guess(CODE, cvc), guess(UNKNOWN), guess(CODE, cvc, client="pos")])
        asked = tried(here)
        till = await one_by_one(here, [hold()])

    assert told(closed) == {"Overloaded": 3}
    assert {answer.headers["retry-after"] for answer in closed} == {"1"}
    assert asked == 0
    assert told(till) == {"": 1}
