"""``GET /metrics``: what is counted."""

from __future__ import annotations

import re

from tests.unit.gateway.house import CODE, House


async def numbers(house: House) -> dict[str, float]:
    """Return every sample of the exposition."""
    text = (await house.get("/metrics", "ops")).content.decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*?\})?) (\S+)$", text, re.MULTILINE)}


async def test_requests_and_problems_are_counted_by_call(house: House) -> None:
    await house.issue()
    await house.hold()
    await house.hold(10**9)
    await house.get("/nowhere", None)
    await house.get(f"/certificates/{CODE}", None)

    found = await numbers(house)

    assert found['gift_ledger_http_requests_total{call="authorize",status="201"}'] == 2
    assert found['gift_ledger_http_requests_total{call="authorize",status="409"}'] == 1
    assert found['gift_ledger_http_problems_total{call="authorize",code="InsufficientFunds"}'] == 1
    assert found['gift_ledger_http_problems_total{call="other",code="NotFound"}'] == 1
    assert found['gift_ledger_http_problems_total{call="certificate",code="Unauthenticated"}'] == 1
    assert found["gift_ledger_http_requests_in_flight"] == 1  # this one


async def test_durations_add_up(house: House) -> None:
    await house.issue()
    await house.hold()

    found = await numbers(house)

    name = 'gift_ledger_http_request_seconds_{}{{call="authorize"{}}}'
    assert found[name.format("count", "")] == 2
    assert found[name.format("bucket", ',le="+Inf"')] == 2
    buckets = [value for key, value in found.items() if key.startswith(name.format("bucket", "")[:-1])]
    assert buckets == sorted(buckets)
    assert found[name.format("sum", "")] > 0


async def test_names_of_metrics_do_not_grow_with_what_is_asked(house: House) -> None:
    for number in range(20):
        await house.get(f"/certificates/GC-0000-{number:04}")
        await house.get(f"/nowhere/{number}", None)

    text = (await house.get("/metrics", "ops")).content.decode()

    assert "GC-" not in text
    assert "nowhere" not in text
