"""Many clients at once, who note all that they were told; faults are made in the middle of what they do."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct

from tests.real.caller import Caller, Service
from tests.real.market import Market, new_code

if TYPE_CHECKING:
    from types import TracebackType

CLIENTS: Final = 12
SELLERS: Final = 2
HOT_SHARE: Final = 0.5
AMOUNT_MAX: Final = 900
SOLD_AMOUNT: Final = 5_000
DONE_SECONDS_MAX: Final = 90.0
"""How long whatever was begun may take to come to its end, faults included."""
PROBE_AMOUNT: Final = 1


class Told(Struct, frozen=True):
    """A 2xx that a client got."""

    code: str
    kind: str
    identifier: str
    amount: int


class Traffic:
    """An `async with` block while which clients authorize, capture and void, and shops sell.

    Args:
        stack: Whom they call.
        prefix: Of its topics.
        hot: Codes that half of the calls go to.
        cold: Codes that the others go to.
        seed: Of what they do.
        pause_seconds: Between two purchases of a till, and two sales of a shop.
        sold_amount: Denomination of what shops sell.
        hot_for: After so many sales what was sold takes the place of a hot one, otherwise of a cold one. 0: tills stay
            with the codes that they were given.
    """

    def __init__(
        self,
        stack: Service,
        prefix: str,
        hot: list[str],
        cold: list[str],
        seed: int,
        *,
        pause_seconds: float = 0.0,
        sold_amount: int = SOLD_AMOUNT,
        hot_for: int = 0,
    ) -> None:
        self._market = Market(stack, prefix)
        self._callers = [Caller(stack, "pos") for _ in range(CLIENTS)]
        self._prober = Caller(stack, "pos")
        self._pause_seconds = pause_seconds
        self._hot, self._cold = [*hot], [*cold]
        self._sold_amount, self._hot_for = sold_amount, hot_for
        self._chance = random.Random(seed)
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()
        self.told: list[Told] = []
        self.sold: list[str] = []
        self.refused: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        await self._market.__aenter__()
        work = [self._redeem(caller) for caller in self._callers] + [self._sell() for _ in range(SELLERS)]
        self._tasks = [asyncio.create_task(one) for one in work]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        try:
            async with asyncio.timeout(DONE_SECONDS_MAX):
                results = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for caller in (*self._callers, self._prober):
                await caller.close()
            await self._market.__aexit__(None, None, None)
        if kind is None:
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures:
                raise failures[0]

    @property
    def codes(self) -> list[str]:
        """What tills are given now."""
        return [*self._hot, *self._cold]

    @property
    def failed(self) -> Counter[str]:
        """Attempts that got no answer, or 503: by the kind of error, or the code of the problem."""
        return sum((caller.failed for caller in self._everybody), Counter())

    @property
    def unknown(self) -> int:
        """Operations of which an attempt had an unknown outcome."""
        return sum(caller.unknown for caller in self._everybody)

    @property
    def repeated(self) -> int:
        """Attempts at operations with a key that was sent before."""
        return sum(caller.repeated for caller in self._everybody)

    @property
    def _everybody(self) -> list[Caller]:
        return [*self._callers, self._prober, self._market.shop]

    async def all_served(self, within_seconds: float) -> None:
        """Wait until an authorization of each certificate was answered, whichever shard it lives in."""
        body: dict[str, object] = {"purpose": "Redemption", "amount": PROBE_AMOUNT, "currency": "RUB"}
        try:
            async with asyncio.timeout(within_seconds):
                await asyncio.gather(*(self._have(self._prober, code, "authorize", body) for code in self.codes))
        except TimeoutError:
            raise AssertionError(f"not every certificate was served in {within_seconds:g} s") from None

    async def more(self, count: int, within_seconds: float = DONE_SECONDS_MAX) -> None:
        """Wait until so many more calls have got their 2xx, and until every client that fails has been seen to."""
        wanted = len(self.told) + count
        waiting = asyncio.create_task(self._reached(wanted))
        try:
            done, _ = await asyncio.wait(
                [waiting, *self._tasks], timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        for task in done:
            task.result()
        assert waiting in done, f"{len(self.told) - wanted + count} of {count} calls in {within_seconds:g} s"

    async def another_sale(self, within_seconds: float) -> None:
        """Wait until one more certificate was sold that nothing was known of before."""
        before = len(self.sold)
        try:
            async with asyncio.timeout(within_seconds), self._news:
                # those that were begun before may have been nearly done
                await self._news.wait_for(lambda: len(self.sold) > before + SELLERS)
        except TimeoutError:
            raise AssertionError(f"nothing was sold in {within_seconds:g} s") from None

    async def _reached(self, wanted: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.told) >= wanted)

    async def _redeem(self, caller: Caller) -> None:
        chance = self._chance
        while not self._stop.is_set():
            await asyncio.sleep(self._pause_seconds)
            code = chance.choice(self._hot if chance.random() < HOT_SHARE else self._cold)
            amount = chance.randint(1, AMOUNT_MAX)
            body: dict[str, object] = {"purpose": "Redemption", "amount": amount, "currency": "RUB"}
            hold = await self._have(caller, code, "authorize", body)
            if hold is None:
                continue
            if chance.random() < 0.3:
                await self._have(caller, code, "void", {"operationId": hold.identifier})
                continue
            part = chance.choice((hold.amount, chance.randint(1, hold.amount)))
            capture = {"authorizationId": hold.identifier, "amount": part, "final": chance.random() < 0.7}
            taken = await self._have(caller, code, "capture", capture)
            if taken is not None and chance.random() < 0.4:
                back = {"operationId": taken.identifier, "amount": chance.randint(1, taken.amount)}
                await self._have(caller, code, "void", back)

    async def _have(self, caller: Caller, code: str, call: str, body: dict[str, object]) -> Told | None:
        answer = await caller.post(f"/certificates/{code}/{call}", body)
        if "certificateCode" not in answer:
            self.refused.append(answer)
            assert answer["code"] == "InsufficientFunds", answer  # all else would have been done twice, or not at all
            return None
        kind = "Authorize" if call == "authorize" else answer["type"]
        told = Told(code, kind, answer["authorizationId" if call == "authorize" else "operationId"], answer["amount"])
        await self._note(told)
        return told

    async def _note(self, told: Told) -> None:
        async with self._news:
            self.told.append(told)
            self._news.notify_all()

    async def _sell(self) -> None:
        """Sales whose three messages come in any order."""
        market = self._market
        while not self._stop.is_set():
            await asyncio.sleep(self._pause_seconds)
            code, order_id = new_code(), f"SO-{new_code()}"
            steps = [
                market.order({"1": self._sold_amount}, orderId=order_id),
                market.pay(order_id, {"1": self._sold_amount}),
                self._reserve(code, order_id),
            ]
            self._chance.shuffle(steps)
            for step in steps:
                await step
            await market.has_status(code, "Active", within_seconds=DONE_SECONDS_MAX)
            async with self._news:
                self.sold.append(code)
                self._news.notify_all()
            if self._hot_for:
                used = self._cold if len(self.sold) % self._hot_for else self._hot
                used[self._chance.randrange(len(used))] = code

    async def _reserve(self, code: str, order_id: str) -> None:
        answer = await self._market.reserve(code, order_id, "1")
        assert answer.get("status") in {"Reserved", "Active"}, answer
