"""Where administrative acts are kept, in memory and on servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b

import pytest

from persistence import acts
from persistence.acts import ActStore, RedisActStore
from persistence.codec import LINK_BYTES, START, Position
from persistence.errors import DamagedLogError
from persistence.memory_acts import MemoryActStore
from persistence.redis_client import Client
from tests.contract.conftest import NOON, SERVERS, connects_to
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer

ANNA = ("anna", "desk-1")


@pytest.fixture(params=("memory", *SERVERS))
async def store(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[ActStore]:
    if request.param == "memory":
        yield MemoryActStore()
        return
    client = connects_to(request.param, start_shared).client()
    yield RedisActStore(client)
    await client.aclose()


async def note(store: ActStore, count: int = 1) -> None:
    for number in range(count):
        await acts.note(store, NOON + number, ANNA, "keys revoke", "begun", {"keyId": f"k_{number}"})


async def read(store: ActStore) -> list[acts.Act]:
    return [acts.decode(one) async for _, page in acts.pages(store) for one in page]


async def test_an_empty_stream_ends_where_it_begins(store: ActStore) -> None:
    assert await store.end() == START
    assert await store.page(0) == []
    assert await acts.problems(store) == []


async def test_entries_come_back_in_the_order_in_which_they_were_noted(store: ActStore) -> None:
    first = await acts.note(store, NOON, ANNA, "keys revoke", "begun", {"keyId": "k_1"})
    second = await acts.note(store, NOON + 5, ANNA, "keys revoke", "done", {"keyId": "k_1", "client": "till"}, first)

    assert (first, second) == (1, 2)
    assert await read(store) == [
        acts.Act(1, 1, NOON, "anna", "desk-1", "keys revoke", "begun", 1, {"keyId": "k_1"}),
        acts.Act(1, 2, NOON + 5, "anna", "desk-1", "keys revoke", "done", 1, {"keyId": "k_1", "client": "till"}),
    ]
    assert (await store.end()).version == 2


async def test_a_page_begins_behind_what_was_read_and_is_bounded(store: ActStore) -> None:
    await note(store, 5)

    assert [acts.decode(one).number for one in await store.page(1, 3)] == [2, 3, 4]
    assert await store.page(5) == []


async def test_of_two_who_have_seen_the_same_end_one_appends(store: ActStore) -> None:
    await note(store)
    before = await store.end()
    entry = acts.Act(1, 2, NOON, *ANNA, "forget", "begun", 2)
    stored, after = acts.encode(before, entry)

    assert await store.append(stored, before, after)
    assert not await store.append(stored, before, after)
    assert not await store.append(stored, START, after)
    assert not await store.append(stored, Position(before.version, bytes(LINK_BYTES)), after)

    assert await store.end() == after
    assert len(await read(store)) == 2


async def test_all_who_append_at_once_have_an_entry_each(store: ActStore) -> None:
    numbers = await asyncio.gather(
        *(acts.note(store, NOON, ANNA, "keys revoke", "begun", {"keyId": f"k_{number}"}) for number in range(8))
    )

    assert sorted(numbers) == list(range(1, 9))
    assert {act.facts["keyId"] for act in await read(store)} == {f"k_{number}" for number in range(8)}
    assert await acts.problems(store) == []


async def test_names_and_facts_have_a_length(store: ActStore) -> None:
    long = "x" * 10_000

    await acts.note(store, NOON, (long, long), "codes import", "begun", {"file": long})

    (act,) = await read(store)
    assert {len(text) for text in (act.user, act.host, act.facts["file"])} == {acts.FACT_CHARACTERS_MAX}


async def test_it_closes_twice(store: ActStore) -> None:
    await store.close()
    await store.close()


# --- what was changed -------------------------------------------------------------------------------------------------


@pytest.fixture(params=SERVERS)
async def client(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[Client]:
    client = connects_to(request.param, start_shared).hand()
    await note(RedisActStore(client), 5)
    yield client
    await client.aclose()


async def found(client: Client) -> list[tuple[int | None, str]]:
    return await acts.problems(RedisActStore(client))


async def test_a_whole_stream_is_in_order_and_two_prefixes_are_apart(client: Client) -> None:
    await note(RedisActStore(client, "other"))

    assert await found(client) == []
    assert (await RedisActStore(client).end()).version == 5
    assert {*await client.execute_command("KEYS", "*")} == {
        b"gl:acts",
        b"gl:acts:end",
        b"other:acts",
        b"other:acts:end",
    }


@pytest.mark.parametrize(
    ("commands", "number", "problem"),
    [
        ([("LSET", "gl:acts", 2, b"0123456789abcdef\x93")], 3, "the chain breaks here"),
        ([("LSET", "gl:acts", 1, b"gone"), ("LREM", "gl:acts", 1, b"gone")], 2, "the chain breaks here"),
        ([("LPOP", "gl:acts")], 1, "the chain breaks here"),
        ([("LPUSH", "gl:acts", b"more")], 1, "the chain breaks here"),
        ([("RPOP", "gl:acts")], 5, "entries up to 5 were written, and are missing"),
        ([("DEL", "gl:acts")], 1, "entries up to 5 were written, and are missing"),
        ([("DEL", "gl:acts:end")], 1, "nobody has appended this entry"),
        ([("SET", "gl:acts:end", b"5|0123456789abcdef")], 5, "it is not the entry that was written there"),
    ],
)
async def test_what_was_changed_is_found(
    client: Client, commands: list[tuple[str | bytes | int, ...]], number: int, problem: str
) -> None:
    for command in commands:
        await client.execute_command(*command)

    ((where, what),) = await found(client)

    assert where == number
    assert problem in what


async def test_an_entry_that_was_appended_past_the_end_is_found(client: Client) -> None:
    store = RedisActStore(client)
    stored, _ = acts.encode(await store.end(), acts.Act(1, 6, NOON, *ANNA, "forget", "begun", 6))
    await client.execute_command("RPUSH", "gl:acts", stored)

    assert await found(client) == [(6, "nobody has appended this entry")]


async def test_a_well_chained_entry_that_has_another_number_is_found(client: Client) -> None:
    store = RedisActStore(client)
    before = await store.end()
    stored, after = acts.encode(before, acts.Act(1, 9, NOON, *ANNA, "forget", "begun", 9))
    assert await store.append(stored, before, Position(6, after.link))

    assert await found(client) == [(6, "the entry says that it is number 9")]


async def test_a_well_chained_entry_that_is_none_is_found(client: Client) -> None:
    store = RedisActStore(client)
    before = await store.end()
    body = b"\x91"
    link = blake2b(before.link + body, digest_size=LINK_BYTES).digest()
    assert await store.append(link + body, before, Position(6, link))

    ((where, what),) = await found(client)

    assert where is None
    assert "stored bytes are not an administrative act" in what


@pytest.mark.parametrize("end", [b"", b"5", b"x|0123456789abcdef", b"5|short", b"9" * 20 + b"|0123456789abcdef"])
async def test_an_end_that_is_none_is_told(client: Client, end: bytes) -> None:
    await client.execute_command("SET", "gl:acts:end", end)

    assert await found(client) == [(None, "the end of the administrative acts is not one that was written")]
    with pytest.raises(DamagedLogError, match="the end of the administrative acts"):
        await acts.note(RedisActStore(client), NOON, ANNA, "forget", "begun", {})
