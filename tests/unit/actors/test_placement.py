"""Which actor an entity lives in: the same answer everywhere."""

from __future__ import annotations

from actors.placement import dedicated_name, may_be_dedicated, partitions_of, shard_name, shard_of
from persistence.log import partition_of


def test_shards_are_named_for_what_they_hold() -> None:
    assert shard_name("shared", 0) == "certificates:00"
    assert shard_name("dedicated", 11) == "orders:11"


def test_an_entity_lives_in_the_shard_that_keeps_its_timers() -> None:
    entities = [f"c:GC-{number:08}" for number in range(200)]

    for entity in entities:
        number = int(shard_of(entity, "shared", 3, 32).partition(":")[2])
        assert partition_of(entity, 32) in partitions_of(number, 3, 32)

    assert {shard_of(entity, "shared", 3, 32) for entity in entities} == {f"certificates:0{n}" for n in range(3)}


def test_each_partition_has_one_keeper() -> None:
    kept = [partition for number in range(5) for partition in partitions_of(number, 5, 32)]

    assert sorted(kept) == list(range(32))


def test_only_certificates_have_actors_of_their_own_and_only_if_asked_for() -> None:
    assert may_be_dedicated("c:GC-7K2M-9QXA", "dedicated")
    assert not may_be_dedicated("o:SO-1", "dedicated")
    assert not may_be_dedicated("c:GC-7K2M-9QXA", "shared")
    assert dedicated_name("c:GC-7K2M-9QXA") == "certificate:GC-7K2M-9QXA"
