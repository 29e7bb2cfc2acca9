"""How many wrong CVCs a client and an address may have."""

from __future__ import annotations

import asyncio

import pytest

from gateway.guesses import EARNED_MAX
from gateway.record import REFRESH_SECONDS, STALE_SECONDS, stride
from gateway.settings import GatewaySettings
from tests.unit.gateway.guess_stage import HOME, HOUR, SHOP, opened, refused, right, tries, wrong

# --- what is allowed -------------------------------------------------------------------------------------------------


async def test_an_address_has_so_many_wrong_ones_and_then_none() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await wrong(guesses, 4)
        stage.clock.now += 100

        assert await refused(guesses) == ("RateLimited", HOUR - 100)
        assert stage.counts == {"wrong": 4, "address": 1}
        await wrong(guesses, 1, address="198.51.100.7")
        await wrong(guesses, 1, client="till")


async def test_a_wrong_one_counts_for_as_long_as_the_window() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await wrong(guesses, 2)
        stage.clock.now += 600
        await wrong(guesses, 2)

        stage.clock.now += HOUR - 601
        assert await refused(guesses) == ("RateLimited", 1)
        stage.clock.now += 2
        await wrong(guesses, 2)
        assert await refused(guesses) == ("RateLimited", 599)


async def test_a_client_has_so_many_over_all_addresses() -> None:
    async with opened() as stage:
        guesses = stage.gateway()

        for number in range(20):
            await wrong(guesses, 1, address=f"198.51.100.{number}")

        assert await refused(guesses, address="192.0.2.1") == ("RateLimited", HOUR)
        assert stage.counts == {"wrong": 20, "client": 1}
        await wrong(guesses, 1, client="till")


async def test_right_ones_and_those_without_an_outcome_cost_nothing() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        for _ in range(50):
            guesses.let_go(await guesses.take(SHOP, HOME))
            await guesses.settle(await guesses.take(SHOP, HOME), wrong=False)
            guesses.right(await guesses.take(SHOP, HOME), SHOP, "c:1")

        await wrong(guesses, 4)

        assert (await refused(guesses))[0] == "RateLimited"


# --- a good record ---------------------------------------------------------------------------------------------------


async def test_right_ones_of_different_certificates_earn_further_wrong_ones() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await right(guesses, 6)

        await wrong(guesses, 4 + 3)

        assert (await refused(guesses))[0] == "RateLimited"


async def test_the_same_certificate_earns_nothing_twice_within_the_window() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        for address in (HOME, "198.51.100.7", HOME):
            await right(guesses, 1, address=address)
            await right(guesses, 1, address=address)

        await wrong(guesses, 4)

        assert (await refused(guesses))[0] == "RateLimited"
        stage.clock.now += HOUR + 1
        await right(guesses, 2)
        await wrong(guesses, 5)
        assert (await refused(guesses))[0] == "RateLimited"


async def test_what_was_earned_is_known_to_all_gateways_and_survives_one() -> None:
    async with opened() as stage:
        await right(stage.gateway(), 10)
        other = stage.gateway()

        await wrong(other, 4 + 5)

        assert (await refused(other))[0] == "RateLimited"


async def test_what_was_earned_is_bounded() -> None:
    settings = GatewaySettings(guess_right_per_wrong=1, guess_address_wrong_max=1, guess_client_wrong_max=1)
    async with opened(settings) as stage:
        guesses = stage.gateway()
        await right(guesses, EARNED_MAX + 50)
        stage.clock.now += REFRESH_SECONDS

        await wrong(guesses, 1 + EARNED_MAX)

        assert (await refused(guesses))[0] == "RateLimited"


async def test_an_address_with_a_good_record_does_not_depend_on_its_client() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await right(guesses, 20, address="till")
        for number in range(30):
            await wrong(guesses, 1, address=f"198.51.100.{number}")
        assert (await refused(guesses, address="192.0.2.1"))[0] == "RateLimited"

        await right(guesses, 3, address="till", first=100)
        await wrong(guesses, 9, address="till")

        assert (await refused(guesses, address="192.0.2.1"))[0] == "RateLimited"


async def test_only_certificates_that_were_seen_lately_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.guesses.SEEN_MAX", 2)
    async with opened() as stage:
        guesses = stage.gateway()

        await right(guesses, 3)
        await right(guesses, 1)  # the first of them, forgotten

        await wrong(guesses, 4 + 2)
        assert (await refused(guesses))[0] == "RateLimited"


# --- many at once, and several gateways ------------------------------------------------------------------------------


async def test_guesses_at_once_are_no_more_than_those_one_by_one() -> None:
    async with opened() as stage:
        assert await tries(stage.gateway(), 200) == 4


@pytest.mark.parametrize("gateways", [2, 3, 8])
async def test_guesses_at_once_over_gateways_exceed_the_limit_by_their_strides_at_most(gateways: int) -> None:
    async with opened() as stage:
        made = [stage.gateway() for _ in range(gateways)]

        tried = await asyncio.gather(*(tries(guesses, 200) for guesses in made))
        again = await asyncio.gather(*(tries(guesses, 200) for guesses in made))

        assert 4 <= sum(tried) <= 4 + gateways * stride(4)
        assert sum(again) == 0


async def test_right_ones_at_once_wait_for_one_another_and_are_all_let_through() -> None:
    async with opened() as stage:
        guesses = stage.gateway()

        async def one(code: int) -> None:
            charge = await guesses.take(SHOP, HOME)
            await asyncio.sleep(0)
            guesses.right(charge, SHOP, f"c:{code}")

        await asyncio.gather(*(one(code) for code in range(300)))

        assert stage.counts == {}


async def test_what_waits_for_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.guesses.WAIT_SECONDS_MAX", 0.01)
    async with opened() as stage:
        guesses = stage.gateway()
        held = [await guesses.take(SHOP, HOME) for _ in range(stride(4))]

        assert (await refused(guesses))[0] == "Overloaded"
        for charge in held:
            guesses.let_go(charge)

        await wrong(guesses, 4)
        assert stage.counts["busy"] == 1


async def test_another_gateways_wrong_ones_are_seen_at_the_latest_when_they_are_stale() -> None:
    async with opened() as stage:
        one, other = stage.gateway(), stage.gateway()
        await wrong(one, 1)
        await wrong(other, 3)

        stage.clock.now += STALE_SECONDS + 0.1

        assert (await refused(one))[0] == "RateLimited"
