"""``GET /health/ready``: what is vital, what only degrades, and what asking costs."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gateway.services import Component, Condition
from gateway.settings import GatewaySettings
from tests.unit.gateway.house import opened

DOWN = Component(status=Condition.DOWN, detail="gone")
DEGRADED = Component(status=Condition.DEGRADED, detail="waits")


@pytest.mark.parametrize(
    ("part", "component", "status", "word"),
    [
        ("storage", DOWN, 503, "down"),
        ("shards", DOWN, 503, "down"),
        ("storage", DEGRADED, 200, "degraded"),
        ("kafka", DEGRADED, 200, "degraded"),
        ("kafka", DOWN, 200, "degraded"),
        ("sms", DOWN, 200, "degraded"),
    ],
)
async def test_parts_and_the_whole(part: str, component: Component, status: int, word: str) -> None:
    async with opened() as house:
        house.probe.health_now = replace(house.probe.health_now, **{part: component})

        response = await house.get("/health/ready", None)

    assert (response.status, response.body["status"]) == (status, word)
    assert response.body["components"][part] == {"status": component.status.value, "detail": component.detail}
    assert response.headers["cache-control"] == "no-store"


async def test_all_is_well() -> None:
    async with opened() as house:
        ready = await house.get("/health/ready", None)
        live = await house.get("/health/live", None)

    assert (ready.status, ready.body["status"]) == (200, "ok")
    assert set(ready.body["components"]) == {"storage", "shards", "keys", "kafka", "sms"}
    assert (live.status, live.body) == (200, {"status": "ok"})


async def test_a_probe_that_hangs_is_down() -> None:
    async with opened(GatewaySettings(health_seconds=0.01)) as house:
        house.probe.trouble = asyncio.Event().wait  # type: ignore[assignment]

        response = await house.get("/health/ready", None)

    assert (response.status, response.body["status"]) == (503, "down")
    assert response.body["components"]["storage"]["detail"] == "No answer within 0.01 s."


async def test_a_probe_that_fails_is_down_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ArithmeticError("secret")

    async with opened() as house:
        house.probe.trouble = fail

        response = await house.get("/health/ready", None)

    assert (response.status, response.body["status"]) == (503, "down")
    assert b"secret" not in response.content
    assert any(record.exc_info for record in caplog.records)


async def test_the_parts_are_not_asked_for_every_request() -> None:
    async with opened(GatewaySettings(health_cache_seconds=3_600)) as house:
        await asyncio.gather(*(house.get("/health/ready", None) for _ in range(10)))

    assert house.probe.asked == 1


async def test_what_is_known_grows_old() -> None:
    async with opened(GatewaySettings(health_cache_seconds=0)) as house:
        await house.get("/health/ready", None)
        await house.get("/health/ready", None)

    assert house.probe.asked == 2
