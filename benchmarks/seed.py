"""Fills a ledger with active certificates, as if all had been sold: written to the log directly, without the outbox."""

from collections.abc import Iterator
from itertools import islice
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


async def seed(log: Log, count: int, now: int) -> int:
    """See to it that the first ``count`` certificates are there; gives how many were made. ``now`` in milliseconds."""
    made = 0
    numbers = iter(range(count))
    while batch := list(islice(numbers, BATCH)):
        entities = [certificate_entity(code(number)) for number in batch]
        missing = [
            number for number, loaded in zip(batch, await log.load(entities), strict=True) if loaded.version == 0
        ]
        if missing:
            conflict = await log.append(Batch(tuple(_changes(missing, now))))
            if conflict is not None:
                message = f"somebody else seeds at the same time: {conflict.stale[:3]}"
                raise RuntimeError(message)
        made += len(missing)
    return made


def _changes(numbers: list[int], now: int) -> Iterator[Change]:
    expires_at = now + 365 * DAY_MS
    for number in numbers:
        order_id = f"SO-BENCH-{number:07}"
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
        yield Change(certificate_entity(code(number)), 0, tuple(stored), due=expires_at)
