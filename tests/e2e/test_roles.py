"""The parts as programs of their own, on a Ray, a Redis and an Apache Kafka that were there before."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from examples.patience import eventually
from examples.sms_gateway import SmsGateway
from tests.real.audit import Events, audit
from tests.real.market import Market, create_topics, kafka_settings
from tests.real.roles import SHARDS_SIGN, RoleStack
from tests.real.stack import SHARD
from tests.real.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.real.fixtures import ServerKind
    from tests.real.kafka import RealKafka
    from tests.real.redis import RealServer

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

DENOMINATION = 20_000
SOME = 60
CUT = {"ReadError", "WriteError", "RemoteProtocolError"}
"""A request that was sent on an idle connection while the gateway closed it; there is no 503."""


@pytest.fixture
async def stack(
    kafka: RealKafka, start_shared: Callable[[ServerKind], RealServer], kafka_prefix: str, tmp_path: Path
) -> AsyncIterator[RoleStack]:
    await create_topics(kafka, kafka_prefix)
    sms = SmsGateway()
    settings = {
        **kafka_settings(kafka, kafka_prefix),
        "REDIS_URL": start_shared("redis").url,
        "REDIS_PREFIX": kafka_prefix.rstrip("."),
        "SMS_URL": await sms.start(),
    }
    roles = RoleStack(tmp_path, settings)
    try:
        await asyncio.to_thread(roles.start)
        yield roles
    finally:
        await asyncio.to_thread(roles.end)
        await sms.stop()


async def test_two_gateways_serve_one_ledger_while_each_is_replaced(stack: RoleStack, kafka_prefix: str) -> None:
    async with Market(stack, kafka_prefix) as market:
        codes = await market.sell(10, DENOMINATION)
        await a_key_is_known_to_both(stack, codes[0])
        async with Traffic(stack, kafka_prefix, codes[1:3], codes[3:], seed=7) as traffic:
            for number in range(len(stack.ports)):
                await traffic.more(SOME)
                await asyncio.to_thread(stack.stop, f"gateway-{number}")
                await traffic.more(SOME)
                await asyncio.to_thread(stack.start_gateway, number)

        await audit(market, traffic.told, Events(stack.bootstrap, kafka_prefix, [*codes[1:], *traffic.sold]))

        await a_key_that_is_revoked_ends_on_both(stack)

    assert set(traffic.failed) <= CUT
    await the_shards_outlive_whoever_started_them(stack)
    proof = await asyncio.to_thread(stack.run, "verify")
    assert proof.returncode == 0, proof.stdout + proof.stderr


async def a_key_is_known_to_both(stack: RoleStack, code: str) -> None:
    body = {"purpose": "Redemption", "amount": 500, "currency": "RUB"}
    async with stack.client("pos", gateway=0) as first, stack.client("pos", gateway=1) as second:
        held = await first.post(f"/certificates/{code}/authorize", json=body, headers={"Idempotency-Key": "k-1"})
        again = await second.post(f"/certificates/{code}/authorize", json=body, headers={"Idempotency-Key": "k-1"})
        taken = await second.post(
            f"/certificates/{code}/capture", json={"authorizationId": held.json()["authorizationId"]}
        )
    assert held.status_code == 201
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (held.json(), "true")
    assert taken.json()["balance"] == DENOMINATION - 500


async def a_key_that_is_revoked_ends_on_both(stack: RoleStack) -> None:
    made = json.loads((await asyncio.to_thread(stack.run, "keys", "create", "watch", "ops", "--json")).stdout)
    async with stack.client("ops", gateway=0) as first, stack.client("ops", gateway=1) as second:

        async def statuses() -> list[int]:
            headers = {"Authorization": f"Bearer {made['key']}"}
            answers = [await client.get("/metrics", headers=headers) for client in (first, second)]
            return [answer.status_code for answer in answers]

        assert (await eventually(statuses, lambda found: found == [200, 200])) == [200, 200]
        revoked = await asyncio.to_thread(stack.run, "keys", "revoke", made["keyId"])
        assert revoked.returncode == 0, revoked.stderr
        assert (await eventually(statuses, lambda found: found == [401, 401])) == [401, 401]


async def the_shards_outlive_whoever_started_them(stack: RoleStack) -> None:
    before = stack.processes(SHARD)

    await asyncio.to_thread(stack.stop, "shards")
    await asyncio.to_thread(stack.start_role, "shards", SHARDS_SIGN)

    assert len(before) == 2
    assert stack.processes(SHARD) == before
    actors = await asyncio.to_thread(stack.actors)
    assert {str(actor["name"]): actor["state"] for actor in actors} == {
        "bridge:inbox": "ALIVE",
        "bridge:relay": "ALIVE",
        "bridge:sms": "ALIVE",
        "certificates:00": "ALIVE",
        "certificates:01": "ALIVE",
    }
