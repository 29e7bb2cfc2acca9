"""Litestar and one Lua script a request, on a Valkey that syncs its append-only file before it answers."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from litestar import post
from litestar.exceptions import ClientException
from litestar.types import ASGIApp
from redis.asyncio import Redis

from benchmarks.baselines.keys import CLIENT, fingerprint, idempotency_digest
from benchmarks.baselines.noop import IdempotencyKey, litestar
from benchmarks.baselines.place import Place
from benchmarks.seed import DENOMINATION, code
from gateway.requests import Redemption
from gift_ledger.embedded.valkey import EmbeddedValkey
from ledger.identifiers import AUTHORIZATION, identifier
from ledger.money import DAY_MS, rfc3339
from ledger.views.operations import Authorization
from persistence.redis_client import connect

CONNECTIONS: Final = 256
"""As many as the load has: no request waits for one, and all that run at the same time share a sync of the file."""
OUTCOME_SECONDS: Final = 86_400
HOLD_MS: Final = 900_000
_BATCH: Final = 1_000
_SCRIPT: Final = Path(__file__).with_name("authorize.lua")


@asynccontextmanager
async def redis_lua(place: Place) -> AsyncIterator[ASGIApp]:
    """The application, and its Valkey."""
    place.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(place.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with EmbeddedValkey(place.folder / "valkey", place.folder, lock) as valkey:
            await _fill(valkey.url, place.certificates)
            client = connect(valkey.fast_url, connections_max=CONNECTIONS, timeout_seconds=10.0)
            try:
                script = await client.execute_command("SCRIPT LOAD", _SCRIPT.read_bytes())

                async def run(*words: str | bytes | int) -> tuple[bytes, int]:
                    return cast("tuple[bytes, int]", await client.execute_command("EVALSHA", script, 3, *words))

                yield litestar(place, handler(run))
            finally:
                await client.aclose()
    finally:
        os.close(lock)


def handler(run: Any) -> Any:  # noqa: ANN401 - Litestar's handlers and the script's words
    """The handler of an authorization."""

    @post("/certificates/{code:str}/authorize")
    async def authorize(code: str, data: Redemption, idempotency_key: IdempotencyKey) -> Authorization:
        now = time.time_ns() // 1_000_000
        expires = now + (HOLD_MS if data.ttl_seconds is None else data.ttl_seconds * 1_000)
        asked = fingerprint(code, data.amount, data.currency, data.ttl_seconds)
        outcome, _known = await run(
            *(f"c:{code}", f"l:{code}", b"i:" + idempotency_digest(idempotency_key)),
            *(asked.hex(), data.amount, data.currency, now, expires, CLIENT, OUTCOME_SECONDS),
        )
        first, refusal, *rest = outcome.decode().split(";")
        if first != asked.hex():
            raise ClientException("IdempotencyKeyReused", status_code=422)
        if refusal:
            raise ClientException(refusal, status_code=409)
        version, amount, available, balance, expiry = map(int, rest)
        return Authorization(
            authorization_id=identifier(AUTHORIZATION, code, version),
            certificate_code=code,
            status="Authorized",
            amount=amount,
            currency=data.currency,
            available=available,
            balance=balance,
            expires_at=rfc3339(expiry),
        )

    return authorize


async def _fill(url: str, count: int) -> None:
    expires = time.time_ns() // 1_000_000 + 365 * DAY_MS
    fields = ("status", "Active", "currency", "RUB", "balance", DENOMINATION, "held", 0, "version", 3, "expires")
    client = Redis.from_url(url)
    try:
        for start in range(0, count, _BATCH):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + _BATCH, count)):
                pipeline.execute_command("HSET", f"c:{code(number)}", *fields, expires)
            await pipeline.execute()
    finally:
        await client.aclose()
