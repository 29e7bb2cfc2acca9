"""Who did what, from where, with which key: as a real gateway writes it into a real Redis, and operators ask for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from msgspec.structs import replace

from actors.host import wall_clock
from gateway.app import create_app
from gateway.server import serve
from gift_ledger.acting import who
from gift_ledger.settings import Settings
from persistence.keys import RedisKeyStore
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.integration.http_client import PATIENCE_SECONDS
from tests.real.stack import PROGRAM, run_program, stack_environment
from tests.unit.gateway.house import CODE, ORDER, House, furnished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.real.redis import RealServer

pytestmark = [pytest.mark.real, pytest.mark.slow]

POLL_SECONDS = 0.005

TILL, DESK, SHOPPER, SHOP = "198.51.100.7", "2001:db8::7", "203.0.113.77", "127.0.0.80"
"""Who is behind the proxy on this machine."""


class Company:
    """A gateway behind a proxy, its ledger, and the command line."""

    def __init__(self, house: House, url: str, http: httpx.AsyncClient, environment: dict[str, str]) -> None:
        self.house = house
        self._url = url
        self._http = http
        self.environment = environment
        self.heard: list[bytes] = []
        """All that callers were told."""

    async def run(self, *arguments: str, code: int = 0) -> str:
        ran = await asyncio.to_thread(run_program, self.environment, *arguments)
        assert ran.returncode == code, ran.stderr
        return ran.stdout

    async def key(self, client: str, role: str, *arguments: str) -> dict[str, Any]:
        told = json.loads(await self.run("keys", "create", client, role, "--json", *arguments))
        return dict(told)

    async def audit(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (await self.run("audit", *arguments, "--json")).splitlines()]

    async def post(self, call: str, body: object, key: str, forwarded: str) -> Any:  # noqa: ANN401 - JSON
        headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": forwarded}
        answer = await self._http.post(f"{self._url}/certificates/{CODE}/{call}", json=body, headers=headers)
        assert answer.status_code in {200, 201}, answer.content
        self.heard.append(answer.content + repr(answer.headers).encode())
        return answer.json()

    async def get(self, path: str, key: str) -> None:
        answer = await self._http.get(f"{self._url}{path}", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.content
        self.heard.append(answer.content)


@asynccontextmanager
async def company(redis_url: str, folder: Path) -> AsyncIterator[Company]:
    settings = replace(
        Settings(redis_url=redis_url, http_port=0).http(), trusted_proxies="127.0.0.0/8", keys_refresh_seconds_min=0
    )
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        log = await RedisLog.open(StorageSettings(redis_url=redis_url, timeout_seconds=PATIENCE_SECONDS))
        stack.push_async_callback(log.close)
        house = await stack.enter_async_context(furnished(settings, log=log))
        keys = RedisKeyStore(redis_url)
        stack.push_async_callback(keys.close)
        app = create_app(replace(house.services, keys=keys, clock=wall_clock), settings)
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def ready(url: str) -> None:
            found.set_result(url)

        serving = asyncio.create_task(serve(app, settings, stop, ready), name="gateway")
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = await found
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False))
        try:
            yield Company(house, url, http, stack_environment(folder / "data", {"REDIS_URL": redis_url}))
        finally:
            stop.set()
            await serving


def who_did(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(line["type"], line["client"], line["keyId"], line["address"]) for line in lines]


def hold(**more: object) -> dict[str, object]:
    return {"purpose": "Redemption", "amount": 1_000, "currency": "RUB", **more}


async def test_operators_see_who_did_what_from_where_and_with_which_key(redis_url: str, tmp_path: Path) -> None:
    async with company(redis_url, tmp_path) as here:
        till = await here.key("till-1", "pos")
        newer = json.loads(await here.run("keys", "rotate", "till-1", "--json"))
        shop, desk = await here.key("shop", "storefront"), await here.key("desk", "support")
        await here.house.place("1")
        await here.house.pay("1")
        await here.post("authorize", {"purpose": "Sale", "orderId": ORDER, "orderLineId": "1"}, till["key"], TILL)
        cvc = await here.house.cvc()

        held = await here.post("authorize", hold(), till["key"], TILL)
        await here.post("capture", {"authorizationId": held["authorizationId"]}, newer["key"], TILL)
        await here.post("authorize", hold(cvc=cvc), shop["key"], f"{SHOPPER}, {SHOP}")
        await here.post("block", {"reason": "stolen"}, desk["key"], DESK)
        for path in (f"/certificates/{CODE}", f"/certificates/{CODE}/operations", f"/orders/{ORDER}"):
            await here.get(path, desk["key"])

        lines = await here.audit("--code", CODE)
        assert who_did(lines[:1] + lines[3:]) == [
            ("Reserve", "till-1", till["keyId"], TILL),
            ("Authorize", "till-1", till["keyId"], TILL),
            ("Capture", "till-1", newer["keyId"], TILL),
            ("Authorize", "shop", shop["keyId"], SHOP),
            ("Block", "desk", desk["keyId"], DESK),
        ]
        assert [line["version"] for line in await here.audit("--from", DESK)] == [lines[-1]["version"]]
        by_key = await here.audit("--key", newer["keyId"])
        assert [line.get("command", line.get("type")) for line in by_key] == ["keys rotate", "Capture"]
        table = await here.run("audit", "--client", "till-1")
        assert newer["keyId"] in table
        assert TILL in table
        await nothing_was_told(here, redis_url, till["keyId"], newer["keyId"], shop["keyId"], desk["keyId"])


async def nothing_was_told(here: Company, redis_url: str, *key_ids: str) -> None:
    """Neither callers nor subscribers hear of keys and addresses, and no shopper's address is kept."""
    told = list(here.heard)
    for partition in range(here.house.log.partitions):
        told += (await here.house.log.outbox(partition)).entries
    assert any(b"GiftCertificateTransaction" in one for one in told)
    for private in (*key_ids, TILL, DESK, SHOPPER, SHOP):
        assert not [one for one in told if private.encode() in one]
    client = connect(redis_url, connections_max=1, timeout_seconds=PATIENCE_SECONDS)
    for key in await client.execute_command("KEYS", "gl:*:w:*"):
        stored = b"".join(await client.execute_command("LRANGE", key, 0, -1))
        assert SHOPPER.encode() not in stored
        assert ip_address(SHOPPER).packed not in stored
    await client.aclose()


