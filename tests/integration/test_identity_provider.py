"""A real gateway on a real Redis, and the web server of an identity provider: keys change, and it goes away."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis.asyncio

from gateway.token_check import token_id
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.integration.http_client import PATIENCE_SECONDS, Served, get, post, served
from tests.real.jwks_server import JwksServer, jwks_server
from tests.real.stack import run_program, stack_environment
from tests.unit.gateway.house import CODE, RUB
from tests.unit.gateway.provider import NAMED, Provider, by_secret, pem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.real

POLL_SECONDS = 0.01
HOLD = {"purpose": "Redemption", "amount": 1_000, "currency": RUB}
TAKEN, UNKNOWN, AWAY = (201, None), (401, "Unauthenticated"), (503, "StorageUnavailable")


class Company:
    """A gateway with an active certificate, and the provider of its clients' tokens."""

    def __init__(self, here: Served, provider: Provider, server: JwksServer) -> None:
        self.here = here
        self.provider = provider
        self.server = server
        self._http = httpx.AsyncClient(base_url=here.url, timeout=PATIENCE_SECONDS, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    def publish(self) -> None:
        self.server.document = self.provider.document

    async def call(self, call: str, body: object, token: str) -> Any:  # noqa: ANN401 - JSON
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self._http.post(f"/certificates/{CODE}/{call}", json=body, headers=headers)
        return answer.status_code, answer.json()

    async def holds(self, token: str) -> tuple[int, str | None]:
        status, body = await self.call("authorize", HOLD, token)
        return status, body.get("code")

    async def ready(self) -> Any:  # noqa: ANN401 - JSON
        return (await self._http.get("/health/ready")).json()

    async def until(self, token: str, outcome: tuple[int, str | None]) -> set[tuple[int, str | None]]:
        """Wait until a token is answered so; gives what was answered before."""
        seen = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (now := await self.holds(token)) != outcome:
                seen.add(now)
                await asyncio.sleep(POLL_SECONDS)
        return seen


@asynccontextmanager
async def company(redis_url: str, **settings: Any) -> AsyncIterator[Company]:  # noqa: ANN401 - of the settings
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(jwks_server())
        provider = Provider()
        server.document = provider.document
        tokens = provider.settings(server.url, **settings)
        log = await RedisLog.open(StorageSettings(redis_url=redis_url, timeout_seconds=PATIENCE_SECONDS))
        stack.push_async_callback(log.close)
        here = await stack.enter_async_context(served(log=log, tokens=tokens, health_cache_seconds=0.0))
        provider.clock = here.house.clock
        await here.house.issue()
        found = Company(here, provider, server)
        stack.push_async_callback(found.close)
        yield found


async def test_a_token_holds_and_captures_and_stands_in_the_audit(redis_url: str, tmp_path: Path) -> None:
    async with company(redis_url) as here:
        token = here.provider.token()

        status, held = await here.call("authorize", HOLD, token)
        captured, _ = await here.call("capture", {"authorizationId": held["authorizationId"]}, token)
        other, _ = await here.call(
            "capture", {"authorizationId": held["authorizationId"]}, here.provider.token(sub="x")
        )
        readiness = await here.ready()

        environment = stack_environment(tmp_path / "data", {"REDIS_URL": redis_url})
        known = token_id(token.encode())
        ran = await asyncio.to_thread(run_program, environment, "audit", "--key", known, "--json")
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            stored = b"".join([await client.dump(key) or b"" async for key in client.scan_iter()])

    assert (status, captured, other) == (201, 201, 403)
    assert readiness["components"]["tokens"] == {"status": "ok", "detail": ""}
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(line["client"], line["keyId"]) for line in lines] == [(f"{NAMED}till-991", known)] * 2
    assert here.server.asked == 1
    assert token.rpartition(".")[2].encode() not in stored


async def test_forged_tokens_get_nowhere(redis_url: str) -> None:
    async with company(redis_url) as here:
        provider, thief = here.provider, Provider(here.here.house.clock)
        _, key = provider.keys["ec"]
        head, payload, signature = provider.token().split(".")

        outcomes = [
            await here.holds(token)
            for token in (
                thief.token(),
                thief.token(header={"jwk": thief.members[0]}),
                by_secret({"alg": "HS256", "kid": "ec"}, provider.claims(), pem(key)),
                provider.token(header={"alg": "none"}),
                f"{head}.{payload}.",
                f"{head}.{payload}.{'A' * len(signature)}",
                provider.token(aud="crm"),
                provider.token(iss="https://thief.example"),
                provider.token(exp=provider.clock() // 1_000 - 60),
                provider.token(nbf=provider.clock() // 1_000 + 60),
                provider.token(header={"crit": ["exp"]}),
                "g" * 9_000 + ".a.b",
            )
        ]

        assert set(outcomes) == {UNKNOWN}
        assert await here.holds(provider.token()) == TAKEN


async def test_the_provider_changes_its_keys(redis_url: str) -> None:
    async with company(redis_url, keys_refresh_seconds=0.05) as here:
        old = here.provider.token()
        assert await here.holds(old) == TAKEN
        here.provider.add("new", "EdDSA")
        here.publish()
        new = here.provider.token("new")

        assert await here.until(new, TAKEN) <= {UNKNOWN}
        assert await here.holds(old) == TAKEN
        del here.provider.keys["ec"]
        here.publish()

        assert await here.until(old, UNKNOWN) <= {TAKEN}
        assert await here.holds(new) == TAKEN


async def test_a_flood_of_unknown_keys_is_not_passed_on(redis_url: str) -> None:
    async with company(redis_url, keys_refresh_seconds_min=3_600.0) as here:
        await here.until(here.provider.token(), TAKEN)
        unknown = [here.provider.token(header={"kid": f"k{number}"}) for number in range(200)]

        outcomes = await asyncio.gather(*(here.holds(token) for token in unknown))

        assert set(outcomes) == {UNKNOWN}
        assert here.server.asked == 1
        assert await here.holds(here.provider.token(jti="2")) == TAKEN


async def test_the_provider_goes_away_and_comes_back(redis_url: str) -> None:
    async with company(redis_url, keys_refresh_seconds=0.05, keys_stale_seconds_max=1.0) as here:
        token = here.provider.token()
        await here.until(token, TAKEN)

        await here.server.stop()
        assert await here.until(token, AWAY) <= {TAKEN}
        line = await here.here.line()
        by_key = await line.ask(post(f"/certificates/{CODE}/authorize", json.dumps(HOLD).encode()))
        shown = await line.ask(get("/metrics"))
        ready = await here.ready()

        assert by_key.status == 201, "clients with keys work on"
        assert b"gift_ledger_http_tokens_refused_total" in shown.content
        assert (ready["status"], ready["components"]["tokens"]["status"]) == ("degraded", "down")
        await here.server.start()
        assert await here.until(token, TAKEN) <= {AWAY}


async def test_a_provider_that_hangs_holds_up_nobody_else(redis_url: str) -> None:
    async with company(redis_url) as here:
        known = here.provider.token()
        await here.until(known, TAKEN)
        here.server.silent = True
        waiting = asyncio.create_task(here.holds(here.provider.token(header={"kid": "new"})))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while here.server.asked < 2:  # noqa: ASYNC110 - the server has no event
                await asyncio.sleep(POLL_SECONDS)

        assert await here.holds(known) == TAKEN
        assert await here.holds(here.provider.token(jti="2")) == TAKEN
        assert not waiting.done()
        assert await waiting == AWAY
