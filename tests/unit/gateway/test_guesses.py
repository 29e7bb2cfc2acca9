"""How many wrong CVCs a client and an address may have: by a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.faults import ProblemError
from gateway.guesses import CLOSED_SECONDS, EARNED_MAX, Charge, Guesses, kept_max
from gateway.record import REFRESH_SECONDS, STALE_SECONDS, stride
from gateway.settings import GatewaySettings
from persistence.errors import StorageUnavailableError
from persistence.windows import Count, MemoryWindows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR = 3_600
SETTINGS = GatewaySettings(
    guess_window_seconds=HOUR, guess_address_wrong_max=4, guess_client_wrong_max=20, guess_right_per_wrong=2
)
SHOP = "shop"
HOME = "203.0.113.9"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """Windows whose calls are counted, and which fail if they are told to."""

    def __init__(self, windows: MemoryWindows) -> None:
        self._windows = windows
        self.calls: Counter[str] = Counter()
        self.down = False

    async def add(self, name: str, number: int = 1) -> None:
        await self._called("add")
        await self._windows.add(name, number)

    async def count(self, name: str) -> Count:
        await self._called("count")
        return await self._windows.count(name)

    async def close(self) -> None:
        await self._windows.close()

    async def _called(self, name: str) -> None:
        self.calls[name] += 1
        await asyncio.sleep(0)
        if self.down:
            raise StorageUnavailableError("down")


class Stage:
    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.windows = Watched(MemoryWindows(settings.guess_window_seconds, kept_max(settings), self.clock))
        self.counts: Counter[str] = Counter()
        self.gateways: list[Guesses] = []

    def gateway(self) -> Guesses:
        self.gateways.append(Guesses(self.windows, self.settings, self.counts, self.clock))
        return self.gateways[-1]


@asynccontextmanager
async def opened(settings: GatewaySettings = SETTINGS) -> AsyncIterator[Stage]:
    stage = Stage(settings)
    yield stage
    for gateway in stage.gateways:
        await gateway.close()


async def wrong(guesses: Guesses, number: int = 1, address: str = HOME, client: str = SHOP) -> None:
    for _ in range(number):
        await guesses.settle(await guesses.take(client, address), wrong=True)


async def right(guesses: Guesses, number: int, address: str = HOME, client: str = SHOP, first: int = 0) -> None:
    """Have the right CVCs of different certificates be sent."""
    for code in range(first, first + number):
        guesses.right(await guesses.take(client, address), client, f"c:{code}")
    await guesses.close()


async def refused(guesses: Guesses, address: str = HOME, client: str = SHOP) -> tuple[str, int | None]:
    with pytest.raises(ProblemError) as caught:
        await guesses.take(client, address)
    return caught.value.code, caught.value.figures.get("retryAfter")


async def tries(guesses: Guesses, number: int, address: str = HOME, client: str = SHOP) -> int:
    """Send so many wrong ones at once, whose answers all take their time. Returns how many were tried."""

    async def one() -> bool:
        try:
            charge = await guesses.take(client, address)
        except ProblemError:
            return False
        for _ in range(5):
            await asyncio.sleep(0)
        await guesses.settle(charge, wrong=True)
        return True

    return sum(await asyncio.gather(*(one() for _ in range(number))))


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
        settling = asyncio.create_task(guesses.settle(charge, wrong=True))
        await asyncio.sleep(0)

        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)

        assert await tries(guesses, 10) == 3


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
