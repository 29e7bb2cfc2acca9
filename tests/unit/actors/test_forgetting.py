"""A recipient who was forgotten gets nothing any more, and everything else goes on as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from actors.errors import OutcomeUnknownError
from ledger.commands import SYSTEM, LineKey, Look, Origin, Place, PlannedLine, ReissueCvc
from persistence import envelope, forgetting
from persistence.errors import StorageUnavailableError
from persistence.log import QueuedMessage
from persistence.vault import RECIPIENT, SMS, SealBrokenError, Sms, Vault
from persistence.verification import verify
from tests.unit.actors.logs import UnreliableLog
from tests.unit.actors.stage import (
    CERTIFICATE,
    CODE,
    ORDER,
    SELL,
    VAULT,
    FakeClock,
    Stage,
    ask,
    body,
    paid,
    placed,
    quiet,
    refusal,
    types,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.shard import Shard
    from persistence.log import KeyName, Log

PHONE = "+79990000001"
SUPPORT = Origin(client="desk")
REISSUE = ReissueCvc()


def enveloped(*lines: str, version: int = 1, phone: str = PHONE, vault: Vault = VAULT) -> Place:
    """An order as the inbox reads it: each recipient with a data key of his own."""
    planned, keys = [], []
    for line in lines:
        name = envelope.key_name("SO-1", version, line)
        sealed, kept = envelope.seal_new(vault, msgspec.json.encode({"phone": phone}), RECIPIENT, name)
        planned.append(PlannedLine(line, 150_000, sealed))
        keys.append(LineKey(line, kept))
    return Place(version, False, "OnlineStore", "RUB", tuple(planned), "", tuple(keys))


async def forget(log: Log, line: str | None = None) -> int:
    """As `gift-ledger forget` does; gives the number of messages that were waiting."""
    known = await forgetting.known_of(log, "SO-1", line)
    assert known is not None
    forgotten = forgetting.planned("SO-1", known, 1_800_000_000_000)
    await forgetting.forget(log, forgotten)
    codes = {code for direct in forgotten.direct for code in known.codes.get(direct, ())}
    return await forgetting.end_messages(log, forgotten, codes)


async def waiting(log: Log) -> list[QueuedMessage]:
    return [message for partition in range(log.partitions) async for message in log.messages(partition)]


async def opened(log: Log, message: QueuedMessage) -> Sms:
    """The message, with what the log keeps."""
    key = envelope.key_of(message.sealed)
    assert key is not None
    (kept,) = await log.data_keys([key])
    return msgspec.json.decode(envelope.unseal(VAULT, message.sealed, SMS, kept or b""), type=Sms)


async def issued(stage: Stage, shard: Shard, order: Place | None = None) -> None:
    """The certificate of line 1, active."""
    await stage.ledger.ask(ORDER, order or enveloped("1"), SYSTEM)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)
    assert body(await ask(shard, CERTIFICATE, Look()))["status"] == "Active"


async def proved(log: Log, clock: FakeClock) -> Sequence[object]:
    return (await verify(log, None, lambda _: None, clock=clock)).findings


async def test_the_message_to_a_recipient_is_sealed_with_his_key(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    await issued(stage, shard)

    (message,) = await waiting(log)
    assert (await opened(log, message)).to == PHONE
    assert CODE in (await opened(log, message)).text
    with pytest.raises(SealBrokenError):
        VAULT.unseal(message.sealed, SMS)
    assert await proved(log, clock) == ()


async def test_a_forgotten_recipient_gets_no_message_and_no_new_cvc(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    await issued(stage, shard)
    (message,) = await waiting(log)
    before = await log.history(CERTIFICATE), await log.history(ORDER)

    ended = await forget(log)
    answer = await ask(shard, CERTIFICATE, REISSUE, SUPPORT)

    assert (ended, await waiting(log)) == (1, [])
    assert await log.message_failures() == {message.message_id: forgetting.FORGOTTEN}
    assert refusal(answer) == "RecipientUnknown"
    assert answer.refused is not None
    assert "no longer known" in answer.refused.detail
    with pytest.raises(SealBrokenError):
        await opened(log, message)
    assert (await log.history(CERTIFICATE), await log.history(ORDER)) == before
    assert body(await ask(shard, CERTIFICATE, Look()))["balance"] == 150_000
    assert await proved(log, clock) == ()


async def test_a_line_that_is_paid_after_its_recipient_was_forgotten_is_issued_without_a_message(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    await stage.ledger.ask(ORDER, enveloped("1", "2"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)

    await forget(log, "1")
    await stage.ledger.ask(ORDER, paid("1", "2"), SYSTEM)
    await ask(shard, "c:GC-00000002", msgspec.structs.replace(SELL, line_id="2"))
    await quiet(*stage.shards)

    assert body(await ask(shard, CERTIFICATE, Look()))["status"] == "Active"
    assert [message.entity for message in await waiting(log)] == ["c:GC-00000002"]
    assert refusal(await ask(shard, CERTIFICATE, REISSUE, SUPPORT)) == "RecipientUnknown"
    assert body(await ask(shard, "c:GC-00000002", REISSUE, SUPPORT))["status"] == "Active"
    assert await proved(log, clock) == ()


async def test_the_same_order_again_brings_nobody_back_and_a_later_version_does(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    first = enveloped("1")
    await stage.ledger.ask(ORDER, first, SYSTEM)
    await forget(log)

    for again in (first, enveloped("1")):  # as it was sealed then, or read once more
        await stage.ledger.ask(ORDER, again, SYSTEM)
    forgotten = await log.data_keys([envelope.key_name("SO-1", 1, "1")])
    await stage.ledger.ask(ORDER, enveloped("1", version=2, phone="+79990000002"), SYSTEM)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)

    assert [envelope.is_forgotten(value or b"") for value in forgotten] == [True]
    (message,) = await waiting(log)
    assert (await opened(log, message)).to == "+79990000002"
    assert await forget(log) == 1


async def test_of_a_line_that_was_issued_a_later_version_brings_nobody_back(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    await issued(stage, shard)
    await forget(log)

    await stage.ledger.ask(ORDER, enveloped("1", version=2), SYSTEM)

    assert await log.data_keys([envelope.key_name("SO-1", 2, "1")]) == [None]
    assert refusal(await ask(shard, CERTIFICATE, REISSUE, SUPPORT)) == "RecipientUnknown"
    assert await proved(log, clock) == ()


async def test_an_order_that_comes_only_after_it_was_forgotten_keeps_nobody(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    # a backup had not heard of the order, and the list of what was forgotten has
    await log.forget_data_keys(ORDER, ["1/1"], envelope.tombstone(clock()))

    await issued(stage, shard)

    assert await waiting(log) == []
    assert refusal(await ask(shard, CERTIFICATE, REISSUE, SUPPORT)) == "RecipientUnknown"
    assert await proved(log, clock) == ()


class LateLog(UnreliableLog):
    """A log in which somebody forgets everything between the reading of a data key and the append that follows."""

    forgets = False

    async def data_keys(self, names: Sequence[KeyName]) -> list[bytes | None]:
        kept = await super().data_keys(names)
        if self.forgets:
            for order, name in names:
                await self.forget_data_keys(order, [name], envelope.tombstone(1))
        return kept


async def test_who_is_forgotten_while_his_message_is_made_cannot_be_read_from_it(
    clock: FakeClock, stage: Stage
) -> None:
    log = LateLog(clock)
    shard = await stage.shard(log=log)
    await stage.ledger.ask(ORDER, enveloped("1"), SYSTEM)
    log.forgets = True
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(shard)

    (message,) = await waiting(log)
    with pytest.raises(SealBrokenError):
        await opened(log, message)


async def test_a_recipient_of_the_first_version_is_never_asked_again(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock
) -> None:
    await issued(stage, shard, placed("1"))
    before = len(await waiting(log))

    ended = await forget(log, "1")

    assert (before, ended) == (1, 1)
    assert refusal(await ask(shard, CERTIFICATE, REISSUE, SUPPORT)) == "RecipientUnknown"
    assert await proved(log, clock) == ()


async def test_a_recipient_of_the_first_version_is_still_written_to(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await issued(stage, shard, placed("1"))

    await ask(shard, CERTIFICATE, REISSUE, SUPPORT)

    sealed = [message.sealed for message in await waiting(log)]
    assert [msgspec.json.decode(VAULT.unseal(one, SMS), type=Sms).to for one in sealed] == [PHONE, PHONE]


async def test_a_data_key_that_is_lost_keeps_no_value_from_being_issued(
    stage: Stage, shard: Shard, log: UnreliableLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.ledger.ask(ORDER, enveloped("1"), SYSTEM)
    log._data_keys.clear()

    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await quiet(*stage.shards)

    assert body(await ask(shard, CERTIFICATE, Look()))["status"] == "Active"
    assert f"{CODE}: the data key of its recipient is missing" in caplog.text
    assert [str(finding) for finding in await proved(log, clock) if "1/1 is missing" in str(finding)]


async def test_a_data_key_that_this_vault_cannot_open_is_waited_for(
    stage: Stage, shard: Shard, log: UnreliableLog
) -> None:
    await stage.ledger.ask(ORDER, enveloped("1", vault=Vault.generate()), SYSTEM)
    await ask(shard, CERTIFICATE, SELL)
    await stage.ledger.ask(ORDER, paid("1"), SYSTEM)
    await quiet(*stage.shards)

    assert (await types(log))[-1] == "joined"
    assert shard.counts["defects"] > 0


async def test_a_log_that_does_not_tell_the_key_leaves_the_outcome_unknown(
    stage: Stage, shard: Shard, log: UnreliableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issued(stage, shard)

    async def away(_: object) -> list[bytes | None]:
        raise StorageUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(log, "data_keys", away)
        with pytest.raises(OutcomeUnknownError):
            await ask(shard, CERTIFICATE, REISSUE, SUPPORT)

    assert body(await ask(shard, CERTIFICATE, REISSUE, SUPPORT))["status"] == "Active"
    assert len(await waiting(log)) == 2
