"""The short way of the hot calls and Litestar's give the same answers, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from litestar.enums import ScopeType

from gateway.front import Front
from tests.unit.gateway.house import CODE, House, Json, opened

if TYPE_CHECKING:
    from litestar.types import Message, Receive, Scope, Send

JSON = {"content-type": "application/json"}
HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
SALE = b'{"purpose":"Sale","orderId":"SO-1001","orderLineId":"1"}'

REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "a hold": ("authorize", HOLD, {}),
    "a hold with a key": ("authorize", HOLD, {"Idempotency-Key": "k-1"}),
    "the same again": ("authorize", HOLD, {"Idempotency-Key": "k-1"}),
    "another under the key": ("authorize", SALE, {"Idempotency-Key": "k-1"}),
    "a bad key": ("authorize", HOLD, {"Idempotency-Key": "two words"}),
    "a sale that was": ("authorize", SALE, {}),
    "a capture": ("capture", b'{"authorizationId":"HOLD","amount":10,"final":false}', {}),
    "a void": ("void", b'{"operationId":"HOLD"}', {}),
    "a void of nothing": ("void", b'{"operationId":"op_9_x"}', {}),
    "no body": ("capture", b"", {}),
    "no media type": ("capture", b"{}", {"content-type": "text/plain"}),
    "not JSON": ("void", b"{", {}),
    "an unknown field": ("void", b'{"x":1}', {}),
    "too long": ("authorize", b" " * 20_000, {}),
    "no API key": ("authorize", HOLD, {"authorization": "Bearer nobody"}),
    "a wrong role": ("authorize", HOLD, {"authorization": "Bearer ops"}),
    "a trace": ("authorize", HOLD, {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}),
}


async def answers(*, fast_lane: bool) -> dict[str, Json]:
    """Return what each request is answered, one after the other, on a certificate with a hold."""
    async with opened(fast_lane=fast_lane) as house:
        await house.issue()
        hold = (await house.hold()).body["authorizationId"].encode()
        found: dict[str, Json] = {}
        for name, (call, content, headers) in REQUESTS.items():
            found[name] = await raw(house, call, content.replace(b"HOLD", hold), {**JSON, **headers})
        return found


async def raw(house: House, call: str, content: bytes, headers: dict[str, str]) -> list[Json]:
    """Return the messages themselves, the order of their headers included."""
    sent: list[Json] = []
    app, given = house.app, {"x-request-id": "r-1", "authorization": "Bearer pos", **headers}

    async def recording(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            sent.append(message)
            await send(message)

        await app(scope, receive, noting)

    house.app = recording
    try:
        await house.request("POST", f"/certificates/{CODE}/{call}", content=content, headers=given)
    finally:
        house.app = app
    for message in sent:
        message["headers"] = list(message.get("headers", ()))
    return sent


async def test_both_ways_give_the_same_bytes() -> None:
    short, long = await answers(fast_lane=True), await answers(fast_lane=False)

    assert len(short) == len(REQUESTS)
    assert {message["status"] for sent in short.values() for message in sent if "status" in message} >= {
        *(200, 201, 400, 401, 403, 404, 413, 415, 422)
    }
    for name, messages in short.items():
        assert messages == long[name], name


@pytest.mark.parametrize("call", ["authorize", "capture", "void"])
async def test_the_hot_calls_do_not_reach_litestar(call: str) -> None:
    async with opened() as house:
        reached = watch_litestar(house)

        await house.post(call, {}, "pos")

    assert reached == []


@pytest.mark.parametrize("path", [f"/certificates/{CODE}/authorize/", "//certificates/x/authorize", f"/x/{CODE}/void"])
async def test_what_is_not_ordinary_goes_to_litestar(path: str) -> None:
    async with opened() as house:
        reached = watch_litestar(house)

        await house.request("POST", path, "pos")

    assert reached == [path]


def watch_litestar(house: House) -> list[str]:
    """Return a list that the paths which reach Litestar are put on."""
    reached: list[str] = []
    front = house.app
    assert isinstance(front, Front)
    rest = front._rest

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            reached.append(scope["path"])
        await rest(scope, receive, send)

    front._rest = noting
    return reached