async def test_acts_of_commands_are_noted_chained_and_verified(redis_url: str, tmp_path: Path) -> None:
    batch = tmp_path / "spring.codes"
    async with company(redis_url, tmp_path) as here:
        await here.house.place("1")
        await here.run("codes", "generate", "--count", "50", "--output", str(batch))
        await here.run("codes", "import", str(batch))
        key = await here.key("till-1", "pos")
        await here.run("keys", "revoke", key["keyId"])
        await here.run("keys", "revoke", key["key"], code=1)
        await here.run("forget", "+79990000001", "--yes", code=1)
        await here.run("forget", ORDER, "--yes")

        acts = await here.audit("--acts")
        assert [(one["command"], one["outcome"], one["intent"]) for one in acts] == [
            ("codes import", "begun", 1),
            ("codes import", "done", 1),
            ("keys create", "begun", 3),
            ("keys create", "done", 3),
            ("keys revoke", "begun", 5),
            ("keys revoke", "done", 5),
            ("forget", "begun", 7),
            ("forget", "done", 7),
        ]
        assert {(one["user"], one["host"]) for one in acts} == {who()}
        client = connect(redis_url, connections_max=1, timeout_seconds=PATIENCE_SECONDS)
        stored = await client.execute_command("LRANGE", "gl:acts", 0, -1)
        for private in ("+79990000001", key["key"], *batch.read_text().split()):
            assert not [one for one in stored if private.encode() in one]
        await here.run("verify", "--processes", "1")

        await client.execute_command("LSET", "gl:acts", 4, stored[0])

        found = json.loads(await here.run("verify", "--processes", "1", "--json", code=1))["findings"]
        assert [(one["entity"], one["version"]) for one in found] == [("acts", 5)]
        await client.aclose()


async def test_a_command_that_is_killed_leaves_its_intent(redis_url: str, tmp_path: Path) -> None:
    batch = tmp_path / "spring.codes"
    async with company(redis_url, tmp_path) as here:
        await here.run("codes", "generate", "--count", "200000", "--output", str(batch))
        client = connect(redis_url, connections_max=1, timeout_seconds=PATIENCE_SECONDS)
        importing = await asyncio.create_subprocess_exec(PROGRAM, "codes", "import", str(batch), env=here.environment)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await client.execute_command("LLEN", "gl:acts"):  # noqa: ASYNC110 - no server tells
                await asyncio.sleep(POLL_SECONDS)
        importing.kill()
        await importing.wait()
        await client.aclose()

        (intent,) = await here.audit("--acts")

        assert (intent["command"], intent["outcome"]) == ("codes import", "begun")
        assert intent["facts"] == {"file": "spring.codes", "codes": "200000"}


async def test_a_command_whose_server_is_away_does_and_notes_nothing(own_redis: RealServer, tmp_path: Path) -> None:
    async with company(own_redis.url, tmp_path) as here:
        key = await here.key("till-1", "pos")
        await asyncio.to_thread(own_redis.stop)

        await here.run("keys", "revoke", key["keyId"], code=2)

        await asyncio.to_thread(own_redis.start)
        assert [one["command"] for one in await here.audit("--acts")] == ["keys create", "keys create"]
