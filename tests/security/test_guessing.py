"""OAT-002 and API4: codes and CVCs are guessed from everywhere at once. What comes of it is what was computed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.settings import GatewaySettings
from gift_ledger.bounds.chances import any_code, in_a_window
from ledger.commands import Authorize
from ledger.policy import Policy
from tests.integration.http_client import get
from tests.security.stage import DENOMINATION, RUB, call, redemption, street

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.http_client import Answer
    from tests.security.stage import Door

pytestmark = pytest.mark.real

DEFAULT = GatewaySettings()
GATEWAYS = 2
PROXY = {"trusted_proxies": "127.0.0.1"}
EACH = 150
"""Guesses on each gateway, all at once: together more than a client has, however they fall on the gateways."""
CODE = "GC-7K2M-9QXA"


def guess(code: str, cvc: str, client: str, address: str) -> bytes:
    return call(code, "authorize", redemption(cvc=cvc), client, f"X-Forwarded-For: {address}")


def addresses(number: int, first: int = 0) -> list[str]:
    """Addresses of as many networks."""
    return [f"198.{18 + one // 65_536}.{one // 256 % 256}.{one % 256}" for one in range(first, first + number)]


def wrong(cvc: str, by: int = 1) -> str:
    return f"{(int(cvc) + by) % 10_000:04}"


def codes_of(answers: list[Answer]) -> Counter[str]:
    return Counter("" if answer.status < 300 else answer.code for answer in answers)


async def everywhere(doors: list[Door], requests: list[list[bytes]]) -> list[Answer]:
    """Send to each gateway what is its, all at once."""
    both = await asyncio.gather(*(door.at_once(mine) for door, mine in zip(doors, requests, strict=True)))
    return [answer for answers in both for answer in answers]


def tries(doors: list[Door]) -> int:
    """How many CVCs the ledger was asked about."""
    return sum(
        isinstance(command, Authorize) and command.cvc is not None for door in doors for command in door.ledger.changes
    )


@pytest.mark.parametrize("client", ["storefront", "pos"])
async def test_codes_are_enumerated_from_many_addresses(redis_url: str, tmp_path: Path, client: str) -> None:
    async with street(redis_url, tmp_path, GATEWAYS, **PROXY) as here:
        await here.issue(CODE)
        requests = [
            [guess(f"GC-ENUM-{door}{number:05}", "0000", client, address) for number, address in enumerate(mine)]
            for door, mine in enumerate((addresses(EACH), addresses(EACH, EACH)))
        ]
        answers = await everywhere(here.doors, requests)
        more = await everywhere(here.doors, [[guess("GC-ENUM-LATER", "0000", client, "203.0.113.7")] for _ in range(2)])

        served = tries(here.doors)

    most = in_a_window(DEFAULT, 10_000, gateways=GATEWAYS)
    assert DEFAULT.guess_client_wrong_max <= served <= most
    # 1.2% for as many active codes as anybody likes, as the page says
    assert any_code(served) < 0.012
    refused = "CertificateRefused" if client == "storefront" else "CertificateNotFound"
    assert codes_of(answers) == {refused: served, "RateLimited": 2 * EACH - served}
    assert codes_of(more) == {"RateLimited": 2}


async def test_codes_are_enumerated_from_one_address_that_says_it_is_others(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, GATEWAYS) as here:
        requests = [
            [guess(f"GC-ENUM-{door}{number:05}", "0000", "storefront", address) for number, address in enumerate(mine)]
            for door, mine in enumerate((addresses(40), addresses(40, 40)))
        ]
        await everywhere(here.doors, requests)

        served = tries(here.doors)

    assert DEFAULT.guess_address_wrong_max <= served <= in_a_window(DEFAULT, 1, gateways=GATEWAYS)


async def test_one_certificate_is_guessed_at_from_everywhere(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, GATEWAYS, **PROXY) as here:
        cvc = await here.issue(CODE)
        requests = [
            [guess(CODE, wrong(cvc, 1 + number), "storefront", address) for number, address in enumerate(mine)]
            for mine in (addresses(30), addresses(30, 30))
        ]

        answers = await everywhere(here.doors, requests)
        right = await everywhere(here.doors, [[guess(CODE, cvc, "storefront", "203.0.113.7")] for _ in range(2)])
        unknown = await everywhere(
            here.doors,
            [
                [guess("GC-NOBODY-HAS", "0000", "storefront", address) for address in addresses(30, first)]
                for first in (60, 90)
            ],
        )
        state = await here.state(CODE)

    free = Policy().cvc_attempts_free
    assert codes_of(answers) == {"CertificateRefused": free, "RateLimited": 60 - free}
    # neither does the lock tell that a CVC is right, nor whether the code exists
    assert codes_of(right) == {"RateLimited": 2}
    assert codes_of(unknown)["CertificateRefused"] == free
    locked = [answer for answer in (*answers, *unknown) if answer.status == 429]
    assert len({(frozenset(msgspec.json.decode(answer.content)), frozenset(answer.headers)) for answer in locked}) == 1
    assert state["available"] == DENOMINATION


async def test_a_lock_takes_no_certificate_from_its_owner(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, GATEWAYS, **PROXY) as here:
        cvc = await here.issue(CODE)
        shop, till = await here.hold(CODE, "storefront", cvc=cvc), await here.hold(CODE, "pos")
        # client, address and certificate are all at their limits
        for client in ("storefront", "pos"):
            await everywhere(
                here.doors,
                [[guess(CODE, wrong(cvc), client, "198.51.100.1") for _ in range(30)] for _ in here.doors],
            )
            await everywhere(
                here.doors,
                [
                    [
                        guess(f"GC-ENUM-{number:05}", "0000", client, one)
                        for number, one in enumerate(addresses(EACH, first))
                    ]
                    for first in (0, EACH)
                ],
            )
        limited = await everywhere(
            here.doors, [[guess(CODE, cvc, client, "198.51.100.1")] for client in ("storefront", "pos")]
        )

        first, second = here.doors
        captured = await first.ask(call(CODE, "capture", {"authorizationId": shop}, "storefront"))
        voided = await second.ask(call(CODE, "void", {"operationId": till}, "pos"))
        spent = [await door.ask(call(CODE, "authorize", redemption(2_000), "pos")) for door in here.doors]
        balance = await second.ask(call(CODE, "balance", {}, "pos"))
        back = await first.ask(
            call(CODE, "void", {"operationId": msgspec.json.decode(captured.content)["operationId"]}, "payments")
        )
        support = await first.ask(get(f"/certificates/{CODE}", client="support"))

    assert codes_of(limited) == {"RateLimited": 2}
    assert [answer.status for answer in (captured, voided, *spent, balance, back, support)] == [201] * 4 + [
        200,
        201,
        200,
    ]
    assert msgspec.json.decode(balance.content)["available"] == DENOMINATION - 1_000 - 2 * 2_000
    assert msgspec.json.decode(support.content)["currency"] == RUB
