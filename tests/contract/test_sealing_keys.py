"""A ledger knows its sealing keys by their numbers, and takes no other key for one of them."""

import pytest

from persistence.errors import StorageUnsafeError
from persistence.log import Log
from tests.contract.conftest import Storage


async def test_the_first_key_of_a_number_counts(log: Log) -> None:
    await log.bind_sealing_keys({1: "one"})
    await log.bind_sealing_keys({1: "one", 2: "two"})

    with pytest.raises(StorageUnsafeError, match=r"another sealing key 2 \(two\) than the secrets file has \(other\)"):
        await log.bind_sealing_keys({1: "one", 2: "other"})


async def test_of_what_is_refused_nothing_is_noted(storage: Storage) -> None:
    log = storage.log()
    await log.bind_sealing_keys({1: "one"})
    with pytest.raises(StorageUnsafeError):
        await log.bind_sealing_keys({1: "other", 2: "mine"})

    await log.bind_sealing_keys({2: "two"})  # the right one is not shut out

    with pytest.raises(StorageUnsafeError, match="sealing key 2"):
        await storage.log().bind_sealing_keys({2: "mine"})
