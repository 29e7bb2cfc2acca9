"""A ledger knows its peppers by their numbers, which of them are in use, and takes no other one for any."""

import pytest

from persistence.errors import StorageUnsafeError
from persistence.log import Log
from persistence.pepper_prints import PepperPrints
from tests.contract.conftest import Storage


async def test_a_ledger_with_one_pepper_has_nothing_noted(log: Log) -> None:
    await log.bind_peppers({}, 1)

    assert await log.pepper_prints() == PepperPrints()


async def test_what_is_prepared_is_known_and_what_is_switched_to_is_used(log: Log) -> None:
    await log.bind_peppers({2: "two"}, 1)
    prepared = await log.pepper_prints()
    await log.bind_peppers({}, 1)  # a machine that has the file as it was: nothing is kept with it yet

    await log.bind_peppers({2: "two"}, 2)
    await log.bind_peppers({2: "two"}, 1)  # a machine that has the file as it was prepared

    assert prepared == PepperPrints(known={2: "two"})
    assert await log.pepper_prints() == PepperPrints(known={2: "two"}, used={2: "two"})


async def test_the_first_pepper_of_a_number_counts(storage: Storage) -> None:
    log = storage.log()
    await log.bind_peppers({2: "two"}, 1)

    with pytest.raises(StorageUnsafeError, match=r"another pepper 2 \(two\) than the secrets file has \(other\)"):
        await log.bind_peppers({2: "other", 3: "three"}, 3)

    await storage.log().bind_peppers({2: "two", 3: "right"}, 2)  # of what was refused nothing is noted
    known = await log.pepper_prints()
    assert known == PepperPrints(known={2: "two", 3: "right"}, used={2: "two"})


async def test_who_lacks_a_pepper_in_use_is_refused(log: Log) -> None:
    await log.bind_peppers({2: "two", 3: "three"}, 3)

    for lacking in ({}, {2: "two"}):
        with pytest.raises(StorageUnsafeError, match=r"kept with the pepper [23] .* which the secrets file lacks"):
            await log.bind_peppers(lacking, 1)
