"""Litestar and PostgreSQL: a row lock, one transaction, ``synchronous_commit=on``.

A call is one prepared statement that calls one function of the database, which begins and ends its transaction: a
single round trip. Statement by statement from Python (BEGIN, two SELECTs, UPDATE, two INSERTs, COMMIT) costs 1.4 times
the processor time, and holds the row lock over four round trips.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
from litestar import post
from litestar.exceptions import ClientException
from litestar.types import ASGIApp

from benchmarks.baselines.keys import CLIENT, fingerprint, idempotency_digest
from benchmarks.baselines.noop import IdempotencyKey, litestar
from benchmarks.baselines.place import WITH_US, Place
from benchmarks.baselines.postgres_server import postgres_server
from benchmarks.seed import DENOMINATION, code
from gateway.requests import CaptureRequest, Redemption
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier, version_of
from ledger.money import DAY_MS, rfc3339
from ledger.views.operations import Authorization, Captured

CONNECTIONS: Final = 64
"""Commits that come together share a sync of the log: 16 cost 1.8 times the processor time of 64 for each call."""
HOLD_MS: Final = 900_000
_SCHEMA: Final = Path(__file__).with_name("schema.sql")
_AUTHORIZE: Final = "SELECT * FROM authorize($1, $2, $3, $4, $5, $6, $7, $8)"
_CAPTURE: Final = "SELECT * FROM capture($1, $2, $3, $4, $5, $6, $7, $8)"


@asynccontextmanager
async def postgres(place: Place) -> AsyncIterator[ASGIApp]:
    """The application, its database, and the relay of its outbox."""
    async with postgres_server() as address:
        pool = await asyncpg.create_pool(
            address,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=0,
            reset=_leave_as_it_is,
        )
        try:
            async with pool.acquire() as connection:
                await _fill(connection, place.certificates)
            async with _relay(address, place.kafka):
                yield litestar(place, *handlers(pool))
        finally:
            await pool.close()


def handlers(pool: "asyncpg.Pool[asyncpg.Record]") -> list[Any]:
    """The handlers of an authorization and a capture."""

    @post("/certificates/{code:str}/authorize")
    async def authorize(code: str, data: Redemption, idempotency_key: IdempotencyKey) -> Authorization:
        now = time.time_ns() // 1_000_000
        expires = now + (HOLD_MS if data.ttl_seconds is None else data.ttl_seconds * 1_000)
        asked = fingerprint(code, data.amount, data.currency, data.ttl_seconds)
        key = idempotency_digest(idempotency_key)
        row = await _once(pool, _AUTHORIZE, key, asked, code, data.amount, data.currency, now, expires, CLIENT)
        return Authorization(
            authorization_id=identifier(AUTHORIZATION, code, row["version"]),
            certificate_code=code,
            status="Authorized",
            amount=row["amount"],
            currency=data.currency,
            available=row["balance"] - row["held"],
            balance=row["balance"],
            expires_at=rfc3339(row["expires_at"]),
        )

    @post("/certificates/{code:str}/capture")
    async def capture(code: str, data: CaptureRequest, idempotency_key: IdempotencyKey) -> Captured:
        now = time.time_ns() // 1_000_000
        hold = version_of(data.authorization_id, code, AUTHORIZATION)
        if hold is None:
            raise ClientException("AuthorizationNotFound", status_code=404)
        asked = fingerprint(code, data.authorization_id)
        key = idempotency_digest(idempotency_key)
        row = await _once(pool, _CAPTURE, key, asked, code, hold, now, rfc3339(now), CLIENT, data.authorization_id)
        return Captured(
            operation_id=identifier(OPERATION, code, row["version"]),
            type="Capture",
            certificate_code=code,
            authorization_id=data.authorization_id,
            amount=row["amount"],
            currency="RUB",
            balance=row["balance"],
            available=row["balance"] - row["held"],
            status="Active",
            version=row["version"],
        )

    return [authorize, capture]


async def _once(
    pool: "asyncpg.Pool[asyncpg.Record]", call: str, key: bytes, asked: bytes, *rest: str | int
) -> asyncpg.Record:
    """Make a call; one that came at the same time with the same key has stored the outcome for both."""
    try:
        row = await pool.fetchrow(call, key, asked, *rest)
    except asyncpg.UniqueViolationError:
        row = await pool.fetchrow(call, key, asked, *rest)
    if row is None or row["fingerprint"] != asked:
        raise ClientException("IdempotencyKeyReused", status_code=422)
    if row["refusal"] is not None:
        raise ClientException(row["refusal"], status_code=409)
    return row


async def _leave_as_it_is(_connection: object) -> None:
    """Spare a second round trip upon each call: no call leaves anything behind in its session."""


async def _fill(connection: Any, count: int) -> None:  # noqa: ANN401 - asyncpg's proxy of a connection
    await connection.execute(_SCHEMA.read_text())
    expires = time.time_ns() // 1_000_000 + 365 * DAY_MS
    rows = ((code(number), "Active", "RUB", DENOMINATION, 0, 3, expires) for number in range(count))
    await connection.copy_records_to_table("certificates", records=rows)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")


@asynccontextmanager
async def _relay(address: str, kafka: str) -> AsyncIterator[None]:
    """The relay, in a process of its own as the product's is."""
    if not kafka:
        yield
        return
    command = [*WITH_US, sys.executable, "-m", "benchmarks.baselines.relay", address, kafka]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
