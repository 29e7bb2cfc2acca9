"""API5: no role gets further than the table lets it, whatever address, method or header it makes up."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec
import pytest

from ledger.commands import Block, Capture
from tests.integration.http_client import request
from tests.security.stage import call, redemption, street, told
from tests.unit.gateway.house import ROLES
from tests.unit.gateway.test_roles import TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security.stage import Door

pytestmark = pytest.mark.real

CODE = "GC-7K2M-9QXA"
REASON = msgspec.json.encode({"reason": "mine"})
CLOSE = "Connection: close"
BODIES: dict[str, object] = {
    "authorize": redemption(),
    "authorizations": {"items": []},
    "capture": {"authorizationId": "au_1_x"},
    "captures": {"items": []},
    "void": {"operationId": "op_1_x"},
    "voids": {"items": []},
    "balance": {},
    "block": {"reason": "mine"},
    "unblock": {"reason": "mine"},
    "cvc": {},
}
REFUSED = {400, 401, 403, 404, 405}

BLOCK = [
    *("//certificates/{code}/block", "/certificates//{code}/block", "/certificates/{code}//block"),
    *("/certificates/{code}/block/", "/certificates/{code}/block//", "/certificates/{code}/block/."),
    *("/./certificates/{code}/block", "/x/../certificates/{code}/block", "/certificates/{code}/authorize/../block"),
    *("/certificates/{code}/authorize/%2e%2e/block", "/certificates/{code}/authorize/..;/block"),
    *("/certificates/{code}/authorize/%252e%252e/block", "/certificates/{code}/authorize%2f..%2fblock"),
    *("/certificates/{code}/authorize%5c..%5cblock", "\\certificates\\{code}\\block", "/certificates/{code}\\block"),
    *("/certificates/{code};x=1/block", "/certificates/{code}/block;x=1", "/certificates/{code}/;/block"),
    *("/certificates/{code}%2fblock", "/certificates/{code}%2Fblock", "/certificates%2f{code}%2fblock"),
    *("/certificates/{code}/%62lock", "/%63ertificates/{code}/block", "/certificates/{code}/bloc%6B"),
    *("/certificates/{code}/block%00", "/certificates/{code}/block%20", "/certificates/{code}/block%0d%0a"),
    *("/certificates/{code}/block.", "/certificates/{code}/block.json", "/certificates/{code}/block~"),
    *("/certificates/{code}/BLOCK", "/CERTIFICATES/{code}/block", "/certificates/{code}/\u0432lock"),
    *("/certificates/{code}/authorize?/../block", "/certificates/{code}/block?role=support&call=authorize"),
    *("/certificates/{code}/block#/authorize", "http://127.0.0.1/certificates/{code}/block"),
    *("http://ledger.example/certificates/{code}/block", "//ledger.example/certificates/{code}/block", "*"),
    *("certificates/{code}/block", "/orders/../certificates/{code}/block", "/health/../certificates/{code}/block"),
    *("/health/live/../../certificates/{code}/block", "/schema/..%2fcertificates/{code}/block"),
]
METRICS = [
    *("//metrics", "/metrics/", "/metrics//", "/./metrics", "/x/../metrics", "/health/../metrics", "/metrics;x"),
    *("/health/..%2fmetrics", "/schema/%2e%2e/metrics", "/%6detrics", "/metrics%2f", "/metrics%00", "/metrics.json"),
    *(
        "/orders/..%2fmetrics",
        "/orders/%2e%2e%2fmetrics",
        "/METRICS",
        "http://127.0.0.1/metrics",
        "/metrics?x",
        "/metrics#",
    ),
    *("/schema/../metrics", "/metrics/.", "/metrics/..", "/metrics%20", "\\metrics", "metrics"),
]


async def status(door: Door, data: bytes) -> int:
    """What comes back; 0 if the gateway hangs up without a word."""
    answer = await door.raw(data)
    return int(answer.split(b" ", 2)[1]) if answer else 0


def asked(method: str, target: str, client: str, *headers: str, content: bytes = REASON) -> bytes:
    told_of = ("Content-Type: application/json", f"Content-Length: {len(content)}", CLOSE, *headers)
    return request(method, target.format(code=CODE), *told_of, client=client) + content


async def test_every_route_with_every_role(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        for (route, row), client in product(TABLE.items(), [*ROLES, "nobody"]):
            method, _, path = route.partition(" ")
            target = path.replace("{order_id}", f"SO-{CODE}")
            content = b"" if method == "GET" else msgspec.json.encode(BODIES[path.rsplit("/", 1)[1]])
            before = len(here.door.ledger.changes)

            answer = await here.door.ask(asked(method, target, client, content=content))

            if client == "nobody":
                assert told(answer) == (401, "Unauthenticated"), route
            elif dict(zip(ROLES, row.split(), strict=True))[client] == "no":
                assert told(answer) == (403, "Forbidden"), (route, client)
            else:
                assert answer.status not in {401, 405, 500}, (route, client)
                # what is not there is a hold or an operation; the address is
                assert told(answer) not in {(403, "Forbidden"), (404, "NotFound")}, (route, client)
                continue
            assert len(here.door.ledger.changes) == before


async def test_no_address_leads_around_the_table(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        clients = [client for client in (*ROLES, "nobody") if client != "support"]

        blocked = {
            (target, client): await status(here.door, asked("POST", target, client))
            for target, client in product(BLOCK, clients)
        }
        told_of = {
            (target, client): await status(here.door, asked("GET", target, client, content=b""))
            for target, client in product(METRICS, [client for client in (*ROLES, "nobody") if client != "ops"])
        }
        done = [command for command in here.door.ledger.changes if isinstance(command, Block)]
        state = await here.state(CODE)

    assert {one: found for one, found in (blocked | told_of).items() if found not in REFUSED} == {}
    assert (done, state["status"]) == ([], "Active")


async def test_no_address_makes_a_hold_of_another_ones_own(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        hold = await here.hold(CODE, "pos")
        content = msgspec.json.encode({"authorizationId": hold})
        targets = [target.replace("block", "capture").replace("%62lock", "%63apture") for target in BLOCK]

        found = {
            target: await status(here.door, asked("POST", target, "till-2", content=content)) for target in targets
        }
        reached = [one for one in here.door.ledger.changes if isinstance(one, Capture)]
        state = await here.state(CODE)

    assert {target: one for target, one in found.items() if one not in REFUSED} == {}
    assert reached, "some of them are the call itself, which the ledger refuses"
    assert [one["authorizationId"] for one in state["holds"]] == [hold]


METHODS = [
    "GET",
    "HEAD",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "TRACK",
    "CONNECT",
    "post",
    "Post",
    "PROPFIND",
    "X",
]
OVERRIDES = [
    *(
        f"{name}: {value}"
        for name in ("X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override")
        for value in ("POST", "GET")
    ),
    *(
        f"{name}: {value}"
        for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Uri", "X-Original-URI")
        for value in (f"/certificates/{CODE}/block", "/metrics")
    ),
    *("X-Forwarded-Prefix: /metrics", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"),
    *(
        "X-Forwarded-Host: localhost",
        "X-Forwarded-User: support",
        "X-Role: support",
        "X-Client: support",
        "Host: support",
    ),
]


async def test_no_method_does_what_another_may_not(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.changes)

        found = {
            (method, client): await status(here.door, asked(method, "/certificates/{code}/block", client))
            for method, client in product(METHODS, ("pos", "support"))
        }

        assert len(here.door.ledger.changes) == before
        assert (await here.state(CODE))["status"] == "Active"
    allowed = {("OPTIONS", client): 204 for client in ("pos", "support")}
    assert {one: status for one, status in found.items() if status not in {400, 405}} == allowed


async def test_no_header_stands_for_another_method_address_or_caller(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.changes)

        found = {
            (header, method, target): await status(here.door, asked(method, target, "pos", header))
            for header in OVERRIDES
            for method, target in (
                ("GET", f"/certificates/{CODE}/block"),
                ("POST", "/metrics"),
                ("POST", "/schema"),
                ("GET", "/metrics"),
                ("POST", f"/certificates/{CODE}/block"),
            )
        }

        assert len(here.door.ledger.changes) == before
    plain = [405, 405, 405, 403, 403]
    assert list(found.values()) == plain * len(OVERRIDES)


@pytest.mark.parametrize(
    ("twice", "status_wanted"),
    [
        (("Idempotency-Key: a", "Idempotency-Key: b"), 400),
        (("Idempotency-Key: a", "Idempotency-Key: a"), 400),
        (('Idempotency-Key: "a', 'Idempotency-Key: b"'), 400),
        (("Content-Type: text/plain",), 415),
        (("Content-Encoding: identity", "Content-Encoding: gzip"), 415),
        (("Content-Length: 0",), 400),
        (("Content-Length: 55",), 400),
        (("Authorization: Bearer support",), 401),
        (("X-Request-Id: mine-1", "X-Request-Id: mine-2"), 201),
    ],
)
async def test_a_header_that_stands_twice_is_not_read_as_one_of_both(
    redis_url: str, tmp_path: Path, twice: tuple[str, ...], status_wanted: int
) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)

        answer = await here.door.raw(call(CODE, "authorize", redemption(), "pos", CLOSE, *twice))

    head, _, content = answer.partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) == status_wanted
    assert b"\r\nx-request-id: " in head
    assert b"mine-" not in head
    assert (status_wanted < 400) == (b'"code"' not in content)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/0.9\r\nAuthorization: Bearer pos\r\n\r\n",
        b"GET /metrics HTTP/1.0\r\nAuthorization: Bearer pos\r\n\r\n",
        b"GET /metrics HTTP/1.2\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET /metrics HTTP/2.0\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET /metrics HTTP/11\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET /metrics http/1.1\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET  /metrics HTTP/1.1\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET\t/metrics\tHTTP/1.1\r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"GET /metrics HTTP/1.1 \r\nAuthorization: Bearer pos\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
async def test_no_version_of_http_leads_around_the_table(redis_url: str, tmp_path: Path, data: bytes) -> None:
    async with street(redis_url, tmp_path, idle_seconds=0.5) as here:
        found = await status(here.door, data)

    assert found in {0, *REFUSED}
