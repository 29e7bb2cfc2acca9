"""Whatever somebody changes by hand on a server is found, and nothing else is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from ledger.identifiers import MESSAGE, identifier
from persistence.log import Log, partition_of
from persistence.redis_client import Client, Word
from persistence.redis_keys import Keys
from persistence.verification import Progress, VerificationReport, verify
from tests.contract.conftest import PARTITIONS, SERVERS, Storage, connects_to, user_of
from tests.contract.histories import NOON, PRICE, Writer, acknowledge_all
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer

ONE, TWO, HELD = "GC-00000001", "GC-00000002", "GC-00000003"
ORDER, OPEN = "SO-1", "SO-2"
KEYS: Final = Keys("gl", PARTITIONS)
pytestmark = pytest.mark.operator
RECORDS: Final = 54


class Hand:
    """Somebody with a client and no good intentions."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def do(self, *words: Word) -> Any:  # noqa: ANN401 - as the command answers
        return await self._client.execute_command(*words)

    async def flip(self, key: str, index: int, at: int) -> None:
        """Change one bit of one byte of a list's entry."""
        entry = bytearray(await self.do("LINDEX", key, index))
        entry[at] ^= 1
        await self.do("LSET", key, index, bytes(entry))

    async def entries(self, key: str) -> list[bytes]:
        found: list[bytes] = await self.do("LRANGE", key, 0, -1)
        return found

    async def replace_list(self, key: str, entries: list[bytes]) -> None:
        await self.do("DEL", key)
        await self.do("RPUSH", key, *entries)


def log_of(entity: str) -> str:
    return KEYS.logs[partition_of(entity, PARTITIONS)] + entity


def snapshot_of(entity: str) -> str:
    return KEYS.snapshots[partition_of(entity, PARTITIONS)] + entity


def outbox_of(code: str) -> str:
    return KEYS.outboxes[partition_of(f"c:{code}", PARTITIONS)]


def timers_of(entity: str) -> str:
    return KEYS.timers[partition_of(entity, PARTITIONS)]


def register_of(entity: str) -> str:
    return KEYS.entities[partition_of(entity, PARTITIONS)]


async def fill(log: Log) -> None:
    """Two certificates that were sold and used, with snapshots; one that is reserved; orders; everything waits."""
    writer = Writer(log)
    await writer.sell(ORDER, ONE, TWO, snapshot=True)
    await acknowledge_all(log)
    await writer.spend(ONE, 1_000, 5)
    await writer.spend(TWO, 500, 5, snapshot=True)
    await writer.spend(TWO, 700, 5)
    await writer.reserve(OPEN, [HELD])


