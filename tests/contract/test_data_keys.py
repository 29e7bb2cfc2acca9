"""Data keys are kept beside the log, written with the records that need them, and forgotten for good."""

from collections.abc import Callable

import pytest

from persistence import envelope
from persistence.errors import StorageError
from persistence.log import Batch, Change, Conflict, DataKey, Log, partition_of
from persistence.redis_client import Client
from persistence.redis_keys import Keys
from persistence.redis_log import RedisLog
from tests.contract.conftest import NOON, PARTITIONS

pytestmark = pytest.mark.operator
ORDER, OTHER = "o:SO-1", "o:w:strange/1:d:x"
"""Orders; an id may hold whatever is visible, what keys are made of too."""
KEYS = Keys("gl", PARTITIONS)
STONE = envelope.tombstone(NOON)


def placed(*names: str, order: str = ORDER, expected: int = 0, sealed: bytes = b"sealed") -> Batch:
    """A record of an order, with the keys that it takes."""
    keys = tuple(DataKey(order, name, sealed + name.encode()) for name in names)
    return Batch((Change(order, expected, (b"record",)),), data_keys=keys)


async def all_orders(log: Log) -> set[str]:
    return {order async for order in log.orders_with_data_keys()}


async def test_keys_are_written_with_the_record_and_read_in_the_order_asked_for(log: Log) -> None:
    assert await log.append(placed("1/1", "1/2")) is None
    assert await log.append(placed("1/1", order=OTHER)) is None

    asked = [(ORDER, "1/2"), (OTHER, "1/1"), (ORDER, "2/1"), ("o:nobody", "1/1"), (ORDER, "1/1")]
    assert await log.data_keys(asked) == [b"sealed1/2", b"sealed1/1", None, None, b"sealed1/1"]
    assert await log.data_keys_of([OTHER, "o:nobody", ORDER]) == [
        {"1/1": b"sealed1/1"},
        {},
        {"1/1": b"sealed1/1", "1/2": b"sealed1/2"},
    ]
    assert await all_orders(log) == {ORDER, OTHER}
    assert await log.data_keys([]) == []
    assert await log.data_keys_of([]) == []


async def test_keys_of_a_batch_that_meets_another_writer_are_not_written(log: Log) -> None:
    assert await log.append(placed()) is None

    assert await log.append(placed("1/1")) == Conflict(stale=(ORDER,))

    assert await log.data_keys([(ORDER, "1/1")]) == [None]
    assert await all_orders(log) == set()


async def test_a_key_that_is_there_is_never_written_over(log: Log) -> None:
    assert await log.append(placed("1/1")) is None
    assert await log.append(placed("1/1", "2/1", expected=1, sealed=b"another")) is None

    assert await log.data_keys([(ORDER, "1/1"), (ORDER, "2/1")]) == [b"sealed1/1", b"another2/1"]


async def test_what_was_forgotten_stays_so_though_its_order_comes_again(log: Log) -> None:
    assert await log.append(placed("1/1", "1/2")) is None

    await log.forget_data_keys(ORDER, ["1/1"], STONE)
    await log.forget_data_keys(ORDER, ["1/1"], STONE)
    assert await log.append(placed("1/1", expected=1)) is None

    assert await log.data_keys([(ORDER, "1/1"), (ORDER, "1/2")]) == [STONE, b"sealed1/2"]


async def test_a_tombstone_can_stand_before_its_order_comes(log: Log) -> None:
    await log.forget_data_keys(ORDER, ["1/1"], STONE)

    assert await log.append(placed("1/1", "2/1")) is None

    assert await log.data_keys([(ORDER, "1/1"), (ORDER, "2/1")]) == [STONE, b"sealed2/1"]
    assert await all_orders(log) == {ORDER}


async def test_keys_are_replaced_only_as_long_as_they_are_what_they_were(log: Log) -> None:
    assert await log.append(placed("1/1", "1/2", "1/3")) is None
    await log.forget_data_keys(ORDER, ["1/2"], STONE)

    changes = [(name, b"sealed" + name.encode(), b"anew") for name in ("1/1", "1/2", "1/4")]
    assert await log.replace_data_keys(ORDER, changes) == 1
    assert await log.replace_data_keys(ORDER, changes) == 0

    assert await log.data_keys_of([ORDER]) == [{"1/1": b"anew", "1/2": STONE, "1/3": b"sealed1/3"}]


async def test_many_keys_of_one_order(log: Log) -> None:
    names = [f"1/{line}" for line in range(1_000)]
    assert await log.append(placed(*names)) is None

    (kept,) = await log.data_keys_of([ORDER])
    assert await log.replace_data_keys(ORDER, [(name, value, b"anew") for name, value in kept.items()]) == 1_000
    await log.forget_data_keys(ORDER, names, STONE)

    assert await log.data_keys_of([ORDER]) == [dict.fromkeys(names, STONE)]


async def test_entities_are_not_told_from_keys(log: Log) -> None:
    for order in (ORDER, OTHER, "o:d:x", "o:s:x"):
        assert await log.append(placed("1/1", order=order)) is None

    assert {entity async for entity in log.stored()} >= {ORDER, OTHER, "o:d:x", "o:s:x"}
    assert await all_orders(log) == {ORDER, OTHER, "o:d:x", "o:s:x"}


async def test_a_key_of_another_type_in_their_place_stops_the_whole_append(
    connect_client: Callable[[], Client],
) -> None:
    client = connect_client()
    log = RedisLog(client, partitions=PARTITIONS, allow_unsafe=True)
    try:
        await client.execute_command("SET", KEYS.data_keys[partition_of(ORDER, PARTITIONS)] + ORDER, "in the way")

        with pytest.raises(StorageError, match="WRONGTYPE"):
            await log.append(placed("1/1"))

        assert await log.history(ORDER) == []
    finally:
        await log.close()
