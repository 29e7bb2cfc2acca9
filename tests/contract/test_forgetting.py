"""Forgetting and rotating, on whatever keeps the log."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from ledger import records as r
from ledger.commands import PlannedLine
from ledger.identifiers import MESSAGE, certificate_entity, identifier
from persistence import envelope, forgetting, rotation
from persistence.fence import shut
from persistence.forgetting import Forgotten
from persistence.log import Batch, Change, DataKey, Log, QueuedMessage, partition_of
from persistence.redis_client import Client
from persistence.redis_keys import Keys
from persistence.redis_log import RedisLog
from persistence.rotation import Needed, Rotated, Tried
from persistence.vault import RECIPIENT, SMS, SealBrokenError, Vault
from persistence.verification import VerificationReport, verify
from tests.contract.conftest import PARTITIONS
from tests.contract.histories import NOON, PRICE, Writer

pytestmark = pytest.mark.operator
PEPPER = bytes(range(32))
KEYS = {1: b"\x01" * 32, 2: b"\x02" * 32}
OLD, NEW, LATER = Vault(PEPPER, {1: KEYS[1]}, 1), Vault(PEPPER, KEYS, 2), Vault(PEPPER, {2: KEYS[2]}, 2)
CODE = "GC-00000001"


class Shop:
    """Writes orders with recipients as inbox and shards do together."""

    def __init__(self, log: Log, vault: Vault = OLD) -> None:
        self.log = log
        self.vault = vault
        self.writer = Writer(log)
        self.writer.now = NOON
        self.sealed: dict[str, bytes] = {}
        """Recipients, by the names of their keys."""

    async def order(self, order_id: str, phones: Mapping[str, str | None], version: int = 1) -> None:
        """An order of lines to these phones, with the data keys beside it."""
        lines, keys = [], []
        for line, phone in phones.items():
            sealed = None
            if phone is not None:
                name = envelope.key_name(order_id, version, line)
                sealed, kept = envelope.seal_new(self.vault, phone.encode(), RECIPIENT, name)
                keys.append(DataKey(*name, kept))
                self.sealed[name[1]] = sealed
            lines.append(PlannedLine(line, PRICE, sealed))
        await self.writer.order(order_id, r.Placed(version, False, "OnlineStore", "RUB", tuple(lines)), snapshot=True)
        assert await self.log.append(Batch(data_keys=tuple(keys))) is None

    async def direct_order(self, order_id: str, phone: str) -> bytes:
        """As the first version wrote it: the recipient of its line and of the certificate sealed by the vault."""
        sealed = self.vault.seal(phone.encode(), RECIPIENT)
        placed = r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE, sealed),))
        await self.writer.order(order_id, placed, r.LineAllocated("1", CODE))
        activated = r.Activated(order_id, "1", PRICE, "RUB", NOON + 1, b"digest", sealed)
        await self.writer.certificate(CODE, r.Reserved(order_id, "1", NOON + 1), r.Joined(PRICE, "RUB"), activated)
        return sealed

    async def queue(self, code: str, sealed: bytes) -> str:
        """A message that waits; gives its id."""
        message_id = identifier(MESSAGE, code, 3)
        message = QueuedMessage(message_id, certificate_entity(code), sealed, NOON, NOON)
        assert await self.log.append(Batch(messages=(message,))) is None
        return message_id


@pytest.fixture
def shop(log: Log) -> Shop:
    return Shop(log)


async def forget(log: Log, order_id: str, line: str | None = None) -> Forgotten:
    known = await forgetting.known_of(log, order_id, line)
    assert known is not None
    forgotten = forgetting.planned(order_id, known, NOON, "desk")
    await forgetting.forget(log, forgotten)
    return forgotten


async def readable(shop: Shop, vault: Vault, order_id: str) -> dict[str, str]:
    """Phones that can be opened with all that is kept, by the names of their keys."""
    (kept,) = await shop.log.data_keys_of([f"o:{order_id}"])
    found = {}
    for name, sealed in shop.sealed.items():
        try:
            found[name] = envelope.unseal(vault, sealed, RECIPIENT, kept[name]).decode()
        except SealBrokenError:
            continue
    return found


async def proof(log: Log) -> VerificationReport:
    return await verify(log, None, lambda _: None, clock=lambda: NOON + 1)


async def test_a_line_is_forgotten_and_the_others_stay(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71", "2": "+72", "3": None})
    await shop.order("SO-1", {"1": "+73", "2": "+74"}, version=2)
    before = await log.history("o:SO-1")

    forgotten = await forget(log, "SO-1", "1")

    assert (forgotten.lines, forgotten.names, forgotten.direct) == (("1",), ("1/1", "2/1"), ())
    assert await readable(shop, OLD, "SO-1") == {"1/2": "+72", "2/2": "+74"}
    assert await log.history("o:SO-1") == before
    assert (await proof(log)).findings == ()


async def test_a_whole_order_is_forgotten(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71", "2": "+72"})
    await shop.order("SO-2", {"1": "+73"})

    assert (await forget(log, "SO-1")).lines == ("1", "2")
    assert (await forget(log, "SO-1")).names == ("1/1", "1/2")  # again, which changes nothing

    kept = await log.data_keys_of(["o:SO-1", "o:SO-2"])
    assert [envelope.is_forgotten(value) for one in kept for value in one.values()] == [True, True, False]
    assert (await proof(log)).findings == ()


async def test_nobody_is_found_where_there_is_no_order_or_no_line(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": None})

    assert await forgetting.known_of(log, "SO-2") is None
    assert await forgetting.known_of(log, "SO-1", "2") is None
    assert (await forget(log, "SO-1")).names == ()
    assert await forgetting.order_of(log, CODE) is None


async def test_a_damaged_recipient_is_in_the_way_of_nobody(shop: Shop, log: Log) -> None:
    lines = (PlannedLine("1", PRICE, b"\0\4half"),)
    await shop.writer.order("SO-1", r.Placed(1, False, "OnlineStore", "RUB", lines))

    assert (await forget(log, "SO-1")).names == ("1/1",)


async def test_an_order_that_a_scan_shows_twice_counts_once(
    shop: Shop, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.order("SO-1", {"1": "+71"})

    async def twice() -> AsyncIterator[str]:
        for _ in range(2):
            yield "o:SO-1"

    monkeypatch.setattr(log, "orders_with_data_keys", twice)

    assert (await rotate(log)).orders == 1


async def test_a_certificate_tells_its_order_and_line(shop: Shop, log: Log) -> None:
    await shop.direct_order("SO-1", "+71")

    assert await forgetting.order_of(log, CODE) == ("SO-1", "1")


async def test_messages_to_who_was_forgotten_are_ended_and_no_others(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71", "2": "+72"})
    (kept,) = await log.data_keys_of(["o:SO-1"])
    codes = {"1": "GC-00000001", "2": "GC-00000002"}
    ids = [
        await shop.queue(
            code, envelope.seal_again(OLD, b"4821", SMS, envelope.key_name("SO-1", 1, line), kept[f"1/{line}"])
        )
        for line, code in codes.items()
    ]
    await shop.queue("GC-00000003", OLD.seal(b"4821", SMS))
    await shop.queue("GC-00000004", b"\0\4half")

    forgotten = await forget(log, "SO-1", "1")

    assert await forgetting.end_messages(log, forgotten, ()) == 1
    assert await log.message_failures() == {ids[0]: forgetting.FORGOTTEN}
    assert await log.messages_waiting() == 3
    assert await forgetting.end_messages(log, forgotten, ()) == 0


async def test_a_recipient_of_the_first_version_is_marked_and_his_message_ended(shop: Shop, log: Log) -> None:
    await shop.direct_order("SO-1", "+71")
    message_id = await shop.queue(CODE, OLD.seal(b"4821", SMS))
    known = await forgetting.known_of(log, "SO-1")
    assert known is not None

    forgotten = await forget(log, "SO-1", "1")

    assert (forgotten.direct, forgotten.names, known.codes) == (("1",), ("0/1",), {"1": frozenset({CODE})})
    assert await forgetting.end_messages(log, forgotten, [CODE]) == 1
    assert message_id in await log.message_failures()


# --- rotation ---------------------------------------------------------------------------------------------------------


async def rotate(log: Log, vault: Vault = NEW) -> Rotated:
    return await rotation.rotate(log, vault, lambda *_: None)


async def needed(log: Log, *key_ids: int) -> Needed:
    return await rotation.needed(log, key_ids, lambda *_: None)


async def test_all_data_keys_are_sealed_anew_and_open_what_they_did(shop: Shop, log: Log) -> None:
    for number in range(20):
        await shop.order(f"SO-{number}", {"1": f"+7{number}", "2": "+72"})
    await forget(log, "SO-3")
    assert await rotation.unfinished(log, 2)
    before = await needed(log, 1)

    first, second = await rotate(log), await rotate(log)

    assert first == Rotated(orders=20, resealed=38, current=0, forgotten=2, unreadable=0)
    assert second == Rotated(orders=20, resealed=0, current=38, forgotten=2, unreadable=0)
    assert not await rotation.unfinished(log, 2)
    assert before == Needed(data_keys=38, messages=0, recipients=0)
    assert (await needed(log, 1)).total == 0
    shop.sealed = {name: sealed for name, sealed in shop.sealed.items() if name == "1/1"}  # of the last order
    assert await readable(shop, LATER, "SO-19") == {"1/1": "+719"}
    assert (await proof(log)).findings == ()


async def test_a_rotation_that_was_broken_off_goes_on(shop: Shop, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "GROUP", 1)
    for number in range(5):
        await shop.order(f"SO-{number}", {"1": "+71"})

    def stop(done: int, _total: int | None) -> None:
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await rotation.rotate(log, NEW, stop)

    assert await rotate(log) == Rotated(orders=5, resealed=2, current=3, forgotten=0, unreadable=0)


async def test_a_key_that_is_missing_is_counted_and_changes_nothing(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71"})

    assert await rotate(log, LATER) == Rotated(orders=1, resealed=0, current=0, forgotten=0, unreadable=1)
    assert await readable(shop, OLD, "SO-1") == {"1/1": "+71"}


async def test_a_key_of_the_same_number_that_is_another_one_opens_nothing(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71", "2": "+72"})
    await forget(log, "SO-1", "2")
    other = Vault(PEPPER, {1: b"\x09" * 32}, 1)

    assert await rotate(log, other) == Rotated(orders=1, resealed=0, current=0, forgotten=1, unreadable=1)
    assert await readable(shop, OLD, "SO-1") == {"1/1": "+71"}


async def test_data_keys_are_tried_and_those_that_do_not_open_are_told(shop: Shop, log: Log) -> None:
    for number in range(70):
        await shop.order(f"SO-{number}", {"1": "+71"})
    await forget(log, "SO-3")
    await rotate(log)

    assert await rotation.tried(log, NEW) == Tried(opened=69)
    assert (await rotation.tried(log, NEW, 1)).opened < 69, "of some orders alone"
    found = await rotation.tried(log, OLD)
    assert (found.opened, found.unopened, found.keys) == (0, 69, (2,))
    assert str(found).startswith("data keys that cannot be opened: 69 of 69, sealed with 2, as o:SO-")
    passed = {(f"o:SO-{number}", "1/1") for number in range(60)}
    assert (await rotation.tried(log, OLD, passed=passed)).unopened == 10


async def test_a_certificate_that_a_restore_has_shut_keeps_no_key_that_it_does_not_need(
    connect_client: Callable[[], Client],
) -> None:
    client = connect_client()
    log = RedisLog(client, partitions=PARTITIONS, allow_unsafe=True)
    shop = Shop(log)
    await shop.direct_order("SO-1", "+71")
    await shop.order("SO-2", {"1": "+72"})
    await shut(client, "gl", log, {CODE: 9})

    assert await needed(log, 1) == Needed(data_keys=1, messages=0, recipients=2)
    assert (await needed(log, 3)).total == 0
    await client.execute_command("DEL", Keys("gl", PARTITIONS).logs[partition_of("o:SO-2", PARTITIONS)] + "o:SO-2")
    assert (await needed(log, 3)).unread == 1, "shorter than its snapshot: more is wrong with it"

    await log.close()


async def test_who_is_forgotten_while_keys_are_rotated_stays_forgotten(
    shop: Shop, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.order("SO-1", {"1": "+71"})
    replace = log.replace_data_keys

    async def late(order: str, changes: Sequence[tuple[str, bytes, bytes]]) -> int:
        await forget(log, "SO-1")
        return await replace(order, changes)

    monkeypatch.setattr(log, "replace_data_keys", late)

    assert (await rotate(log)).resealed == 0
    assert await readable(shop, NEW, "SO-1") == {}


async def test_old_keys_are_needed_for_what_they_sealed_themselves(shop: Shop, log: Log) -> None:
    await shop.direct_order("SO-1", "+71")
    await shop.queue(CODE, OLD.seal(b"4821", SMS))

    assert await needed(log, 1) == Needed(data_keys=0, messages=1, recipients=2)
    assert (await needed(log, 2)).total == 0
    forgotten = await forget(log, "SO-1")
    await forgetting.end_messages(log, forgotten, [CODE])

    assert (await needed(log, 1)).total == 0


async def test_what_cannot_be_read_keeps_the_old_keys(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71"})
    await rotate(log)
    assert await log.append(Batch((Change("o:SO-2", 0, (b"no record at all",)),))) is None

    assert await needed(log, 1) == Needed(data_keys=0, messages=0, recipients=0, unread=1)


# --- the proof --------------------------------------------------------------------------------------------------------


def problems(report: VerificationReport) -> list[tuple[str, int | None, str]]:
    return [(finding.entity, finding.version, finding.problem) for finding in report.findings]


async def test_a_recipient_without_a_key_is_found(shop: Shop, log: Log) -> None:
    sealed, _ = envelope.seal_new(OLD, b"+71", RECIPIENT, envelope.key_name("SO-1", 1, "1"))
    await shop.writer.order("SO-1", r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE, sealed),)))

    lost = await proof(log)
    await log.forget_data_keys("o:SO-1", ["1/1"], envelope.tombstone(NOON))

    text = "the data key 1/1 is missing, and nobody forgot it: its recipient cannot be read"
    assert problems(lost) == [("o:SO-1", 1, text)]
    assert (await proof(log)).findings == ()


async def test_a_key_without_a_recipient_is_found(shop: Shop, log: Log) -> None:
    await shop.order("SO-1", {"1": "+71"})
    assert await log.append(Batch(data_keys=(DataKey("o:SO-1", "1/2", b"\1strange"),))) is None

    text = "the data key 1/2 opens nothing that stands in the records"
    assert problems(await proof(log)) == [("o:SO-1", 1, text)]


async def test_a_recipient_that_is_another_ones_is_found(shop: Shop, log: Log) -> None:
    sealed, _ = envelope.seal_new(OLD, b"+71", RECIPIENT, envelope.key_name("SO-2", 1, "1"))
    lines = (PlannedLine("1", PRICE, sealed), PlannedLine("2", PRICE, b"\0\4half"))
    await shop.writer.order("SO-1", r.Placed(1, False, "OnlineStore", "RUB", lines))

    assert problems(await proof(log)) == [
        ("o:SO-1", 1, "line 1: its recipient is sealed as that of o:SO-2 1/1"),
        ("o:SO-1", 1, "line 2: its recipient is sealed in an envelope that names no data key"),
    ]
