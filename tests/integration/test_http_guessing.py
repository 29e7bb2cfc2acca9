"""Guessing CVCs over HTTP: at once, over gateways that have a Redis in common, and while that does not answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from actors.errors import OverloadedError
from gateway.front import Front
from gateway.guesses import kept_max
from gateway.record import stride
from gateway.settings import GatewaySettings
from gateway.trials import VEIL_SECONDS_MIN
from ledger.commands import Capture
from persistence.errors import StorageUnavailableError
from persistence.windows import Count, RedisWindows
from tests.integration.http_client import PATIENCE_SECONDS, Answer, Served, hold_up, post, served
from tests.unit.gateway.house import CODE, RUB, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.real

DEFAULT = GatewaySettings()
ADDRESS_MAX = DEFAULT.guess_address_wrong_max
CLIENT_MAX = DEFAULT.guess_client_wrong_max
PROXIES = {"trusted_proxies": "127.0.0.0/8"}


class Watched(RedisWindows):
    """Windows in Redis that count what they are asked, and fail if they are told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "gl", DEFAULT.guess_window_seconds, kept_max(DEFAULT), timeout_seconds=PATIENCE_SECONDS)
        self.calls = 0
        self.down = False

    async def add(self, name: str, number: int = 1) -> None:
        self._called()
        await super().add(name, number)

    async def count(self, name: str) -> Count:
        self._called()
        return await super().count(name)

    def _called(self) -> None:
        self.calls += 1
        if self.down:
            raise StorageUnavailableError("down")


@asynccontextmanager
async def gateway(
    redis_url: str,
    **bounds: Any,  # noqa: ANN401 - those of the settings
) -> AsyncIterator[tuple[Served, Watched]]:
    """Serve a gateway that has its windows in Redis."""
    windows = Watched(redis_url)
    async with served(windows=windows, **bounds) as here:
        yield here, windows
    await windows.close()


def guess(code: str = UNKNOWN, cvc: str = "0000", client: str = "storefront", *headers: str) -> bytes:
    body = {"purpose": "Redemption", "amount": 1_000, "currency": RUB, "cvc": cvc}
    return post(f"/certificates/{code}/authorize", msgspec.json.encode(body), *headers, client=client)


def hold(client: str = "pos") -> bytes:
    return post(
        f"/certificates/{CODE}/authorize", b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}', client=client
    )


def codes(number: int, first: int = 0) -> list[str]:
    return [f"GC-GUESS-{first + one:06}" for one in range(number)]


async def one_by_one(here: Served, requests: list[bytes]) -> list[Answer]:
    line = await here.line()
    return [await line.ask(data) for data in requests]


async def at_once(here: Served, requests: list[bytes]) -> list[Answer]:
    """Have a line for each request, and send all of them before any answer."""
    lines = [await here.line() for _ in requests]
    return list(await asyncio.gather(*(line.ask(data) for line, data in zip(lines, requests, strict=True))))


def told(answers: list[Answer]) -> Counter[str]:
    return Counter("" if answer.status < 300 else answer.code for answer in answers)


def tried(here: Served) -> int:
    """How many commands with a CVC the ledger was asked."""
    return sum(getattr(command, "cvc", None) is not None for _, command, _ in here.house.ledger.asked)


def wrong(cvc: str) -> str:
    return f"{(int(cvc) + 1) % 10_000:04}"


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


# --- in bulk ---------------------------------------------------------------------------------------------------------


def bulk(*items: tuple[str, str | None], client: str = "storefront") -> bytes:
    body = {
        "items": [
            {"certificateCode": code, "amount": 10, "currency": RUB, "cvc": cvc, "idempotencyKey": f"k{number}"}
            for number, (code, cvc) in enumerate(items)
        ]
    }
    return post("/authorizations", msgspec.json.encode(body), client=client)


def outcomes(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.content
    return [str(one["body"].get("code", one["status"])) for one in msgspec.json.decode(answer.content)["outcomes"]]


async def test_guesses_in_bulk_are_as_many_as_those_one_by_one(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        (answer,) = await one_by_one(here, [bulk(*[(code, "0000") for code in codes(100)])])

        assert tried(here) == ADDRESS_MAX
    assert Counter(outcomes(answer)) == {"CertificateRefused": ADDRESS_MAX, "RateLimited": 100 - ADDRESS_MAX}
    limited = msgspec.json.decode(answer.content)["outcomes"][-1]["body"]
    assert limited["instance"] == "/authorizations#/items/99"
    assert limited["retryAfter"] > 0


async def test_right_cvcs_in_bulk_all_go_through_whatever_stands_between_them(redis_url: str) -> None:
    async with gateway(redis_url) as (here, _):
        cvc = await here.house.issue()
        items = [(CODE, cvc if number % 3 else None) for number in range(200)]
        items[100] = (UNKNOWN, "0000")

        (answer,) = await one_by_one(here, [bulk(*items, client="pos")])
        captured = [command for _, command, _ in here.house.ledger.asked if isinstance(command, Capture)]

    expected = ["201"] * 200
    expected[100] = "CertificateNotFound"
    assert outcomes(answer) == expected
    assert captured == []
    versions = [
        int(one["body"]["authorizationId"].split("_")[1])
        for one in msgspec.json.decode(answer.content)["outcomes"]
        if one["status"] == 201
    ]
    assert versions == sorted(versions)


async def test_a_bulk_call_that_ends_in_the_middle_leaves_nothing_under_way(redis_url: str) -> None:
    async with gateway(redis_url, deadline_seconds=0.5) as (here, _):
        at_work, go_on = hold_up(here.house.ledger)
        (late,) = await one_by_one(here, [bulk(*[(code, "0000") for code in codes(10)])])
        assert at_work.is_set()
        go_on.set()
        here.house.ledger.trouble = None

        answers = await one_by_one(here, [guess(code) for code in codes(ADDRESS_MAX + 1, first=100)])

    assert late.status == 503
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
