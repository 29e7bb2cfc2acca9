"""Who may do what: every route of the application, with every role, on what is one's own and on what is another's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.access import WHO_MAY_WHAT, Call, Role
from gateway.bulk_requests import SINGLE
from gateway.handlers import ROUTES
from tests.unit.gateway.house import CODE, ORDER, ROLES, House, client_key

if TYPE_CHECKING:
    from tests.unit.gateway.house import Response

# What callers were promised, written out once more: for storefront, pos, payments, support and ops.
TABLE = {
    "POST /certificates/{code}/authorize": "all all no no no",
    "POST /certificates/{code}/capture": "own own all no no",
    "POST /certificates/{code}/void": "own own all all no",
    "POST /certificates/{code}/balance": "all all no no no",
    "POST /certificates/{code}/block": "no no no all no",
    "POST /certificates/{code}/unblock": "no no no all no",
    "POST /certificates/{code}/cvc": "no no no all no",
    "POST /authorizations": "all all no no no",
    "POST /captures": "own own all no no",
    "POST /voids": "own own all all no",
    "GET /certificates/{code}": "no no all all all",
    "GET /certificates/{code}/operations": "no no all all all",
    "GET /orders/{order_id}": "no no all all all",
    "GET /metrics": "no no no no all",
}
OPEN = {"GET /health/live", "GET /health/ready", "GET /schema", "GET /schema/openapi.json"}
CELLS = [
    pytest.param(route, role, cell, id=f"{route} {role}")
    for route, row in TABLE.items()
    for role, cell in zip(ROLES, row.split(), strict=True)
]
SELLERS = {"storefront", "pos"}
HOLD, CAPTURE, ACTIVATION = "hold", "capture", "activation"
OWNED = {
    "POST /certificates/{code}/capture": (HOLD,),
    "POST /captures": (HOLD,),
    "POST /certificates/{code}/void": (HOLD, CAPTURE, ACTIVATION),
    "POST /voids": (HOLD, CAPTURE, ACTIVATION),
}
"""What belongs to somebody, by the call that is used on it; other calls are on what belongs to nobody."""
JSON = {"content-type": "application/json"}


def routes() -> set[str]:
    """Every method and path of the application; HEAD is GET without the body."""
    return {
        f"{'GET' if method == 'HEAD' else method} {re.sub(r':[a-z]+', '', path)}"
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
    }


class Scene:
    """A certificate, and what two clients have done with it."""

    def __init__(self, house: House, cvc: str, operations: dict[str, str]) -> None:
        self.house = house
        self.cvc = cvc
        self._operations = operations

    @classmethod
    async def played(cls, house: House, owner: str) -> Scene:
        """Have `owner` sell a certificate, and hold money on it; of another one he has captured some."""
        cvc = await house.issue(client=owner)
        body = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB", "cvc": cvc}
        operations = {ACTIVATION: str((await house.get(f"/certificates/{CODE}")).body["activationId"])}
        held = await house.post("authorize", body, owner)
        operations[HOLD] = held.body["authorizationId"]
        return cls(house, cvc, operations)

    async def operation(self, kind: str, owner: str) -> str:
        """The id of what the owner has done."""
        if kind == CAPTURE:
            taken = await self.house.post("capture", {"authorizationId": self._operations[HOLD]}, owner)
            return str(taken.body["operationId"])
        if kind == ACTIVATION:  # nothing may have been drawn on it
            await self.house.post("void", {"operationId": self._operations[HOLD]}, owner)
        return self._operations[kind]

    async def ask(self, route: str, role: str, operation: str) -> Response:
        """Use a route as it is to be used."""
        method, _, path = route.partition(" ")
        target = path.replace("{code}", CODE).replace("{order_id}", ORDER)
        if method == "GET":
            return await self.house.request(method, target, role)
        (call,) = [call for call in Call if path.endswith(f"/{call}")]
        body = self._body(SINGLE.get(call, call), operation)
        if call in SINGLE:
            body.pop("purpose", None)
            body = {"items": [{"certificateCode": CODE, "idempotencyKey": "k-1", **body}]}
        return await self.house.request("POST", target, role, content=encoded(body), headers=JSON)

    def _body(self, call: Call, operation: str) -> dict[str, Any]:
        match call:
            case Call.AUTHORIZE:
                return {"purpose": "Redemption", "amount": 500, "currency": "RUB", "cvc": self.cvc}
            case Call.CAPTURE:
                return {"authorizationId": operation}
            case Call.VOID:
                return {"operationId": operation}
            case Call.BALANCE:
                return {"cvc": self.cvc}
            case Call.BLOCK | Call.UNBLOCK:
                return {"reason": "asked for"}
            case _:
                return {}


def encoded(body: object) -> bytes:
    return msgspec.json.encode(body)


def outcome(response: Response) -> tuple[int, str]:
    """Status and code; of a bulk call that was let in, those of its item."""
    if response.status == 200 and response.content.startswith(b'{"outcomes"'):
        (one,) = response.body["outcomes"]
        return one["status"], one["body"].get("code", "")
    return response.status, response.code if response.status >= 400 else ""


# --- every route -----------------------------------------------------------------------------------------------------


def test_every_route_is_in_the_table() -> None:
    assert routes() == TABLE.keys() | OPEN


def test_the_code_has_the_same_table_and_bulk_calls_are_as_single_ones() -> None:
    written = {Call(route.rsplit("/", 1)[1]): row for route, row in TABLE.items() if route.startswith("POST")}
    written |= {
        Call.CERTIFICATE: TABLE["GET /certificates/{code}"],
        Call.OPERATIONS: TABLE["GET /certificates/{code}/operations"],
        Call.ORDER: TABLE["GET /orders/{order_id}"],
        Call.METRICS: TABLE["GET /metrics"],
    }

    assert {call: " ".join(given.reach for given in row) for call, row in WHO_MAY_WHAT.items()} == written
    assert {len(row) for row in WHO_MAY_WHAT.values()} == {len(Role)}
    assert {bulk: WHO_MAY_WHAT[bulk] for bulk in SINGLE} == {bulk: WHO_MAY_WHAT[one] for bulk, one in SINGLE.items()}


@pytest.mark.parametrize(("route", "role", "cell"), CELLS)
async def test_a_role_may_what_the_table_says_with_what_is_its_own(
    house: House, route: str, role: str, cell: str
) -> None:
    owner = role if role in SELLERS else "pos"
    scene = await Scene.played(house, owner)

    kind = OWNED.get(route, (HOLD,))[0]
    found = outcome(await scene.ask(route, role, await scene.operation(kind, owner)))

    assert found in ({(403, "Forbidden")} if cell == "no" else {(200, ""), (201, "")})


@pytest.mark.parametrize(("route", "role", "cell"), CELLS)
async def test_a_role_may_what_the_table_says_with_what_is_anothers(
    house: House, route: str, role: str, cell: str
) -> None:
    scene = await Scene.played(house, "till-2")

    found = outcome(await scene.ask(route, role, await scene.operation(HOLD, "till-2")))

    assert found in ({(200, ""), (201, "")} if cell == "all" else {(403, "Forbidden")})


@pytest.mark.parametrize("kind", [HOLD, CAPTURE, ACTIVATION])
@pytest.mark.parametrize("route", ["POST /certificates/{code}/void", "POST /voids"])
@pytest.mark.parametrize("role", sorted(SELLERS))
async def test_whatever_it_is_it_belongs_to_one_client(house: House, role: str, route: str, kind: str) -> None:
    scene = await Scene.played(house, role)
    operation = await scene.operation(kind, role)

    for other in {*SELLERS, "till-2"} - {role}:
        assert outcome(await scene.ask(route, other, operation)) == (403, "Forbidden")
    assert outcome(await scene.ask(route, role, operation)) == (201, "")


# --- on what terms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", ["POST /certificates/{code}/authorize", "POST /certificates/{code}/balance", "POST /authorizations"]
)
async def test_the_site_learns_nothing_without_the_cvc(house: House, route: str) -> None:
    scene = await Scene.played(house, "pos")
    scene.cvc = None  # type: ignore[assignment]

    assert outcome(await scene.ask(route, "storefront", "")) == (403, "CertificateRefused")
    assert outcome(await scene.ask(route, "pos", ""))[0] in {200, 201}


@pytest.mark.parametrize("route", ["POST /certificates/{code}/void", "POST /voids"])
async def test_support_alone_voids_on_a_blocked_certificate(house: House, route: str) -> None:
    scene = await Scene.played(house, "pos")
    operation = await scene.operation(HOLD, "pos")
    await house.post("block", {"reason": "stolen"}, "support")

    for role in ("pos", "payments"):
        assert outcome(await scene.ask(route, role, operation)) == (409, "CertificateBlocked")
    assert outcome(await scene.ask(route, "support", operation)) == (201, "")


# --- nobody ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nobody",
        "Bearer revoked",
        "Bearer expired",
        "Basic cG9zOnBvcw==",
        "pos",
        "Bearer pos pos",
        "Bearer " + "x" * 300,
    ],
)
async def test_nobody_is_let_in_without_a_key_that_is_valid(house: House, authorization: str | None) -> None:
    await house.keys.add(client_key("revoked", "pos", revoked_at=1))
    await house.keys.add(client_key("expired", "pos", expires_at=house.clock.now))
    headers = JSON if authorization is None else {"authorization": authorization, **JSON}

    for route in TABLE:
        method, _, path = route.partition(" ")
        target = path.replace("{code}", CODE).replace("{order_id}", ORDER)
        for asked in (method, "HEAD") if method == "GET" else (method,):
            content = b"[]" if method == "POST" else b""
            response = await house.request(asked, target, content=content, headers=headers)

            assert response.status == 401
            assert asked == "HEAD" or response.code == "Unauthenticated"
            assert response.headers["www-authenticate"] == 'Bearer realm="gift-ledger"'


@pytest.mark.parametrize("route", sorted(OPEN))
async def test_health_and_schema_are_for_everybody(house: House, route: str) -> None:
    response = await house.get(route.partition(" ")[2], None)

    assert response.status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_the_same_in_either_case(house: House, scheme: str) -> None:
    response = await house.request("GET", "/metrics", headers={"authorization": f"{scheme} ops"})

    assert response.status == 200


async def test_two_keys_are_none(house: House) -> None:
    response = await house.request("GET", "/metrics", headers={"authorization": "Bearer ops, Bearer ops"})

    assert response.status == 401


async def test_a_role_that_this_version_does_not_know_is_no_client(house: House) -> None:
    await house.keys.add(client_key("auditor"))

    response = await house.get("/metrics", "auditor")

    assert response.code == "Unauthenticated"


async def test_who_is_not_let_in_is_told_before_the_rest_is_looked_at(house: House) -> None:
    for response in (
        await house.get("/certificates/x/operations?limit=x", None),
        await house.get("/certificates/x?asOf=x", None),
        await house.post("authorize", b"{", "nobody", "x"),
    ):
        assert response.code == "Unauthenticated"
    for response in (
        await house.get("/certificates/x/operations?limit=x", "pos"),
        await house.post("block", b"{", "pos", "x"),
    ):
        assert response.code == "Forbidden"
