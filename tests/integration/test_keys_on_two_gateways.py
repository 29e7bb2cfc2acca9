"""API keys as operators change them with the command line, and as two gateways on one Redis take them."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from msgspec.structs import replace

from actors.host import wall_clock
from gateway.app import create_app
from gateway.server import serve
from gift_ledger.settings import Settings
from persistence.keys import RedisKeyStore
from tests.integration.http_client import PATIENCE_SECONDS
from tests.real.stack import run_program, stack_environment
from tests.unit.gateway.house import furnished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.real.redis import RealServer

pytestmark = [pytest.mark.real, pytest.mark.slow]

POLL_SECONDS = 0.02


class Gateways:
    """Two gateways with the bounds that a service has, and the command line beside them."""

    def __init__(self, urls: list[str], http: httpx.AsyncClient, environment: dict[str, str]) -> None:
        self._urls = urls
        self._http = http
        self._environment = environment

    async def keys(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        ran = await asyncio.to_thread(run_program, self._environment, "keys", *arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    async def statuses(self, key: str) -> list[int]:
        """How each of them answers to a key."""
        headers = {"Authorization": f"Bearer {key}"}
        answers = [await self._http.get(f"{url}/metrics", headers=headers) for url in self._urls]
        return [answer.status_code for answer in answers]

    async def until(self, key: str, status: int) -> set[int]:
        """Wait until both answer so, and gives what was answered; nobody who did so does otherwise any more."""
        seen = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            before = [0] * len(self._urls)
            while before != [status] * len(self._urls):
                now = await self.statuses(key)
                assert all(new == status for old, new in zip(before, now, strict=True) if old == status)
                seen |= {*now}
                before = now
                await asyncio.sleep(POLL_SECONDS)
        return seen


@asynccontextmanager
async def two_gateways(redis_url: str, folder: Path) -> AsyncIterator[Gateways]:
    settings = Settings(redis_url=redis_url, http_port=0, keys_stale_seconds=5).http()
    async with AsyncExitStack() as stack:
        stop, serving, urls = asyncio.Event(), [], []
        for _ in range(2):
            house = await stack.enter_async_context(furnished(settings))
            keys = RedisKeyStore(redis_url)
            stack.push_async_callback(keys.close)
            app = create_app(replace(house.services, keys=keys, clock=wall_clock), settings)
            found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            async def ready(url: str, found: asyncio.Future[str] = found) -> None:
                found.set_result(url)

            serving.append(asyncio.create_task(serve(app, settings, stop, ready), name="gateway"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                urls.append(await found)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False))
        environment = stack_environment(folder / "data", {"REDIS_URL": redis_url})
        try:
            yield Gateways(urls, http, environment)
        finally:
            stop.set()
            await asyncio.gather(*serving)


async def test_a_key_that_is_made_works_at_once_and_one_that_is_revoked_ends_everywhere(
    own_redis: RealServer, tmp_path: Path
) -> None:
    async with two_gateways(own_redis.url, tmp_path) as gateways:
        made, other = [await gateways.keys("create", f"watch-{number}", "ops") for number in range(2)]
        await gateways.until(made["key"], 200)
        await gateways.until(other["key"], 200)

        await gateways.keys("revoke", made["keyId"])

        assert await gateways.until(made["key"], 401) <= {200, 401}
        assert await gateways.statuses(other["key"]) == [200, 200]

        # without Redis neither trusts what it knows for longer than it is told to
        await asyncio.to_thread(own_redis.stop)
        assert await gateways.until(other["key"], 503) <= {200, 503}
        await asyncio.to_thread(own_redis.start)
        assert await gateways.until(other["key"], 200) <= {200, 503}
        assert await gateways.statuses(made["key"]) == [401, 401]


async def test_a_key_is_replaced_while_both_work_and_the_old_one_ends_by_itself(redis_url: str, tmp_path: Path) -> None:
    async with two_gateways(redis_url, tmp_path) as gateways:
        old = await gateways.keys("create", "watch", "ops")
        await gateways.until(old["key"], 200)

        new = await gateways.keys("rotate", "watch", "--overlap", "6s")

        assert new["replaces"] == old["keyId"]
        assert await gateways.until(new["key"], 200) <= {200, 401}
        assert await gateways.until(old["key"], 401) <= {200, 401}
        assert await gateways.statuses(new["key"]) == [200, 200]
        states = {key["keyId"]: key["state"] for key in await gateways.keys("list")}
        assert states == {old["keyId"]: "expired", new["keyId"]: "live"}
        await a_use_is_shown(gateways, old["keyId"])


async def a_use_is_shown(gateways: Gateways, key_id: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            used = {key["keyId"]: key["lastUsedAt"] for key in await gateways.keys("list")}
            if used[key_id] is not None:
                return
