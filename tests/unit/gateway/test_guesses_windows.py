"""What it costs to know how many CVCs were wrong, and what is done while that is not to be known."""

from __future__ import annotations

import asyncio

import pytest

from gateway.guesses import CLOSED_SECONDS, Charge
from gateway.record import REFRESH_SECONDS, STALE_SECONDS
from tests.unit.gateway.guess_stage import HOME, HOUR, SHOP, opened, refused, right, tries, wrong

# --- what it costs ---------------------------------------------------------------------------------------------------


async def test_nobody_is_asked_about_who_is_known_and_far_from_his_limit() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        assert guesses.take_now(SHOP, HOME) is None
        guesses.let_go(await guesses.take(SHOP, HOME))
        assert stage.windows.calls == {"count": 4}

        for _ in range(100):
            charge = guesses.take_now(SHOP, HOME)
            assert isinstance(charge, Charge)
            guesses.let_go(charge)

        assert stage.windows.calls == {"count": 4}


async def test_who_is_asked_about_all_the_time_is_refreshed_while_calls_go_on() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        guesses.let_go(await guesses.take(SHOP, HOME))

        for _ in range(20):
            stage.clock.now += REFRESH_SECONDS
            for _ in range(5):
                charge = guesses.take_now(SHOP, HOME)
                assert charge is not None
                guesses.let_go(charge)
            await guesses.close()

        assert stage.windows.calls == {"count": 4 + 20 * 4}


async def test_a_flood_that_is_refused_is_not_passed_on_to_the_windows() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await wrong(guesses, 4)
        await refused(guesses)
        stage.windows.calls.clear()

        for _ in range(100):
            await refused(guesses)

        assert stage.windows.calls.total() == 0


async def test_many_who_ask_at_once_are_one_question() -> None:
    async with opened() as stage:
        guesses = stage.gateway()

        assert await tries(guesses, 2) == 2

        assert stage.windows.calls == {"count": 4, "add": 4}


async def test_only_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.guesses.RECORDS_MAX", 3)
    async with opened() as stage:
        guesses = stage.gateway()
        await wrong(guesses, 4)
        held = await guesses.take(SHOP, "192.0.2.1")

        for number in range(10):
            guesses.let_go(await guesses.take(SHOP, f"198.51.100.{number}"))

        assert len(vars(guesses)["_records"]) == 3
        assert (await refused(guesses))[0] == "RateLimited"
        await guesses.settle(held, wrong=True)
        assert await tries(guesses, 10, address="192.0.2.1") == 3


# --- windows that do not answer --------------------------------------------------------------------------------------


async def test_guessing_is_closed_while_the_windows_do_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        stage.windows.down = True

        for _ in range(10):
            assert await refused(guesses) == ("Overloaded", None)

        assert stage.windows.calls == {"count": 4}  # and not asked again and again
        assert stage.counts == {"closed": 10}
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        stage.windows.down = False
        assert await refused(guesses) == ("Overloaded", None)
        stage.clock.now += CLOSED_SECONDS
        await wrong(guesses, 4)


async def test_an_address_with_a_good_record_stays_open_for_as_long_as_that_is_good() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await right(guesses, 8, address="till")
        await right(guesses, 2, address="new", first=50)
        await wrong(guesses, 1, address="new")
        stage.windows.down = True
        stage.clock.now += STALE_SECONDS + 1

        assert (await refused(guesses, address="new"))[0] == "Overloaded"
        assert await tries(guesses, 100, address="till") == 4
        assert (await refused(guesses, address="till"))[0] == "Overloaded"


async def test_a_record_is_not_good_for_longer_than_the_window() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        await right(guesses, 8)
        stage.windows.down = True
        stage.clock.now += HOUR + 1

        assert (await refused(guesses))[0] == "Overloaded"


async def test_wrong_ones_that_could_not_be_noted_count_here_and_are_noted_later() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        charges = [await guesses.take(SHOP, HOME) for _ in range(2)]
        stage.windows.down = True
        for charge in charges:
            await guesses.settle(charge, wrong=True)
        stage.windows.down = False
        stage.clock.now += CLOSED_SECONDS

        assert await tries(guesses, 10) == 2
        assert await tries(stage.gateway(), 10) == 0


async def test_a_wrong_one_whose_call_is_cancelled_counts_all_the_same() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        charge = await guesses.take(SHOP, HOME)
        settling = asyncio.ensure_future(guesses.settle(charge, wrong=True))
        await asyncio.sleep(0)

        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)

        assert await tries(guesses, 10) == 3


async def test_a_wrong_one_counts_for_all_if_its_call_is_cancelled_in_the_turn_in_which_it_is_answered() -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        charge = await guesses.take(SHOP, HOME)
        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        async def call() -> None:
            await answered
            await asyncio.gather(guesses.settle(charge, wrong=True))

        calling = asyncio.create_task(call())
        await asyncio.sleep(0)
        answered.set_result(None)
        loop.call_soon(calling.cancel)
        await asyncio.gather(calling, return_exceptions=True)
        await guesses.close()

        assert calling.cancelled()
        assert await tries(stage.gateway(), 10) == 3


async def test_what_could_not_be_earned_is_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as stage:
        guesses = stage.gateway()
        guesses.let_go(await guesses.take(SHOP, HOME))
        stage.windows.down = True
        for code in range(4):
            charge = guesses.take_now(SHOP, HOME)
            assert charge is not None
            guesses.right(charge, SHOP, f"c:{code}")
        await guesses.close()

        stage.windows.down = False
        stage.clock.now += STALE_SECONDS + 1
        assert await tries(guesses, 10) == 4
        assert len(caplog.records) == 1
