"""What tests of the bulk calls need: requests to send, and what their answers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from tests.unit.gateway.house import House, Response

JSON = {"content-type": "application/json"}


async def send(house: House, call: str, items: object, client: str = "pos", **headers: str) -> Response:
    content = items if isinstance(items, bytes) else msgspec.json.encode({"items": items})
    return await house.request("POST", f"/{call}", client, content=content, headers={**JSON, **headers})


def authorization(key: str, amount: int = 1_000, code: str = CODE, **more: object) -> dict[str, Any]:
    return {"certificateCode": code, "amount": amount, "currency": "RUB", "idempotencyKey": key, **more}


def statuses(response: Response) -> list[int]:
    assert response.status == 200, response.content
    return [outcome["status"] for outcome in response.body["outcomes"]]


def bodies(response: Response) -> list[Any]:
    return [outcome["body"] for outcome in response.body["outcomes"]]


def codes(response: Response) -> list[str]:
    return [body.get("code", "") for body in bodies(response)]


async def held(house: House, code: str = CODE) -> int:
    return int((await house.get(f"/certificates/{code}")).body["held"])