@pytest.fixture(params=SERVERS)
async def storage(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        made = connects_to(request.param, start_shared, user_of(request))
        yield Storage(request.param, made.client, stack, made.hand)


@pytest.fixture
async def filled(storage: Storage) -> Log:
    log = storage.log()
    await fill(log)
    return log


@pytest.fixture
def hand(storage: Storage) -> Hand:
    return Hand(storage.client())


async def proof(log: Log, *entities: str) -> VerificationReport:
    """What verification finds shortly after the history was written."""
    return await verify(log, entities or None, lambda _: None, clock=lambda: NOON + 1)


def problems(report: VerificationReport) -> list[tuple[str, int | None, str]]:
    return [(one.entity, one.version, one.problem) for one in report.findings]


async def test_a_sound_log_has_no_findings(filled: Log) -> None:
    progress: list[Progress] = []

    report = await verify(filled, None, progress.append, clock=lambda: NOON + 1)

    assert problems(report) == []
    assert report.undecided == ()
    assert (report.entities, report.certificates, report.orders) == (5, 3, 2)
    assert (
        report.records
        == progress[-1].records
        == sum([len(await filled.history(f"c:{code}")) for code in (ONE, TWO, HELD)])
        + (sum([len(await filled.history(f"o:{order}")) for order in (ORDER, OPEN)]))
    )
    assert report.balances == {"RUB": 2 * PRICE - 5 * 1_000 - 5 * 500 - 5 * 700}
    assert report.held == {"RUB": 0}
    assert report.publications_waiting == sum(await filled.outbox_sizes()) > 0
    assert report.messages_waiting == 2
    assert [one.records for one in progress] == sorted(one.records for one in progress)
    assert (progress[-1].entities, progress[-1].total) == (5, 5)


async def test_an_empty_log_has_no_findings(storage: Storage) -> None:
    report = await proof(storage.log())

    assert (problems(report), report.entities, report.records) == ([], 0, 0)


async def test_a_log_that_was_published_has_no_findings(filled: Log) -> None:
    await acknowledge_all(filled)

    report = await proof(filled)

    assert problems(report) == []
    assert report.publications_waiting == 0


async def test_every_number_of_publications_may_have_been_acknowledged(filled: Log) -> None:
    partition = partition_of(f"c:{ONE}", PARTITIONS)
    head = (await filled.outbox(partition)).head
    for _ in range((await filled.outbox(partition)).size):
        assert problems(await proof(filled)) == []
        assert await filled.acknowledge(partition, head, 1)
        head += 1


async def test_single_entities_can_be_verified(filled: Log) -> None:
    report = await proof(filled, f"c:{ONE}", f"o:{OPEN}", f"c:{ONE}")

    assert problems(report) == []
    assert (report.certificates, report.orders) == (1, 1)


async def test_only_what_was_asked_for_is_verified(filled: Log, hand: Hand) -> None:
    await hand.flip(log_of(f"c:{TWO}"), 4, 30)

    assert problems(await proof(filled, f"c:{ONE}")) == []
    assert [finding.version for finding in (await proof(filled, f"c:{TWO}")).findings] == [5]


@pytest.mark.parametrize("index", [0, 6, -1])
async def test_any_changed_byte_of_a_record_is_found(filled: Log, hand: Hand, index: int) -> None:
    key = log_of(f"c:{ONE}")
    length = await hand.do("LLEN", key)
    version = index % length + 1
    for at in range(len(await hand.do("LINDEX", key, index))):
        await hand.flip(key, index, at)
        report = await proof(filled, f"c:{ONE}")
        assert (f"c:{ONE}", version) in [(finding.entity, finding.version) for finding in report.findings]
        await hand.flip(key, index, at)
    assert problems(await proof(filled)) == []


async def test_a_changed_byte_in_an_order_is_found(filled: Log, hand: Hand) -> None:
    await hand.flip(log_of(f"o:{OPEN}"), 1, 40)

    report = await proof(filled)

    assert [(one.entity, one.version) for one in report.findings] == [(f"o:{OPEN}", 2)]


Damage = Callable[[Hand], Awaitable[object]]


async def _swap(hand: Hand, key: str, first: int, second: int) -> None:
    entries = await hand.entries(key)
    entries[first], entries[second] = entries[second], entries[first]
    await hand.replace_list(key, entries)


async def _without(hand: Hand, key: str, index: int) -> None:
    entries = await hand.entries(key)
    del entries[index]
    await hand.replace_list(key, entries)


async def _with(hand: Hand, key: str, index: int) -> None:
    entries = await hand.entries(key)
    entries.insert(index, entries[index])
    await hand.replace_list(key, entries)


async def _flip_string(hand: Hand, key: str, at: int) -> None:
    value = bytearray(await hand.do("GET", key))
    value[at] ^= 1
    await hand.do("SET", key, bytes(value))


async def _copy_message(hand: Hand, name: str) -> None:
    partition = partition_of(f"c:{ONE}", PARTITIONS)
    value = await hand.do("HGET", KEYS.messages[partition], identifier(MESSAGE, ONE, 3))
    await hand.do("HSET", KEYS.messages[partition], name, value)
    await hand.do("ZADD", KEYS.messages_due[partition], NOON, name)


async def _move_publication(hand: Hand) -> None:
    entry = await hand.do("RPOP", outbox_of(ONE))
    partition = (partition_of(f"c:{ONE}", PARTITIONS) + 1) % PARTITIONS
    await hand.do("RPUSH", KEYS.outboxes[partition], entry)


C1, C2, C3, O1, O2 = f"c:{ONE}", f"c:{TWO}", f"c:{HELD}", f"o:{ORDER}", f"o:{OPEN}"
DAMAGES: Final[dict[str, tuple[Damage, str, str]]] = {
    "first record dropped": (lambda hand: hand.do("LPOP", log_of(C1)), C1, "chain breaks"),
    "record dropped in the middle": (lambda hand: _without(hand, log_of(C1), 4), C1, "chain breaks"),
    "last record dropped": (lambda hand: hand.do("RPOP", log_of(C1)), C1, "records were lost"),
    "last record of an order dropped": (lambda hand: hand.do("RPOP", log_of(O2)), O2, "records were lost"),
    "records behind the snapshot dropped": (lambda hand: hand.do("LTRIM", log_of(C2), 0, 7), C2, "records were lost"),
    "whole log dropped": (lambda hand: hand.do("DEL", log_of(C3)), C3, "records were lost"),
    "records swapped": (lambda hand: _swap(hand, log_of(C1), 4, 5), C1, "chain breaks"),
    "record doubled": (lambda hand: _with(hand, log_of(C1), 4), C1, "chain breaks"),
    "last record doubled": (lambda hand: _with(hand, log_of(C1), -1), C1, "chain breaks"),
    "nonsense appended": (lambda hand: hand.do("RPUSH", log_of(C1), "nonsense"), C1, "chain breaks"),
    "log moved to another code": (
        lambda hand: hand.do("COPY", log_of(C1), log_of(C3), "REPLACE"),
        C3,
        "records were lost",
    ),
    "log replaced by another type": (lambda hand: hand.do("SET", log_of(C1), "x"), C1, "WRONGTYPE"),
    "log under a strange name": (
        lambda hand: hand.do("RPUSH", log_of("c:GC-STRANGER"), "x"),
        "c:GC-STRANGER",
        "register",
    ),
    "log in a partition that is not its own": (
        lambda hand: hand.do("RPUSH", f"gl:{(partition_of('o:SO-9', PARTITIONS) + 1) % PARTITIONS}:w:o:SO-9", "x"),
        "o:SO-9",
        "nobody reads",
    ),
    "entity taken out of the register": (lambda hand: hand.do("HDEL", register_of(C1), C1), C1, "register"),
    "version in the register raised": (lambda hand: hand.do("HSET", register_of(O1), O1, 99), O1, "says version 99"),
    "entity in the register that never was": (
        lambda hand: hand.do("HSET", register_of("c:GC-NEVER-WAS"), "c:GC-NEVER-WAS", 3),
        "c:GC-NEVER-WAS",
        "records were lost",
    ),
    "snapshot state changed": (lambda hand: _flip_string(hand, snapshot_of(C2), -1), C2, "snapshot"),
    "snapshot link changed": (lambda hand: _flip_string(hand, snapshot_of(C2), 5), C2, "differs in link"),
    "snapshot schema changed": (lambda hand: _flip_string(hand, snapshot_of(C2), 19), C2, "snapshot"),
    "snapshot version changed": (lambda hand: _flip_string(hand, snapshot_of(C2), 1), C2, "snapshot"),
    "snapshot version made nonsense": (lambda hand: hand.do("SETRANGE", snapshot_of(C2), 0, "x"), C2, "snapshot"),
    "snapshot version made enormous": (lambda hand: hand.do("SET", snapshot_of(C2), "9" * 30 + "|"), C2, "snapshot"),
    "snapshot of an order changed": (lambda hand: _flip_string(hand, snapshot_of(O1), -1), O1, "snapshot"),
    "snapshot of another certificate": (
        lambda hand: hand.do("COPY", snapshot_of(C2), snapshot_of(C3), "REPLACE"),
        C3,
        "snapshot",
    ),
    "publication changed": (lambda hand: hand.flip(outbox_of(ONE), -1, -10), C1, "changed, dropped or moved"),
    "publication made nonsense": (lambda hand: hand.do("LSET", outbox_of(ONE), -1, "x"), "outbox", "not a publication"),
    "first publication removed": (lambda hand: hand.do("LPOP", outbox_of(ONE)), "outbox", "were ever put into it"),
    "publication removed in the middle": (
        lambda hand: _without(hand, outbox_of(ONE), 2),
        C1,
        "changed, dropped or moved",
    ),
    "last publication removed": (lambda hand: hand.do("RPOP", outbox_of(ONE)), C1, "missing from the outbox"),
    "publications swapped": (lambda hand: _swap(hand, outbox_of(ONE), 1, 2), C1, "changed, dropped or moved"),
    "publication doubled": (lambda hand: _with(hand, outbox_of(ONE), 1), C1, "changed, dropped or moved"),
    "last publication doubled": (lambda hand: _with(hand, outbox_of(ONE), -1), C1, "there is no record"),
    "publication in another partition": (_move_publication, C1, "not its own"),
    "acknowledged number changed": (
        lambda hand: hand.do("INCR", KEYS.heads[partition_of(C1, PARTITIONS)]),
        "outbox",
        "were ever put into it",
    ),
    "timer removed": (lambda hand: hand.do("ZREM", timers_of(C1), C1), C1, "no timer"),
    "timer of a reservation removed": (lambda hand: hand.do("ZREM", timers_of(C3), C3), C3, "no timer"),
    "timer put off": (lambda hand: hand.do("ZADD", timers_of(C1), NOON + 10**12, C1), C1, "its timer is set to"),
    "timer of nobody": (
        lambda hand: hand.do("ZADD", timers_of("c:GC-NEVER-WAS"), NOON, "c:GC-NEVER-WAS"),
        "c:GC-NEVER-WAS",
        "no record",
    ),
    "message of another version": (
        lambda hand: _copy_message(hand, identifier(MESSAGE, ONE, 4)),
        C1,
        "no record sends",
    ),
    "message with a strange name": (lambda hand: _copy_message(hand, "sms_x"), C1, "no record sends"),
    "message without a time": (
        lambda hand: hand.do("DEL", KEYS.messages_due[partition_of(C1, PARTITIONS)]),
        C1,
        "never be sent",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found(filled: Log, hand: Hand, name: str) -> None:
    damage, entity, problem = DAMAGES[name]
    await damage(hand)

    report = await proof(filled)

    matching = [one for one in report.findings if one.entity.startswith(entity) and problem in one.problem]
    assert matching, problems(report)
    assert report.undecided == ()


@pytest.mark.parametrize("name", [name for name in DAMAGES if DAMAGES[name][1] == C1 and "another" not in name])
async def test_damage_is_found_when_only_its_certificate_is_verified(filled: Log, hand: Hand, name: str) -> None:
    damage, entity, problem = DAMAGES[name]
    await damage(hand)

    report = await proof(filled, entity)

    assert any(problem in one.problem for one in report.findings), problems(report)
    assert {one.entity for one in report.findings} == {entity}


async def test_damage_to_one_entity_is_not_laid_on_another(filled: Log, hand: Hand) -> None:
    await hand.flip(log_of(C1), 0, 0)

    report = await proof(filled)

    assert [(one.entity, one.version) for one in report.findings] == [(C1, 1)]
