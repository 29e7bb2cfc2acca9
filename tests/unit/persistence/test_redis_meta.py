"""What a ledger knows of itself, and what its keys are called."""

from collections.abc import AsyncIterator

import pytest

from persistence.errors import StorageUnsafeError
from persistence.forgetting import Forgotten, end_messages
from persistence.log import Batch, QueuedMessage, partition_of
from persistence.memory import MemoryLog
from persistence.redis_client import Client
from persistence.redis_keys import Keys
from persistence.redis_log import RedisLog
from persistence.redis_meta import found_or_join
from persistence.verification import verify
from tests.contract.fake_redis import fake_redis


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = fake_redis()
    yield made
    await made.aclose()


async def test_the_first_makes_the_ledger_and_the_others_join(client: Client) -> None:
    assert await found_or_join(client, "gl", 32, 1_000) == 32
    assert await found_or_join(client, "gl", 8, 2_000) == 32

    stored = await client.execute_command("HGETALL", "gl:meta")
    assert stored == {b"schema": b"1", b"partitions": b"32", b"created_at": b"1000"}


async def test_a_ledger_of_another_schema_is_refused(client: Client) -> None:
    await client.execute_command("HSET", "gl:meta", "schema", "2")

    with pytest.raises(StorageUnsafeError, match="schema 2"):
        await found_or_join(client, "gl", 32, 1_000)


async def test_every_log_is_tied_to_its_first_pepper(client: Client) -> None:
    for log in (MemoryLog(), RedisLog(client)):
        await log.bind_vault("one")
        await log.bind_vault("one")

        with pytest.raises(StorageUnsafeError, match="pepper one"):
            await log.bind_vault("two")


async def test_a_waiting_message_that_cannot_be_read_is_told_beside_the_others_and_can_be_settled(
    client: Client,
) -> None:
    log = RedisLog(client, partitions=4)
    partition = partition_of("c:GC-1", 4)
    whole = QueuedMessage("sms_2", "c:GC-1", b"sealed", 2, 2)
    await log.append(Batch(messages=(QueuedMessage("sms_1", "c:GC-1", b"", 1, 1), whole)))
    await client.execute_command("HSET", f"gl:{partition}:sms", "sms_1", b"\xc1")

    broken, other = await log.messages_due(2)
    seen = {one.message_id: one async for one in log.messages(partition)}
    report = await verify(log, None, lambda _: None)
    ended = await end_messages(log, Forgotten(order_id="SO-1", lines=("1",), names=("1/1",), at=1), ())
    await log.message_settle(broken, "unreadable")

    assert other == whole
    assert ended == 0, "it stays to be given up; nobody knows whose it is"
    assert (broken.message_id, broken.entity, broken.partition) == ("sms_1", "", partition)
    assert "cannot be read" in (broken.damage or "")
    assert seen == {"sms_1": broken, "sms_2": whole}
    assert any(one.entity == f"messages {partition}" and "sms_1" in one.problem for one in report.findings)
    assert await log.messages_due(2) == [whole]
    assert await log.message_failures() == {"sms_1": "unreadable"}


async def test_a_message_settled_while_it_is_read_does_not_come(client: Client) -> None:
    log = RedisLog(client, partitions=1)
    await client.execute_command("ZADD", "gl:0:sms:due", 1, "sms_1")

    assert await log.messages_due(1) == []


async def test_a_snapshot_that_says_no_version_is_shown_with_none(client: Client) -> None:
    log = RedisLog(client, partitions=1)
    await client.execute_command("SET", "gl:0:s:o:1", "nonsense")

    assert await log.snapshot("o:1") == (0, b"nonsense")


@pytest.mark.parametrize("prefix", ["gl", "a:b", "gl*", "x[1]?"])
def test_the_name_of_a_log_says_whose_it_is(prefix: str) -> None:
    keys = Keys(prefix, 40)

    assert keys.entity_of(keys.logs[7] + "o:with:colons") == "o:with:colons"
    assert keys.entity_of(keys.logs[39] + "c:GC-1") == "c:GC-1"


async def test_the_pattern_of_logs_matches_them_and_nothing_else(client: Client) -> None:
    keys = Keys("x[1]*", 2)
    for name in (keys.logs[1] + "o:1", keys.snapshots[1] + "o:1", keys.entities[0], "x1a:1:w:o:1", "x[1]b:0:w:o:2"):
        await client.execute_command("SET", name, "")

    assert await client.execute_command("KEYS", keys.any_log) == [(keys.logs[1] + "o:1").encode()]
