"""Imported codes on a real server: what was said to be there is there, whatever happened to the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gift_ledger.cli.doors import open_codes
from gift_ledger.cli.probes import NoLedgerError
from gift_ledger.codes.importing import ImportBrokenError, import_codes
from gift_ledger.codes.minting import minted
from persistence.codes import CODES_AT_ONCE, RedisCodeStore
from persistence.copying import claim
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.redis import RealServer

pytestmark = pytest.mark.real

CODES = list(minted(4 * CODES_AT_ONCE, "GC"))
WAIT_SECONDS = 60.0


def storage_of(server: RealServer) -> StorageSettings:
    return StorageSettings(redis_url=server.url, timeout_seconds=WAIT_SECONDS)


async def known(store: RedisCodeStore, codes: list[str]) -> int:
    return sum([await store.known(code) for code in codes])


@pytest.mark.parametrize("pages", [0, 1, 3])
async def test_a_server_that_is_killed_in_the_middle_of_an_import_loses_nothing_of_it(
    own_redis: RealServer, pages: int
) -> None:
    def codes() -> Iterator[str]:
        for number, code in enumerate(CODES):
            if number == pages * CODES_AT_ONCE:
                own_redis.kill()
            yield code

    store = RedisCodeStore.at(storage_of(own_redis))
    with pytest.raises(ImportBrokenError, match=f"{pages * CODES_AT_ONCE:,} of 4,000 codes are there for certain"):
        await import_codes(store, codes(), len(CODES), lambda _: None)
    await store.close()

    await asyncio.to_thread(own_redis.start)
    store = RedisCodeStore.at(storage_of(own_redis))
    there = await known(store, CODES[: pages * CODES_AT_ONCE])
    again = await import_codes(store, CODES, len(CODES), lambda _: None)
    after = await known(store, CODES)
    await store.close()

    assert there == pages * CODES_AT_ONCE
    assert (again.new, again.known) == (len(CODES) - there, there)
    assert after == len(CODES)


async def test_two_imports_of_one_batch_at_once_come_to_one(redis_server: RealServer) -> None:
    stores = [RedisCodeStore.at(storage_of(redis_server)) for _ in range(2)]

    both = await asyncio.gather(*(import_codes(store, CODES, len(CODES), lambda _: None) for store in stores))

    assert sum(one.new for one in both) == len(CODES)
    assert sum(one.known for one in both) == len(CODES)
    for store in stores:
        await store.close()


async def test_codes_are_imported_beside_a_ledger_alone(redis_server: RealServer) -> None:
    storage = storage_of(redis_server)
    with pytest.raises(NoLedgerError, match="There is no ledger"):
        await open_codes(storage)

    log = await RedisLog.open(storage)
    await log.close()
    store = await open_codes(storage)

    assert await store.add(CODES[:2]) == 2
    await store.close()


async def test_nothing_is_imported_while_a_restore_is_under_way(redis_server: RealServer) -> None:
    client = connect(redis_server.url, connections_max=2, timeout_seconds=WAIT_SECONDS)
    await claim(client, "gl")

    with pytest.raises(NoLedgerError):
        await open_codes(storage_of(redis_server))

    assert await client.execute_command("KEYS", "gl:codes:*") == []
    await client.aclose()
