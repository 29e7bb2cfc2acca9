"""All records of entities, as an audit reads them: page by page, with and without snapshots."""

import msgspec
import pytest

from persistence import reading
from persistence.errors import DamagedLogError
from persistence.log import Loaded, Log
from persistence.reading import histories
from tests.contract.histories import Writer

SOLD = "GC-00000001"
LONG = "GC-00000002"
PAGE = 20


@pytest.fixture
async def filled(log: Log, monkeypatch: pytest.MonkeyPatch) -> Log:
    """One certificate without a snapshot, and one with two pages before its snapshot and two behind it."""
    monkeypatch.setattr(reading, "PAGE_MAX", PAGE)
    writer = Writer(log)
    await writer.sell("SO-1", SOLD, LONG)
    await writer.spend(LONG, 1, PAGE // 2, snapshot=True)
    await writer.spend(LONG, 1, PAGE // 2 + 1)
    return log


async def read(log: Log, *entities: str) -> list[tuple[str, int, list[bytes] | DamagedLogError]]:
    return [one async for one in histories(log, entities)]


async def test_what_is_read_is_the_whole_history_of_each_in_the_order_asked_for(filled: Log) -> None:
    found = await read(filled, f"c:{LONG}", "c:GC-UNKNOWN", f"c:{SOLD}", "o:SO-1")

    assert list(dict.fromkeys(entity for entity, _, _ in found)) == [f"c:{LONG}", f"c:{SOLD}", "o:SO-1"]
    for entity in (f"c:{LONG}", f"c:{SOLD}", "o:SO-1"):
        pages = [(before, page) for name, before, page in found if name == entity and isinstance(page, list)]
        whole = await filled.history(entity)
        assert [one for _, page in pages for one in page] == whole
        assert all(whole[before : before + len(page)] == page for before, page in pages)


async def test_no_page_is_longer_than_it_may_be(filled: Log) -> None:
    found = await read(filled, f"c:{LONG}")

    assert [len(page) for _, _, page in found if isinstance(page, list)] == [PAGE, 3, PAGE, 2]


async def test_nothing_is_read_of_nothing(filled: Log) -> None:
    assert await read(filled) == []


@pytest.mark.parametrize("error", [DamagedLogError("it cannot be loaded"), None])
async def test_of_a_damaged_one_comes_why_and_then_what_is_there(
    filled: Log, monkeypatch: pytest.MonkeyPatch, error: DamagedLogError | None
) -> None:
    (whole,) = await filled.load([f"c:{SOLD}"])
    records = len(whole.tail)

    async def load_each(*_: object) -> list[Loaded | DamagedLogError]:
        short = Loaded(b"a snapshot", records + 1, (), damage="records were lost")
        return [error or short, msgspec.structs.replace(whole)]

    monkeypatch.setattr(reading, "load_each", load_each)

    found = await read(filled, f"c:{SOLD}", f"c:{SOLD}")

    (_, _, why), *rest = found
    assert isinstance(why, DamagedLogError)
    lengths = [len(page) for _, _, page in rest if isinstance(page, list)]
    assert lengths == ([records] if error else [records, records])
