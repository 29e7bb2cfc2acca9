"""Fills a ledger with active certificates, as if all had been sold: written to the log directly, without the outbox."""

from collections.abc import Sequence
from typing import Final

from ledger import certificate
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import Origin
from ledger.identifiers import certificate_entity
from ledger.money import DAY_MS
from persistence import codec
from persistence.log import Batch, Change, Log

DENOMINATION: Final = 10**12
"""Minor units: so much that no benchmark runs out of it."""
BATCH: Final = 500

_SELLER: Final = Origin("benchmark", "OnlineStore")


def code(number: int) -> str:
    """Code of the certificate with this number."""
    return f"GC-BENCH-{number:07}"


async def seed(log: Log, count: int, now: int, first: int = 0) -> int:
    """See to it that ``count`` certificates are there, from number ``first`` on.

    Args:
        log: where to.
        count: how many.
        now: milliseconds; the time of their activation.
        first: number of the first one.

    Returns:
        How many were made; those that were there stay as they are.
    """
    made = 0
    end = first + count
    for start in range(first, end, BATCH):
        changes = [_change(number, now) for number in range(start, min(start + BATCH, end))]
        made += await _append_missing(log, changes)
    return made


async def _append_missing(log: Log, changes: Sequence[Change]) -> int:
    """Write those that are new: all of them, on an empty ledger in one go."""
    while changes:
        conflict = await log.append(Batch(tuple(changes)))
        if conflict is None:
            break
        there = set(conflict.stale)
        changes = [change for change in changes if change.entity not in there]
    return len(changes)


def _change(number: int, now: int) -> Change:
    order_id = f"SO-BENCH-{number:07}"
    expires_at = now + 365 * DAY_MS
    records, _ = certificate.advance(
        Certificate(code=code(number)),
        now,
        _SELLER,
        r.Reserved(order_id, "1", now + DAY_MS),
        r.Joined(DENOMINATION, "RUB"),
        r.Activated(order_id, "1", DENOMINATION, "RUB", expires_at, cvc=bytes(32)),
    )
    position, stored = codec.START, []
    for record in records:
        encoded, position = codec.encode(position, record)
        stored.append(encoded)
    return Change(certificate_entity(code(number)), 0, tuple(stored), due=expires_at)
