"""One soak, from an empty stack to the account of what happened."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from tests.real.audit import Events, audit
from tests.real.caller import Caller
from tests.real.market import Market
from tests.real.traffic import Traffic
from tests.soak.memory import Life, Memory, RedisPoint, grown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.real.stack import RunningStack
    from tests.soak.faults import Fault

PREFIX: Final = "soak."
HOT, COLD = 3, 40
DENOMINATION: Final = 1_000_000
"""More than is spent before another certificate takes its place."""
HOT_FOR: Final = 50
"""Sales until a hot certificate gives way: customers come and go, and what a certificate remembers of its captures, for
as long as they can be voided, does not make the memory of a shard grow."""
PAUSE_SECONDS: Final = 0.4
"""Between two purchases of a till: some 60 calls a second in all, which leaves two cores room for recovery."""
FAULT_EVERY_SECONDS: Final = 20.0
FIRST_FAULT_SECONDS: Final = 10.0
SAMPLE_SECONDS: Final = 5.0
SERVED_SECONDS_MAX: Final = 30.0
"""How long service may take to be back after a fault, on a busy machine."""
EVENTS_SECONDS_MAX: Final = 180.0
"""Reading all events of half an hour."""
VERIFY_SECONDS_MAX: Final = 300.0
STACK_SETTINGS: Final = {
    "IDLE_SECONDS": "60",  # so that what is in memory comes to a level within the time of a soak …
    "HOLD_SECONDS": "60",  # … and so does what is held
}


class Struck(Struct, frozen=True):
    """A fault that was made."""

    at: float
    name: str
    served_seconds: float
    """From its end until every certificate was served."""


class Outcome(Struct, kw_only=True):
    """What came of a soak."""

    seed: int
    seconds: float = 0.0
    told: int = 0
    """Calls of tills that were acknowledged."""
    sold: int = 0
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Attempts without an answer, or with 503: they were repeated with the same key."""
    struck: list[Struck] = field(default_factory=list)
    pulse: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start, and calls acknowledged until then."""
    lives: list[Life] = field(default_factory=list)
    redis: list[RedisPoint] = field(default_factory=list)
    events: int = 0
    """Different events about these certificates on the topics of states and transactions."""
    proof: str = ""
    """What `gift-ledger verify` said last."""
    wrong: list[str] = field(default_factory=list)
    """What is not as clients were told."""
    grown: list[str] = field(default_factory=list)
    """What takes ever more memory."""


async def soak(
    stack: RunningStack, faults: Sequence[Fault], seconds: float, seed: int, say: Callable[[str], None]
) -> Outcome:
    """Run for some time, then take the account.

    Args:
        stack: A running one, with topics that begin with `PREFIX`.
        faults: What may go wrong.
        seconds: How long traffic goes on.
        seed: Of traffic and faults.
        say: Told what goes on.
    """
    outcome = Outcome(seed=seed)
    memory = Memory(stack.data_dir, stack.endpoints.redis)
    async with Market(stack, PREFIX) as market:
        codes = await market.sell(HOT + COLD, DENOMINATION)
        traffic = Traffic(
            stack,
            PREFIX,
            codes[:HOT],
            codes[HOT:],
            seed,
            pause_seconds=PAUSE_SECONDS,
            sold_amount=DENOMINATION,
            hot_for=HOT_FOR,
        )
        try:
            async with traffic:
                watching = asyncio.create_task(_watch(memory, traffic, outcome))
                try:
                    await _trouble(stack, traffic, faults, seconds, outcome, say)
                finally:
                    watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        except (AssertionError, TimeoutError) as error:
            outcome.wrong.append(f"a client was not served as promised: {error}")
        _count(traffic, memory, outcome)
        if not outcome.wrong:
            say("traffic has ended; histories, balances and events are compared")
            events = Events(stack.bootstrap, PREFIX, [*codes, *traffic.sold], EVENTS_SECONDS_MAX)
            try:
                await audit(market, traffic.told, events)
            except AssertionError as error:
                outcome.wrong.append(f"the audit failed: {error}")
            outcome.events = len(events.events)
    proof = await asyncio.to_thread(stack.run, "verify", seconds_max=VERIFY_SECONDS_MAX)
    outcome.proof = (proof.stdout.strip() or proof.stderr.strip()).rsplit("\n", 1)[-1]
    if proof.returncode != 0:
        outcome.wrong.append(f"gift-ledger verify: {proof.stdout}{proof.stderr}")
    outcome.grown = grown(outcome.lives, outcome.redis)
    return outcome


async def _trouble(
    stack: RunningStack,
    traffic: Traffic,
    faults: Sequence[Fault],
    seconds: float,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    """Have a fault every few seconds, and see each time that everything is served again."""
    draw, began = random.Random(outcome.seed), time.monotonic()
    async for at in _times(seconds):
        fault = draw.choice(faults)
        async with fault.broken(stack):
            await asyncio.sleep(fault.lasts_seconds)  # it is the time that is the fault
        over = time.monotonic()
        await _all_served(stack, traffic.codes)
        await traffic.more(1)
        served = time.monotonic() - over
        outcome.struck.append(Struck(at, fault.name, served))
        say(f"{at:6.0f} s  {fault.name}; served again after {served:.1f} s; {len(traffic.told)} calls so far")
    outcome.seconds = time.monotonic() - began


async def _times(seconds: float) -> AsyncIterator[float]:
    """When a fault is due: seconds since now, as they come."""
    began = time.monotonic()
    due = FIRST_FAULT_SECONDS
    while due < seconds - FAULT_EVERY_SECONDS / 2:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        yield time.monotonic() - began
        due += FAULT_EVERY_SECONDS
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))


async def _watch(memory: Memory, traffic: Traffic, outcome: Outcome) -> None:
    began = time.monotonic()
    while True:
        calls = len(traffic.told)
        outcome.pulse.append((time.monotonic() - began, calls))
        await asyncio.to_thread(memory.sample, calls)
        await asyncio.sleep(SAMPLE_SECONDS)


async def _all_served(stack: RunningStack, codes: list[str]) -> None:
    """Every certificate is served, whichever shard it lives in."""
    ops = Caller(stack, "ops")
    try:
        async with asyncio.timeout(SERVED_SECONDS_MAX):
            await asyncio.gather(*(ops.get(f"/certificates/{code}") for code in codes))
    except TimeoutError:
        raise AssertionError(f"not all certificates are served {SERVED_SECONDS_MAX:g} s after a fault") from None
    finally:
        await ops.close()


def _count(traffic: Traffic, memory: Memory, outcome: Outcome) -> None:
    outcome.told, outcome.sold = len(traffic.told), len(traffic.sold)
    outcome.refused, outcome.failed = len(traffic.refused), traffic.failed
    outcome.lives, outcome.redis = list(memory.lives.values()), memory.redis
