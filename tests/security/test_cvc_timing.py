"""Whether a code exists is not to be seen by how long its refusal takes: measured, over HTTP and a real Redis.

A wrong CVC of a certificate that exists, in the log alone for its first try and in memory for the others, against a
code that does not. A sound gateway fails a comparison once in a hundred times at most: it is told by two tests, which
share the hundredth. So it has a second one with fresh data, and fails both once in ten thousand: with the three cases
here, three runs of this file in ten thousand.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
import uvloop

from gateway.guesses import kept_max
from gateway.settings import GatewaySettings
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.secrets_file import fresh_secrets
from persistence.vault import Vault
from persistence.windows import RedisWindows
from tests.integration.http_client import PATIENCE_SECONDS, Served, post, served
from tests.real.ranks import alike
from tests.unit.gateway.house import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.answers import Answer

pytestmark = pytest.mark.real

TRIES = 3
"""On one code, before it is locked."""
PAIRS = 2_100
PAIRS_MIN = 2_000
CODES = PAIRS // TRIES
LINES_MAX = 50
"""Of an order."""
AT_ONCE = 42
PLANTED_SECONDS = 0.002
OPEN = GatewaySettings(guess_address_wrong_max=10_000, guess_client_wrong_max=10_000)
ALIKE = 0.01
ONE_PEPPER = Vault.generate()
_secrets = fresh_secrets().pepper_prepared().pepper_switched(1)
TWO_PEPPERS = Vault(
    _secrets.pepper, _secrets.keys, 1, later_peppers=_secrets.later_peppers, current_pepper=_secrets.current_pepper
)


class Seconds(NamedTuple):
    """How long refusals took."""

    known: list[float]
    unknown: list[float]

    @property
    def alike(self) -> float:
        return alike(self.known, self.unknown)


class Measurement:
    """Certificates in a Redis, and a gateway whose refusals are timed."""

    def __init__(self, redis_url: str, number: int, *, planted: float, vault: Vault) -> None:
        self._redis_url = redis_url
        self._number = number
        self._planted = planted
        self._vault = vault
        self._known = [f"GC-KNOWN-{number}-{line:05}" for line in range(CODES)]

    async def run(self) -> Seconds:
        await self._issue()
        async with AsyncExitStack() as stack:
            windows = RedisWindows(self._redis_url, "gl", OPEN.guess_window_seconds, kept_max(OPEN))
            stack.push_async_callback(windows.close)
            log = await self._log(stack)
            # a shard of its own, which has nothing in memory
            here = await stack.enter_async_context(
                served(
                    windows=windows,
                    log=log,
                    vault=self._vault,
                    guess_address_wrong_max=10_000,
                    guess_client_wrong_max=10_000,
                )
            )
            self._plant(here)
            return await self._timed(here)

    async def _log(self, stack: AsyncExitStack) -> RedisLog:
        client = connect(self._redis_url, connections_max=8, timeout_seconds=PATIENCE_SECONDS)
        stack.push_async_callback(client.aclose)
        return RedisLog(client, partitions=8)

    async def _issue(self) -> None:
        async with AsyncExitStack() as stack:
            house = await stack.enter_async_context(opened(log=await self._log(stack), vault=self._vault))
            for first in range(0, CODES, LINES_MAX):
                order = f"SO-{self._number}-{first}"
                codes = self._known[first : first + LINES_MAX]
                lines = [str(line) for line in range(len(codes))]
                await house.place(*lines, order=order)
                await house.pay(*lines, order=order)
                sales = [house.sell(code, line, "pos", order) for code, line in zip(codes, lines, strict=True)]
                assert {answer.body["status"] for answer in await asyncio.gather(*sales)} == {"Active"}

    def _plant(self, here: Served) -> None:
        """Have the ledger take longer for certificates that exist."""
        ledger, ask = here.house.ledger, here.house.ledger.ask
        if not self._planted:
            return
        known = set(self._known)

        async def slower(entity: str, *rest: object) -> Answer:
            if entity[2:] in known:
                await asyncio.sleep(self._planted)
            return await ask(entity, *rest)  # type: ignore[arg-type]

        ledger.ask = slower  # type: ignore[method-assign, assignment]

    async def _timed(self, here: Served) -> Seconds:
        seconds = Seconds([], [])
        await asyncio.gather(*(self._line(here, self._known[first::AT_ONCE], seconds) for first in range(AT_ONCE)))
        assert min(len(seconds.known), len(seconds.unknown)) >= PAIRS_MIN
        return seconds

    async def _line(self, here: Served, codes: Sequence[str], seconds: Seconds) -> None:
        """Ask for each code, and for one that nobody knows, in an order that is drawn by lot."""
        line = await here.line()
        lot = Random(codes[0])
        for attempt in range(TRIES):
            for code in codes:
                tried = f"{attempt:04}"  # right once in ten thousand times
                pair = [(code, seconds.known), (code.replace("KNOWN", "OTHER"), seconds.unknown)]
                lot.shuffle(pair)
                for one, taken in pair:
                    data = post(
                        f"/certificates/{one}/balance", msgspec.json.encode({"cvc": tried}), client="storefront"
                    )
                    begun = perf_counter()
                    answer = await line.ask(data)
                    if answer.status == 200:
                        continue
                    taken.append(perf_counter() - begun)
                    assert answer.code == "CertificateRefused"


def measured(redis_url: str, number: int, *, planted: float = 0.0, vault: Vault = ONE_PEPPER) -> Seconds:
    # uvloop, as in production: its timers are others than asyncio's
    return uvloop.run(Measurement(redis_url, number, planted=planted, vault=vault).run())


@pytest.mark.parametrize("planted", [0.0, PLANTED_SECONDS], ids=["as it is", "with a slow certificate"])
def test_a_refusal_does_not_show_whether_the_code_exists(redis_url: str, planted: float) -> None:
    first = measured(redis_url, 1, planted=planted).alike

    assert first > ALIKE or measured(redis_url, 2, planted=planted).alike > ALIKE


def test_nor_does_it_with_two_peppers(redis_url: str) -> None:
    first = measured(redis_url, 1, vault=TWO_PEPPERS).alike

    assert first > ALIKE or measured(redis_url, 2, vault=TWO_PEPPERS).alike > ALIKE


def test_a_difference_would_be_found(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.trials.VEIL_SECONDS_MIN", 0.0)
    monkeypatch.setattr("gateway.trials.VEIL_SECONDS_MAX", 1e-9)

    assert measured(redis_url, 1, planted=PLANTED_SECONDS).alike < 1e-6
