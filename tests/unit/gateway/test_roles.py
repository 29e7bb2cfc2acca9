"""Who may do what: every route with every role, and without a key."""

from __future__ import annotations

import pytest

from gateway.access import MAY, Call, Role
from tests.unit.gateway.house import CODE, ORDER, ROLES, House, client_key

TARGETS: dict[Call, tuple[str, str]] = {
    Call.AUTHORIZE: ("POST", f"/certificates/{CODE}/authorize"),
    Call.CAPTURE: ("POST", f"/certificates/{CODE}/capture"),
    Call.VOID: ("POST", f"/certificates/{CODE}/void"),
    Call.BALANCE: ("POST", f"/certificates/{CODE}/balance"),
    Call.BLOCK: ("POST", f"/certificates/{CODE}/block"),
    Call.UNBLOCK: ("POST", f"/certificates/{CODE}/unblock"),
    Call.CVC: ("POST", f"/certificates/{CODE}/cvc"),
    Call.AUTHORIZATIONS: ("POST", "/authorizations"),
    Call.CAPTURES: ("POST", "/captures"),
    Call.VOIDS: ("POST", "/voids"),
    Call.CERTIFICATE: ("GET", f"/certificates/{CODE}"),
    Call.OPERATIONS: ("GET", f"/certificates/{CODE}/operations"),
    Call.ORDER: ("GET", f"/orders/{ORDER}"),
    Call.METRICS: ("GET", "/metrics"),
}

# The table of the contract, written out once more, with the bulk calls beside the single ones.
EXPECTED = {
    "storefront": {"authorize", "authorizations", "balance", "capture", "captures", "void", "voids"},
    "pos": {"authorize", "authorizations", "balance", "capture", "captures", "void", "voids"},
    "payments": {"certificate", "operations", "order", "capture", "captures", "void", "voids"},
    "support": {"certificate", "operations", "order", "void", "voids", "block", "unblock", "cvc"},
    "ops": {"certificate", "operations", "order", "metrics"},
}


def test_the_table_is_that_of_the_contract() -> None:
    assert {role.value: {call.value for call in calls} for role, calls in MAY.items()} == EXPECTED
    assert set(TARGETS) == set(Call)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_what_the_table_says(house: House, role: str) -> None:
    let_in = set()

    for call, (method, path) in TARGETS.items():
        # a body that fits no call: who is let in is told so, or gets what he asked for
        response = await house.request(method, path, role, content=b"[]" if method == "POST" else b"", headers=JSON)
        if response.status == 403:
            assert response.code == "Forbidden"
            assert role in response.body["detail"]
        else:
            assert response.status in {200, 400, 404}, response.content
            let_in.add(call)

    assert let_in == MAY[Role(role)]


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nobody",
        "Basic cG9zOnBvcw==",
        "pos",
        "Bearer pos pos",
        "Bearer " + "x" * 300,
    ],
)
async def test_nobody_is_let_in_without_a_key(house: House, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}

    for method, path in TARGETS.values():
        response = await house.request(method, path, content=b"[]" if method == "POST" else b"", headers=headers)

        assert (response.status, response.code) == (401, "Unauthenticated")
        assert response.headers["www-authenticate"] == 'Bearer realm="gift-ledger"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_the_same_in_either_case(house: House, scheme: str) -> None:
    response = await house.request("GET", "/metrics", headers={"authorization": f"{scheme} ops"})

    assert response.status == 200


async def test_two_keys_are_none(house: House) -> None:
    response = await house.request("GET", "/metrics", headers={"authorization": "Bearer ops, Bearer ops"})

    assert response.status == 401


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/schema", "/schema/openapi.json"])
async def test_health_and_schema_are_for_everybody(house: House, path: str) -> None:
    response = await house.get(path, None)

    assert response.status == 200


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


async def test_own_operations_only_for_those_who_trade(house: House) -> None:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]

    for call, body in (("capture", {"authorizationId": hold}), ("void", {"operationId": hold})):
        assert (await house.post(call, body, "till-2")).code == "Forbidden"
    assert (await house.post("capture", {"authorizationId": hold}, "payments")).status == 201
