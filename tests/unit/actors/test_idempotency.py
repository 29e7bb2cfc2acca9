"""A request that is repeated under its key is answered as it was the first time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError
from ledger.commands import SYSTEM, Block, Capture, Inquire, Look, Void
from ledger.identifiers import OPERATION, identifier
from ledger.records import Activated, HoldVoided
from persistence.errors import StorageUnavailableError
from tests.unit.actors.logs import UnreliableLog, raising
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
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
    from tests.unit.actors.stage import FakeClock


async def test_an_authorization_a_capture_and_a_void_are_given_again_from_their_records(
    stage: Stage, log: UnreliableLog
) -> None:
    shard = await stage.shard()
    await issue(shard)
    first = await ask(shard, CERTIFICATE, authorize(50_000), keyed("a"))
    captured = await ask(shard, CERTIFICATE, Capture(body(first)["authorizationId"], 30_000), keyed("c"))
    voided = await ask(shard, CERTIFICATE, Void(body(captured)["operationId"], 10_000), keyed("v"))
    await ask(shard, CERTIFICATE, authorize(7_000))

    again = [
        await ask(shard, CERTIFICATE, authorize(50_000), keyed("a")),
        await ask(shard, CERTIFICATE, Capture(body(first)["authorizationId"], 30_000), keyed("c")),
        await ask(shard, CERTIFICATE, Void(body(captured)["operationId"], 10_000), keyed("v")),
    ]

    assert [answer.body for answer in again] == [first.body, captured.body, voided.body]
    assert [(answer.replayed, answer.created) for answer in again] == [(True, True)] * 3
    assert shard.counts["replayed"] == 3
    assert len(await records(log)) == 7


async def test_a_void_after_the_expiry_tells_what_is_left_and_does_so_again(
    stage: Stage, log: UnreliableLog, clock: FakeClock
) -> None:
    shard = await stage.shard()
    await issue(shard)
    clock.advance(365 * 86_400 - 1)
    hold = body(await ask(shard, CERTIFICATE, authorize(50_000)))["authorizationId"]
    clock.advance(1)

    first = await ask(shard, CERTIFICATE, Void(hold), keyed("v"))
    again = await ask(shard, CERTIFICATE, Void(hold), keyed("v"))

    look = await ask(shard, CERTIFICATE, Look(), SYSTEM)
    (voided,) = [record for record in await records(log) if isinstance(record.body, HoldVoided)]
    names = ("status", "balance", "available", "version")
    assert [body(first)[name] for name in names] == [body(look)[name] for name in names] == ["Expired", 0, 0, 7]
    assert body(first)["operationId"] == identifier(OPERATION, CODE, voided.version)
    assert (again.body, again.version, again.replayed) == (first.body, first.version, True)
    assert first.version == look.version


async def test_a_refusal_is_given_again_even_if_it_would_not_be_one_now(stage: Stage) -> None:
    shard = await stage.shard()
    await issue(shard)
    hold = await ask(shard, CERTIFICATE, authorize(150_000))
    assert refusal(await ask(shard, CERTIFICATE, authorize(), keyed("k1"))) == "InsufficientFunds"
    await ask(shard, CERTIFICATE, Void(body(hold)["authorizationId"]))

    answer = await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    assert (refusal(answer), answer.replayed) == ("InsufficientFunds", True)


async def test_a_read_under_a_key_is_given_again(stage: Stage) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, Inquire(), keyed("k1"))
    await ask(shard, CERTIFICATE, authorize())

    answer = await ask(shard, CERTIFICATE, Inquire(), keyed("k1"))

    assert (body(answer)["available"], answer.replayed) == (150_000, True)


async def test_a_rate_limit_is_not_kept(stage: Stage, clock: FakeClock) -> None:
    shard = await stage.shard()
    await issue(shard)
    wrong = VAULT.cvc_digest(CODE, "0000")
    for _ in range(3):
        await ask(shard, CERTIFICATE, Inquire(wrong))
    limited = await ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("k1"))

    clock.advance(31)
    answer = await ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("k1"))

    assert refusal(limited) == "RateLimited"
    assert (refusal(answer), answer.replayed) == ("CvcMismatch", False)


async def test_a_repeated_request_is_answered_as_at_first_while_its_cvc_is_locked(
    stage: Stage, log: UnreliableLog
) -> None:
    shard = await stage.shard()
    await issue(shard)
    right = next(record.body.cvc for record in await records(log) if isinstance(record.body, Activated))
    wrong = VAULT.cvc_digest(CODE, "0000")
    refused = await ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("refused"))
    held = await ask(shard, CERTIFICATE, authorize(cvc=right), keyed("held"))
    for _ in range(3):
        await ask(shard, CERTIFICATE, Inquire(wrong))

    answers = await asyncio.gather(
        ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("refused")),
        ask(shard, CERTIFICATE, authorize(cvc=right), keyed("held")),
        ask(shard, CERTIFICATE, authorize(2_000, cvc=wrong), keyed("held", "another request")),
        ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("new")),
        ask(shard, CERTIFICATE, authorize(cvc=wrong)),
    )

    assert (refusal(answers[0]), answers[0].replayed) == (refusal(refused), True) == ("CvcMismatch", True)
    assert (answers[1].body, answers[1].created, answers[1].replayed) == (held.body, True, True)
    assert [refusal(answer) for answer in answers[2:]] == ["IdempotencyKeyReused", "RateLimited", "RateLimited"]
    assert (await types(log)).count("held") == 1


async def test_a_log_that_fails_while_limited_keys_are_looked_up_leaves_only_their_outcomes_unknown(
    stage: Stage, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await stage.shard()
    await issue(shard)
    wrong = VAULT.cvc_digest(CODE, "0000")
    for _ in range(3):
        await ask(shard, CERTIFICATE, Inquire(wrong))

    with monkeypatch.context() as broken:
        broken.setattr(log, "outcomes", raising(StorageUnavailableError("gone")))
        answers = await asyncio.gather(
            ask(shard, CERTIFICATE, authorize(cvc=wrong), keyed("k1")),
            ask(shard, CERTIFICATE, authorize(), keyed("k2")),
            return_exceptions=True,
        )

    assert isinstance(answers[0], OutcomeUnknownError)
    assert body(answers[1])["available"] == 149_000


async def test_a_key_that_is_used_for_another_request_is_refused(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    answer = await ask(shard, CERTIFICATE, authorize(2_000), keyed("k1", "another request"))

    assert refusal(answer) == "IdempotencyKeyReused"
    assert (await types(log)).count("held") == 1


async def test_the_same_key_twice_in_one_batch_happens_once(stage: Stage, log: UnreliableLog) -> None:
    shard = await stage.shard()
    await issue(shard)
    log.batches.clear()

    answers = await asyncio.gather(
        *(ask(shard, CERTIFICATE, authorize(), keyed("k1")) for _ in range(20)),
        *(ask(shard, CERTIFICATE, authorize(), keyed("k2")) for _ in range(20)),
        ask(shard, CERTIFICATE, Block("lost"), keyed("k1", "another request")),
        ask(shard, CERTIFICATE, authorize()),
    )

    assert len({answer.body for answer in answers[:20]}) == 1
    assert len({answer.body for answer in answers[20:40]}) == 1
    assert refusal(answers[40]) == "IdempotencyKeyReused"
    assert (await types(log)).count("held") == 3
    assert len(log.batches) == 2


async def test_an_entity_that_left_memory_gives_its_answers_again(stage: Stage, clock: FakeClock) -> None:
    shard = await stage.shard()
    await issue(shard)
    first = await ask(shard, CERTIFICATE, authorize(), keyed("k1"))
    clock.advance(1_000)
    await shard.passivate()

    answer = await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    assert (answer.body, answer.replayed) == (first.body, True)


async def test_a_log_that_fails_while_answers_are_repeated_tells_each_outcome_once(
    stage: Stage, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(), keyed("k1"))
    await ask(shard, CERTIFICATE, Block("lost"), keyed("k2"))

    with monkeypatch.context() as broken:
        broken.setattr(log, "history", raising(StorageUnavailableError("gone")))
        answers = await asyncio.gather(
            ask(shard, CERTIFICATE, Block("lost"), keyed("k2")),  # answered before the log fails
            ask(shard, CERTIFICATE, authorize(), keyed("k1")),
            return_exceptions=True,
        )

    assert body(answers[0])["status"] == "Blocked"
    assert isinstance(answers[1], OutcomeUnknownError)


async def test_a_record_that_is_gone_is_an_unknown_outcome_and_no_end(
    stage: Stage, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await stage.shard()
    await issue(shard)
    await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    async def nothing(*_: object) -> list[bytes]:
        return []

    with monkeypatch.context() as broken:
        broken.setattr(log, "history", nothing)
        with pytest.raises(OutcomeUnknownError, match="operators"):
            await ask(shard, CERTIFICATE, authorize(), keyed("k1"))

    assert body(await ask(shard, CERTIFICATE, Look(), SYSTEM))["available"] == 149_000
