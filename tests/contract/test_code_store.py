"""Where imported codes are kept, in memory and on servers."""

from collections.abc import AsyncIterator, Callable
from typing import Self

import pytest

from persistence.codes import CODES_AT_ONCE, CodeStore, MemoryCodeStore, RedisCodeStore
from persistence.errors import DamagedLogError, StorageUnavailableError
from persistence.redis_client import Client
from persistence.settings import StorageSettings
from tests.contract.conftest import SERVERS, connects_to
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer

CODES = [f"GC-{number:08}" for number in range(CODES_AT_ONCE)]
INTEGERS_IN_A_SET_MAX = 512
"""``set-max-intset-entries``: up to here a set of numbers is an array."""


@pytest.fixture(params=("memory", *SERVERS))
async def store(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[CodeStore]:
    if request.param == "memory":
        yield MemoryCodeStore()
        return
    store = RedisCodeStore(connects_to(request.param, start_shared).client())
    yield store
    await store.close()


async def known(store: CodeStore, codes: list[str]) -> list[bool]:
    return [await store.known(code) for code in codes]


async def test_only_codes_that_were_added_are_known(store: CodeStore) -> None:
    assert await known(store, CODES[:2]) == [False, False]

    assert await store.add(CODES[:2]) == 2

    assert await known(store, CODES[:3]) == [True, True, False]


async def test_a_code_is_the_whole_of_it(store: CodeStore) -> None:
    await store.add(["GC-7K2M-9QXA"])

    others = ["GC-7K2M-9QX", "GC-7K2M-9QXAA", "gc-7k2m-9qxa", "GC7K2M9QXA", "XGC-7K2M-9QXA"]
    assert await known(store, others) == [False] * len(others)


async def test_adding_again_changes_nothing_and_tells_what_was_new(store: CodeStore) -> None:
    first = await store.add(CODES[:600])

    again = await store.add(CODES[:600])
    more = await store.add(CODES)

    assert (first, again, more) == (600, 0, len(CODES) - 600)
    assert all(await known(store, CODES))


async def test_none_is_none(store: CodeStore) -> None:
    assert await store.add([]) == 0


async def test_a_store_in_memory_can_have_codes_from_the_start_and_closes_twice() -> None:
    store = MemoryCodeStore(CODES[:1])

    assert await known(store, CODES[:2]) == [True, False]
    await store.close()
    await store.close()


async def test_two_prefixes_are_two_ledgers(connect_client: Callable[[], Client]) -> None:
    client = connect_client()
    await RedisCodeStore(client, "gl").add(CODES[:1])

    assert not await RedisCodeStore(client, "other").known(CODES[0])
    await client.aclose()


async def test_what_is_no_set_of_codes_is_told(connect_client: Callable[[], Client]) -> None:
    client = connect_client()
    store = RedisCodeStore(client)
    await store.add(CODES[:1])
    (key,) = await client.execute_command("KEYS", "gl:codes:*")
    await client.execute_command("SET", key, "no set")

    with pytest.raises(DamagedLogError):
        await store.known(CODES[0])
    await client.aclose()


@pytest.mark.real
async def test_codes_are_kept_as_numbers_in_arrays(redis_url: str) -> None:
    store = RedisCodeStore.at(StorageSettings(redis_url=redis_url, prefix="batches"))
    await store.add(CODES)
    client = store._client

    keys = await client.execute_command("KEYS", "batches:codes:*")
    kinds = {await client.execute_command("OBJECT", "ENCODING", key) for key in keys}
    sizes = [await client.execute_command("SCARD", key) for key in keys]

    assert kinds == {b"intset"}
    assert sum(sizes) == len(CODES)
    assert max(sizes) < INTEGERS_IN_A_SET_MAX
    await store.close()


@pytest.mark.real
@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)  # Debian's Redis knows no WAITAOF
async def test_codes_that_too_few_replicas_have_are_not_there_for_certain(redis_url: str) -> None:
    """Without any replica the one that is asked for never confirms."""
    settings = StorageSettings(redis_url=redis_url, prefix="replicated", replicas=1, timeout_seconds=5.0)
    store = RedisCodeStore.at(settings)
    store._wait_ms = 1

    with pytest.raises(StorageUnavailableError, match="0 of 1 replicas"):
        await store.add(CODES[:3])

    assert await known(store, CODES[:3]) == [True] * 3
    await store.close()


async def test_codes_that_enough_replicas_have_are_counted() -> None:
    """Scripted: three commands are answered, the last of them by the replicas."""
    sent: list[tuple[object, ...]] = []

    class Pipeline:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        def execute_command(self, *words: object) -> object:
            sent.append(words)
            return self

        async def execute(self) -> list[object]:
            return [*([1] * (len(sent) - 1)), (1, 2)]

    class Scripted:
        def pipeline(self, transaction: bool) -> Pipeline:  # noqa: FBT001 - redis-py's own signature
            assert not transaction
            return Pipeline()

    store = RedisCodeStore(Scripted(), replicas=2, timeout_seconds=5.0)  # type: ignore[arg-type]  # as much as is used

    assert await store.add(CODES[:3]) == 3
    assert sent[-1] == ("WAITAOF", 1, 2, 4_000)
    assert {words[0] for words in sent[:-1]} == {"SADD"}
