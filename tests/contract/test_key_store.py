"""Where API keys are kept, in memory and on servers."""

import re
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from msgspec.structs import replace

from persistence.errors import DamagedLogError
from persistence.keys import (
    KEY_PREFIX,
    ClientKey,
    KeyStore,
    MemoryKeyStore,
    RedisKeyStore,
    hash_key,
    is_whole,
    new_key,
)
from persistence.redis_client import Client
from tests.contract.conftest import SERVERS, connects_to
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
    client = connects_to(request.param, start_shared).client()
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


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_a_key_may_have_an_end_from_the_beginning(store: KeyStore) -> None:
    key = replace(KEY, expires_at=9_000)

    assert await store.add(key)

    assert list(await store.all()) == [key]
    assert not key.ended(8_999)
    assert key.ended(9_000)


async def test_a_key_that_is_replaced_gets_an_end_with_the_new_one(store: KeyStore) -> None:
    await store.add(KEY)
    younger = replace(KEY, key_id="k2", created_at=2_000, expires_at=90_000)

    assert await store.add(younger, known=1, replaced=KEY, ends_at=7_000)

    assert list(await store.all()) == [replace(KEY, expires_at=7_000), younger]


async def test_an_end_that_was_planned_can_be_brought_forward(store: KeyStore) -> None:
    key = replace(KEY, expires_at=9_000)
    await store.add(key)

    assert await store.add(replace(KEY, key_id="k2", created_at=2_000), known=1, replaced=key, ends_at=7_000)

    assert (await store.all())[0].expires_at == 7_000


async def test_nothing_is_done_if_there_is_another_key_by_now(store: KeyStore) -> None:
    await store.add(KEY)
    other = replace(KEY, key_id="k2", created_at=2_000)
    await store.add(other)

    assert not await store.add(replace(KEY, key_id="k3"), known=1)
    assert not await store.add(replace(KEY, key_id="k3"), known=1, replaced=KEY, ends_at=7_000)

    assert list(await store.all()) == [KEY, other]


async def test_nothing_is_done_if_the_key_that_is_replaced_has_another_end_by_now(store: KeyStore) -> None:
    await store.add(KEY)
    await store.revoke("k1", 5_000)

    assert not await store.add(replace(KEY, key_id="k2"), known=1, replaced=KEY, ends_at=7_000)

    assert list(await store.all()) == [replace(KEY, revoked_at=5_000)]


async def test_an_id_that_is_taken_leaves_the_other_key_as_it_was(store: KeyStore) -> None:
    await store.add(KEY)

    with pytest.raises(ValueError, match="k1"):
        await store.add(replace(KEY, client="till-2"), replaced=KEY, ends_at=7_000)

    assert list(await store.all()) == [KEY]


@pytest.mark.parametrize("at", [5_000, 9_000, 20_000])
async def test_a_revoked_key_has_ended_whatever_a_clock_says(store: KeyStore, at: int) -> None:
    await store.add(replace(KEY, expires_at=9_000))

    assert await store.revoke("k1", at)
    assert await store.revoke("k1", at + 1)

    (key,) = await store.all()
    assert key.revoked_at == at
    assert key.ended(0)


# --- the use of keys -------------------------------------------------------------------------------------------------


async def test_the_last_use_of_a_key_is_kept_and_never_goes_back(store: KeyStore) -> None:
    assert await store.used() == {}

    await store.note_used({"k1": 1_795_521_600_123, "k2": 5_000})
    await store.note_used({"k1": 1_795_521_600_122, "k2": 6_000, "k3": 1})

    assert await store.used() == {"k1": 1_795_521_600_123, "k2": 6_000, "k3": 1}


# --- other versions --------------------------------------------------------------------------------------------------


async def test_keys_of_before_are_read(connect_client: Callable[[], Client]) -> None:
    client = connect_client()
    stored = (
        b'{"key_id":"k1","key_hash":"%s","client":"till-1","role":"pos","channel":"POS","created_at":1000,'
        b'"revoked_at":null}' % KEY.key_hash.encode()
    )
    await client.execute_command("HSET", "gl:keys", "k1", stored, "k2", stored.replace(b'"k1"', b'"k2"'))
    await client.execute_command("HSET", "gl:keys:revoked", "k2", 5_000)

    found = list(await RedisKeyStore("redis://unused", client=client).all())

    assert found == [KEY, replace(KEY, key_id="k2", revoked_at=5_000)]
    await client.aclose()


async def test_a_version_that_knows_no_ends_refuses_a_key_that_has_one(connect_client: Callable[[], Client]) -> None:
    client = connect_client()
    store = RedisKeyStore("redis://unused", client=client)
    await store.add(KEY)
    await store.add(replace(KEY, key_id="k2", expires_at=9_000), replaced=KEY, ends_at=7_000)
    await store.add(replace(KEY, key_id="k3"))

    # as that version reads: whatever stands there is revoked
    revoked = await client.execute_command("HGETALL", "gl:keys:revoked")

    assert {key_id: int(at) for key_id, at in revoked.items()} == {b"k1": 7_000, b"k2": 9_000}
    await client.aclose()


@pytest.mark.real
async def test_a_store_that_made_its_client_closes_it(redis_url: str) -> None:
    store = RedisKeyStore(redis_url, "other")
    await store.add(KEY)

    await store.close()

    again = RedisKeyStore(redis_url, "other")
    assert list(await again.all()) == [KEY]
    await again.close()


# --- the text of a key -----------------------------------------------------------------------------------------------


def test_fresh_keys_differ_and_only_their_hashes_are_stored() -> None:
    (first, first_hash), (second, second_hash) = new_key(), new_key()

    assert first != second
    assert re.fullmatch(KEY_PREFIX + "[0-9A-Za-z]{49}", first)  # 256 bits in base 62, and their check
    assert hash_key(first) == first_hash != second_hash
    assert hash_key("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_what_only_looks_like_a_key_is_none() -> None:
    text, _ = new_key()

    assert is_whole(text)
    for place in range(len(KEY_PREFIX), len(text)):
        assert not is_whole(text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :])
    for other in ("", KEY_PREFIX, text[:-1], text + "0", text[1:], "x" + text[1:], KEY_PREFIX + "x" * 43):
        assert not is_whole(other)


def test_the_check_of_a_key_is_for_ever() -> None:
    # scanners know it: the CRC-32 of the 43 digits, in base 62
    assert is_whole("glk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg37cCQ0")
