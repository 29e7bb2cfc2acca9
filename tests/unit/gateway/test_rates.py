"""How many requests a second a client may send, and how it is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from gateway import rates as rates_module
from gateway.exchange import Exchange
from gateway.faults import ProblemError
from gateway.rates import Rates
from gateway.settings import GatewaySettings
from tests.unit.gateway.house import CODE, RUB, House, Response, opened

if TYPE_CHECKING:
    from litestar.types import HTTPScope

HOLD = {"purpose": "Redemption", "amount": 1, "currency": RUB}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def exchange() -> Exchange:
    return Exchange(cast("HTTPScope", {"method": "GET", "path": "/", "headers": [], "client": None}))


def told(one: Exchange) -> dict[str, str]:
    assert len(dict(one.common)) == len(one.common), "a header stands twice"
    return {name.decode(): value.decode() for name, value in one.common if name.startswith(b"ratelimit")}


def wait_of(rates: Rates, client: str = "till") -> int:
    with pytest.raises(ProblemError) as caught:
        rates.enter(client, exchange())
    assert caught.value.code == "RateLimited"
    return caught.value.figures["retryAfter"]


def test_a_client_may_send_so_many_and_then_as_many_as_come_back() -> None:
    clock, counts = Clock(), Counter[str]()
    rates = Rates(5, counts, clock)
    for _ in range(5):
        rates.enter("till", exchange())

    assert wait_of(rates) == 1
    rates.enter("other", exchange())
    clock.now += 0.4
    rates.enter("till", exchange())
    rates.enter("till", exchange())
    assert wait_of(rates) == 1
    clock.now += 3_600
    for _ in range(5):
        rates.enter("till", exchange())
    assert wait_of(rates) == 1
    assert counts == {"rate": 3}


def test_the_response_tells_the_policy_and_what_is_left() -> None:
    clock = Clock()
    rates = Rates(5, Counter(), clock)
    first, refused = exchange(), exchange()

    rates.enter("till", first)
    assert told(first) == {"ratelimit-policy": '"requests";q=5;w=1', "ratelimit": '"requests";r=4;t=1'}
    rates.spend("till", first, 24)
    assert told(first) == {"ratelimit-policy": '"requests";q=5;w=1', "ratelimit": '"requests";r=0;t=5'}
    with pytest.raises(ProblemError) as caught:
        rates.enter("till", refused)

    assert told(refused)["ratelimit"] == '"requests";r=0;t=5'
    assert caught.value.figures == {"retryAfter": 5}  # 20 are owed, and one is needed
    clock.now += 4.2
    rates.enter("till", exchange())


@pytest.mark.parametrize(("per_second", "policy"), [(0.25, "q=1;w=4"), (0.3, "q=1;w=4"), (2.5, "q=2;w=1")])
def test_a_rate_need_not_be_a_whole_number(per_second: float, policy: str) -> None:
    clock = Clock()
    rates = Rates(per_second, Counter(), clock)
    one = exchange()
    rates.enter("till", one)
    assert told(one)["ratelimit-policy"] == f'"requests";{policy}'

    while rates.has_room("till"):
        rates.enter("till", exchange())
    clock.now += wait_of(rates)

    rates.enter("till", exchange())


@pytest.mark.parametrize("fast_lane", [True, False], ids=["front", "litestar"])
async def test_requests_of_all_kinds_count(*, fast_lane: bool) -> None:
    async with opened(GatewaySettings(rate_per_second=0.001), fast_lane=fast_lane) as house:
        answers = [
            await house.hold(1),
            await house.hold(1),
            await house.get(f"/certificates/{CODE}", "support"),
            await house.get("/metrics", "ops"),
            await house.get(f"/certificates/{CODE}", "support"),
            await bulk(house, 3, "till-2"),
            await bulk(house, 1, "till-2"),
            await house.get("/health/live", None),
        ]

    assert [answer.status for answer in answers] == [404, 429, 404, 200, 429, 200, 429, 200]
    for answer in answers[:-1]:
        assert answer.headers["ratelimit-policy"] == '"requests";q=1;w=1000'
        assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert "ratelimit" not in answers[-1].headers
    assert 2_900 < int(answers[5].headers["ratelimit"].rpartition("t=")[2]) <= 3_000
    assert 900 < int(answers[1].headers["retry-after"]) <= 1_000
    assert b'gift_ledger_http_limited_total{limit="rate"} 1.0' in answers[3].content


async def test_no_policy_no_fields(house: House) -> None:
    answer = await house.get("/metrics", "ops")

    assert not {"ratelimit", "ratelimit-policy"} & answer.headers.keys()


async def test_who_may_not_come_in_has_no_rate() -> None:
    async with opened(GatewaySettings(rate_per_second=1)) as house:
        answers = [await house.hold(1, client="nobody"), await house.hold(1, client="ops")]

    assert [answer.status for answer in answers] == [401, 403]
    assert not any("ratelimit" in answer.headers for answer in answers)


async def bulk(house: House, number: int, client: str) -> Response:
    item = b'{"certificateCode":"%s","amount":1,"currency":"RUB","idempotencyKey":"k"}' % CODE.encode()
    content = b'{"items":[%s]}' % b",".join([item] * number)
    return await house.request(
        "POST", "/authorizations", client, content=content, headers={"content-type": "application/json"}
    )


def test_so_many_clients_are_counted_and_the_oldest_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "CLIENTS_MAX", 2)
    rates = Rates(1, Counter[str](), Clock())
    for name in ("1", "2"):
        rates.enter(name, exchange())
    assert not rates.has_room("1")

    rates.enter("3", exchange())

    assert not rates.has_room("2")
    assert rates.has_room("1")
    assert len(rates._buckets) == 2
