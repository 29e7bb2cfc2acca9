"""Certificates as if they had been sold."""

from benchmarks.seed import DENOMINATION, code, seed
from ledger.identifiers import certificate_entity
from persistence import codec
from persistence.memory import MemoryLog

NOON = 1_795_500_000_000


async def test_a_ledger_is_filled_with_active_certificates() -> None:
    log = MemoryLog()

    made = await seed(log, 3, NOON)

    (loaded,) = await log.load([certificate_entity(code(2))])
    state, _ = codec.restore_certificate(code(2), loaded)
    assert made == 3
    assert (state.status.value, state.available) == ("Active", DENOMINATION)


async def test_what_is_there_stays_and_what_is_missing_is_made() -> None:
    log = MemoryLog()
    await seed(log, 2, NOON)

    made = await seed(log, 1_200, NOON + 1)

    assert made == 1_198
    assert await seed(log, 1_200, NOON + 2) == 0
