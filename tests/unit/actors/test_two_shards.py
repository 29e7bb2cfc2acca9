"""Two shards that each believe to be the only writer of a certificate are slow, never wrong.

This is what docs/decisions/0001-safety-lives-in-the-log.md promises.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from actors.errors import OverloadedError
from actors.shard import CONFLICTS_MAX
from ledger.certificate import decide
from ledger.commands import Authorize, Capture, Inquire, Look, Void
from ledger.invariants import INVARIANTS
from persistence.codec import encode, restore_certificate
from persistence.log import Batch, Change
from persistence.memory import MemoryLog
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
    POS,
    VAULT,
    Stage,
    ask,
    authorize,
    body,
    issue,
    keyed,
    records,
    refusal,
    types,
)

if TYPE_CHECKING:
    from actors.shard import Shard
    from tests.unit.actors.logs import UnreliableLog


async def pair(stage: Stage) -> tuple[Shard, Shard]:
    """Return two shards that both hold the active certificate in memory."""
    one, other = await stage.shard(), await stage.shard()
    await issue(one)
    await ask(other, CERTIFICATE, Look())
    return one, other


async def test_the_same_certificate_changed_at_once_by_both_is_changed_by_both(
    stage: Stage, log: UnreliableLog
) -> None:
    one, other = await pair(stage)

    answers = await asyncio.gather(
        ask(one, CERTIFICATE, authorize(100_000)), ask(other, CERTIFICATE, authorize(40_000))
    )

    assert sorted(body(answer)["available"] for answer in answers) == [10_000, 50_000]
    assert one.counts["conflicts"] + other.counts["conflicts"] == 1
    assert (await types(log)).count("held") == 2


async def test_the_last_money_is_given_once(stage: Stage) -> None:
    one, other = await pair(stage)

    answers = await asyncio.gather(*(ask(shard, CERTIFICATE, authorize(150_000)) for shard in (one, other) * 5))

    assert sorted(answer.refused is None for answer in answers) == [False] * 9 + [True]


async def test_a_long_fight_leaves_a_whole_log(stage: Stage, log: UnreliableLog) -> None:
    one, other = await pair(stage)
    chance = random.Random(7)
    holds: list[str] = []

    async def till(number: int) -> int:
        done = 0
        for turn in range(12):
            shard = chance.choice((one, other))
            origin = keyed(f"{number}/{turn}", f"{number}/{turn}")
            command: Authorize | Capture | Void = authorize(chance.randrange(1, 3_000))
            if holds and turn % 3:
                command = Capture(holds.pop()) if turn % 2 else Void(holds.pop())
            try:
                answer = await ask(shard, CERTIFICATE, command, origin)
            except OverloadedError:
                continue  # the other one was always faster
            done += 1
            if answer.refused is None and "expiresAt" in body(answer):
                holds.append(body(answer)["authorizationId"])
        return done

    answered = sum(await asyncio.gather(*(till(number) for number in range(10))))

    (loaded,) = await log.load([CERTIFICATE])
    state, _ = restore_certificate(CODE, loaded)
    kept = await records(log)
    assert answered > 60
    assert one.counts["conflicts"] > 0
    assert other.counts["conflicts"] > 0
    assert [found for invariant in INVARIANTS for found in invariant(state, kept)] == []
    assert [record.version for record in kept] == list(range(1, len(kept) + 1))


async def test_the_same_request_to_both_at_once_happens_once(stage: Stage, log: UnreliableLog) -> None:
    one, other = await pair(stage)

    answers = await asyncio.gather(
        *(ask(shard, CERTIFICATE, authorize(), keyed("k1")) for shard in (one, other, one, other))
    )

    assert len({answer.body for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True]
    assert (await types(log)).count("held") == 1


async def test_the_same_key_for_two_certificates_at_once_is_taken_by_one(stage: Stage, log: UnreliableLog) -> None:
    one, other = await pair(stage)
    await issue(other, "GC-0000-0002")

    answers = await asyncio.gather(
        ask(one, CERTIFICATE, authorize(), keyed("k1", "this one")),
        ask(other, "c:GC-0000-0002", authorize(), keyed("k1", "that one")),
    )

    assert sorted(answer.refused is None for answer in answers) == [False, True]
    assert [refusal(answer) for answer in answers if answer.refused] == ["IdempotencyKeyReused"]


async def test_guesses_at_both_are_counted_together(stage: Stage) -> None:
    one, other = await pair(stage)
    wrong = VAULT.cvc_digest(CODE, "0000")

    for shard in (one, other, one):
        assert refusal(await ask(shard, CERTIFICATE, authorize(cvc=wrong))) == "CvcMismatch"

    assert refusal(await ask(other, CERTIFICATE, authorize(cvc=wrong))) == "RateLimited"
    assert refusal(await ask(one, CERTIFICATE, Inquire(wrong))) == "RateLimited"


async def test_who_always_loses_tells_that_nothing_happened(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)

    async def another_is_faster(_: object) -> None:
        (loaded,) = await log.load([CERTIFICATE])
        state, position = restore_certificate(CODE, loaded)
        stored, _ = encode(position, decide(state, authorize(1), POS, state.updated_at).records[0])
        await MemoryLog.append(log, Batch((Change(CERTIFICATE, state.version, (stored,)),)))

    log.before_append.extend([another_is_faster] * CONFLICTS_MAX)

    with pytest.raises(OverloadedError, match="nothing happened"):
        await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    assert shard.counts["conflicts"] == CONFLICTS_MAX
    assert (await types(log)).count("held") == CONFLICTS_MAX
    assert not (await ask(shard, CERTIFICATE, authorize(), keyed("k1"))).replayed


async def test_a_snapshot_that_lost_the_race_is_given_up(stage: Stage, log: UnreliableLog) -> None:
    one, other = await pair(stage)
    for _ in range(10):
        await ask(one, CERTIFICATE, authorize())
    await ask(other, CERTIFICATE, authorize())

    stage.clock.advance(700)
    let_go = await one.passivate()

    assert let_go > 0
    assert await log.snapshot(CERTIFICATE) is None
    assert body(await ask(one, CERTIFICATE, Look()))["available"] == 150_000 - 11_000
