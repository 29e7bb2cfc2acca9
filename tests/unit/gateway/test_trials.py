"""What becomes of a call with a CVC: whatever the ledger says, or does not, and whoever waits no longer."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError, OverloadedError, PepperMissingError
from gateway.addresses import Addresses
from gateway.guesses import Guesses
from gateway.settings import GatewaySettings
from gateway.trials import VEIL_SECONDS_MIN, Trial, Trials
from ledger.answers import Answer
from ledger.refusals import Refusal, Refused
from tests.unit.gateway.guess_stage import HOME, SHOP, opened, tries
from tests.unit.gateway.house import RUB, House
from tests.unit.gateway.house import opened as house_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RIGHT = Answer(body=b"{}")
WRONG = Answer(refused=Refused(Refusal.CERTIFICATE_REFUSED, "no"))
LOCKED = Answer(refused=Refused(Refusal.RATE_LIMITED, "no"))
POOR = Answer(refused=Refused(Refusal.INSUFFICIENT_FUNDS, "no"))
ALLOWED = 4
"""Of an address, on the stage."""


class Stand:
    """Trials of one shop from one address."""

    def __init__(self, guesses: Guesses) -> None:
        self.guesses = guesses
        self.trials = Trials(guesses, Addresses(()))

    async def trial(self, *, charged: bool = True) -> Trial:
        charge = await self.guesses.take(SHOP, HOME) if charged else None
        return Trial(SHOP, "c:1", charge)

    async def follow(self) -> tuple[asyncio.Future[Answer], asyncio.Future[Answer]]:
        asking: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        return asking, self.trials.follow(await self.trial(), asking)

    async def left(self) -> int:
        """How many may still be wrong, found out by using them up."""
        await self.trials.close()
        return await tries(self.guesses, 20)


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    async with opened() as stage:
        yield Stand(stage.gateway())


def now() -> float:
    return asyncio.get_running_loop().time()


# --- what the ledger says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "cost", "veiled"), [(RIGHT, 0, False), (POOR, 0, False), (LOCKED, 0, True), (WRONG, 1, True)]
)
@pytest.mark.parametrize("way", ["followed", "awaited"])
async def test_an_answer_leaves_at_once_or_veiled_and_costs_what_it_costs(
    answer: Answer, cost: int, way: str, *, veiled: bool
) -> None:
    async with stand() as here:
        begun = now()
        if way == "followed":
            asking, told = await here.follow()
            asking.set_result(answer)
            assert await told == answer
        else:
            await here.trials.learn(await here.trial(), answer)
        taken = now() - begun

        assert await here.left() == ALLOWED - cost
    assert not veiled or taken >= VEIL_SECONDS_MIN - 0.001


@pytest.mark.parametrize("answer", [RIGHT, POOR, WRONG])
async def test_a_call_without_a_cvc_costs_nothing(answer: Answer) -> None:
    async with stand() as here:
        await here.trials.learn(await here.trial(charged=False), answer)
        await here.trials.end(await here.trial(charged=False), answer)
        here.trials.give_up(await here.trial(charged=False))

        assert await here.left() == ALLOWED


@pytest.mark.parametrize(
    ("outcome", "cost"), [(RIGHT, 0), (POOR, 0), (LOCKED, 0), (WRONG, 1), (OutcomeUnknownError("x"), 0)]
)
async def test_an_item_ends_as_a_call_does(outcome: Answer | Exception, cost: int) -> None:
    async with stand() as here:
        await here.trials.end(await here.trial(), outcome)

        assert await here.left() == ALLOWED - cost


async def test_what_took_longer_than_the_veil_is_veiled_once_more() -> None:
    async with stand() as here:
        trial = await here.trial()
        begun = now()
        await asyncio.sleep(0.15)

        await here.trials.learn(trial, WRONG)

        assert now() - begun >= 0.15


# --- what it does not say --------------------------------------------------------------------------------------------


async def test_an_error_is_handed_on_and_costs_nothing() -> None:
    async with stand() as here:
        asking, told = await here.follow()
        asking.set_exception(OutcomeUnknownError("x"))

        with pytest.raises(OutcomeUnknownError):
            await told
        assert await here.left() == ALLOWED


async def test_a_cvc_that_could_not_be_checked_is_told_veiled_and_costs_nothing() -> None:
    async with stand() as here:
        begun = now()
        asking, told = await here.follow()
        asking.set_exception(PepperMissingError("x"))

        with pytest.raises(PepperMissingError):
            await told
        assert now() - begun >= VEIL_SECONDS_MIN - 0.001
        assert await here.left() == ALLOWED


async def test_a_ledger_that_gives_up_ends_the_wait_and_costs_nothing() -> None:
    async with stand() as here:
        asking, told = await here.follow()
        asking.cancel()

        with pytest.raises(asyncio.CancelledError):
            await told
        assert await here.left() == ALLOWED


@pytest.mark.parametrize(("outcome", "cost"), [(RIGHT, 0), (WRONG, 1), (OutcomeUnknownError("x"), 0)])
async def test_whoever_waits_no_longer_is_charged_all_the_same(outcome: Answer | Exception, cost: int) -> None:
    async with stand() as here:
        asking, told = await here.follow()
        told.cancel()
        if isinstance(outcome, Exception):
            asking.set_exception(outcome)
        else:
            asking.set_result(outcome)
        await asyncio.sleep(0)

        assert await here.left() == ALLOWED - cost


async def test_whoever_stops_waiting_while_it_is_veiled_is_charged() -> None:
    async with stand() as here:
        asking, told = await here.follow()
        asking.set_result(WRONG)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        told.cancel()

        assert await here.left() == ALLOWED - 1


# --- in the gateway --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
async def test_a_call_that_the_ledger_does_not_take_costs_nothing(*, fast_lane: bool) -> None:
    settings = GatewaySettings(guess_address_wrong_max=2)
    async with house_of(settings, fast_lane=fast_lane) as house:

        async def busy() -> None:
            raise OverloadedError("busy")

        house.ledger.trouble = busy
        busy_ones = [await guess(house) for _ in range(5)]
        house.ledger.trouble = None

        answers = [await guess(house) for _ in range(3)]

    assert Counter(busy_ones) == {"Overloaded": 5}
    assert answers == ["CertificateRefused"] * 2 + ["RateLimited"]


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
async def test_nor_does_one_whose_cvc_it_could_not_check_whenever_it_says_so(*, fast_lane: bool) -> None:
    settings = GatewaySettings(guess_address_wrong_max=2)
    async with house_of(settings, fast_lane=fast_lane) as house:

        async def lacking() -> None:
            raise PepperMissingError("The gateway lacks a pepper.")

        house.ledger.trouble = lacking
        begun = now()
        unchecked = [await guess(house) for _ in range(3)]
        taken = now() - begun
        house.ledger.trouble = None

        answers = [await guess(house) for _ in range(3)]

    assert Counter(unchecked) == {"Overloaded": 3}
    assert taken >= 3 * (VEIL_SECONDS_MIN - 0.001)
    assert answers == ["CertificateRefused"] * 2 + ["RateLimited"]


async def guess(house: House) -> str:
    return (await house.hold(1, "storefront", cvc="0000", currency=RUB)).code
