"""Codes on their way to where sales look for them: all of them, once, however often the import is broken off."""

from collections.abc import Sequence

import pytest

from gift_ledger.codes.importing import ImportBrokenError, import_codes
from persistence.codes import CODES_AT_ONCE, MemoryCodeStore
from persistence.errors import StorageUnavailableError

CODES = [f"GC-{number:08}" for number in range(2 * CODES_AT_ONCE + 5)]


class Unreliable(MemoryCodeStore):
    """Loses its answer at the given calls, before or after it has done its work."""

    def __init__(self, **lost: str) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._lost = lost

    async def add(self, codes: Sequence[str]) -> int:
        self.sizes.append(len(codes))
        lost = self._lost.pop(f"call_{len(self.sizes)}", "")
        if lost == "before":
            raise StorageUnavailableError("the log's server: away")
        new = await super().add(codes)
        if lost == "after":
            raise StorageUnavailableError("the log's server: away")
        return new


async def test_they_go_page_by_page() -> None:
    store = Unreliable()
    told: list[int] = []

    imported = await import_codes(store, iter(CODES), len(CODES), told.append)

    assert (imported.new, imported.known) == (len(CODES), 0)
    assert store.sizes == [CODES_AT_ONCE, CODES_AT_ONCE, 5]
    assert told == [CODES_AT_ONCE, 2 * CODES_AT_ONCE, len(CODES)]


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
async def test_an_import_that_breaks_says_how_far_it_was_and_is_made_whole_by_another(call: int, lost: str) -> None:
    store = Unreliable(**{f"call_{call}": lost})
    there = (call - 1) * CODES_AT_ONCE

    with pytest.raises(ImportBrokenError, match=f"{there:,} of {len(CODES):,} codes are there for certain"):
        await import_codes(store, CODES, len(CODES), lambda _: None)
    again = await import_codes(store, CODES, len(CODES), lambda _: None)

    assert again.new + again.known == len(CODES)
    assert again.known == there + (store.sizes[call - 1] if lost == "after" else 0)
    assert all([await store.known(code) for code in CODES])


async def test_the_same_again_is_nothing_new() -> None:
    store = MemoryCodeStore()
    await import_codes(store, CODES, len(CODES), lambda _: None)

    again = await import_codes(store, CODES, len(CODES), lambda _: None)

    assert (again.new, again.known) == (0, len(CODES))


async def test_none_is_none() -> None:
    imported = await import_codes(MemoryCodeStore(), [], 0, lambda _: None)

    assert (imported.new, imported.known) == (0, 0)
