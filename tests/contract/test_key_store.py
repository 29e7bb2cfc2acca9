"""Where API keys are kept, in memory and on servers."""

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from msgspec.structs import replace

from persistence.errors import DamagedLogError
from persistence.keys import KEY_PREFIX, ClientKey, KeyStore, MemoryKeyStore, RedisKeyStore, hash_key, new_key
from persistence.redis_client import Client
from tests.contract.conftest import SERVERS, client_of
from tests.real.fixtures import ServerKind
from tests.real.redis import RealServer

KEY = ClientKey(key_id="k1", key_hash=hash_key("glk_one"), client="till-1", role="pos", channel="POS", created_at=1_000)


@pytest.fixture(params=("memory", *SERVERS))
async def store(
    request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]
) -> AsyncIterator[KeyStore]:
    if request.param == "memory":
        yield MemoryKeyStore()
        return
    client = client_of(request.param, start_shared)()
    yield RedisKeyStore("redis://unused", client=client)
    await client.aclose()


async def test_keys_are_kept_as_they_were_made_oldest_first(store: KeyStore) -> None:
    younger = replace(KEY, key_id="k0", created_at=2_000, channel=None)

    await store.add(younger)
    await store.add(KEY)

    assert list(await store.all()) == [KEY, younger]


async def test_an_id_is_given_once(store: KeyStore) -> None:
    await store.add(KEY)

    with pytest.raises(ValueError, match="k1"):
        await store.add(replace(KEY, client="till-2"))

    assert list(await store.all()) == [KEY]


async def test_a_revoked_key_stays_and_says_since_when(store: KeyStore) -> None:
    await store.add(KEY)

    assert await store.revoke("k1", 5_000)
    assert await store.revoke("k1", 9_000)

    assert list(await store.all()) == [replace(KEY, revoked_at=5_000)]


async def test_a_key_that_does_not_exist_cannot_be_revoked(store: KeyStore) -> None:
    assert not await store.revoke("k1", 5_000)
    await store.add(KEY)

    assert list(await store.all()) == [KEY]


async def test_an_empty_store_has_no_keys_and_closes_twice(store: KeyStore) -> None:
    assert list(await store.all()) == []

    await store.close()
    await store.close()


WHOLE = msgspec.json.encode(KEY)


@pytest.mark.parametrize(
    ("key", "revoked"),
    [
        (b"{", None),
        (WHOLE.replace(b"till-1", b"till-\xff"), None),
        (WHOLE.replace(hash_key("glk_one").encode(), b"no hash"), None),
        (WHOLE[:-1] + b',"unknown":' + b"[" * 3_000, None),
        (WHOLE, b"yesterday"),
    ],
    ids=["cut off", "not UTF-8", "no hash", "nested", "no time"],
)
async def test_what_is_no_key_is_told(connect_client: Callable[[], Client], key: bytes, revoked: bytes | None) -> None:
    client = connect_client()
    await client.execute_command("HSET", "gl:keys", "k1", key)
    if revoked is not None:
        await client.execute_command("HSET", "gl:keys:revoked", "k1", revoked)

    with pytest.raises(DamagedLogError, match="gl:keys"):
        await RedisKeyStore("redis://unused", client=client).all()

    await client.aclose()


@pytest.mark.real
async def test_a_store_that_made_its_client_closes_it(redis_url: str) -> None:
    store = RedisKeyStore(redis_url, "other")
    await store.add(KEY)

    await store.close()

    again = RedisKeyStore(redis_url, "other")
    assert list(await again.all()) == [KEY]
    await again.close()


def test_fresh_keys_differ_and_only_their_hashes_are_stored() -> None:
    (first, first_hash), (second, second_hash) = new_key(), new_key()

    assert first != second
    assert first.startswith(KEY_PREFIX)
    assert len(first) == len(KEY_PREFIX) + 43  # 256 bits in base64
    assert hash_key(first) == first_hash != second_hash
    assert hash_key("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
