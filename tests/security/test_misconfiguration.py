"""API8 and API9: errors tell nothing of the inside, nothing is open that should not be, and no route is forgotten."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from actors.errors import OutcomeUnknownError, OverloadedError
from gateway.handlers import ROUTES
from gateway.problems import KINDS
from persistence.errors import DamagedLogError, StorageUnavailableError
from tests.integration.http_client import PATIENCE_SECONDS, get, hold_up, post, request, served
from tests.security.stage import NAME, PHONE, call, redemption, street
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.http_client import Answer

pytestmark = pytest.mark.real

PROBLEM = "application/problem+json"
SECRET = "/srv/secret/place.py line 7"
INSIDE = re.compile(
    rb"traceback|file \"|\.py\b|line \d|uvicorn|litestar|python|httptools|redis|valkey|msgspec|"
    rb"exception|errno|/tmp/|secret|0x[0-9a-f]{6}",
    re.IGNORECASE,
)
"""What would tell of the inside: programs, their versions, files, stacks."""
TELLING = {"server", "x-powered-by", "via", "x-aspnet-version", "set-cookie"}
LIVE = "/health/live"
HOLD = msgspec.json.encode(redemption())
ISSUED = "GC-0000-0002"
"""No example has it, as one has `CODE`."""
AUTHORIZE = f"/certificates/{CODE}/authorize"
JSON = "Content-Type: application/json"


def check(answer: Answer) -> None:
    """An error is a problem document that tells nothing of the inside."""
    assert answer.headers["content-type"] == PROBLEM
    assert msgspec.json.decode(answer.content)["status"] == answer.status
    assert not INSIDE.search(answer.content), answer.content
    assert not TELLING & answer.headers.keys()
    assert answer.headers["x-request-id"]


async def test_errors_of_every_status_are_problems_that_tell_nothing_of_the_inside() -> None:
    found: dict[int, Answer] = {}

    def keep(*answers: Answer) -> None:
        found.update({answer.status: answer for answer in answers})

    async with served(receive_seconds=0.3, requests_in_flight_max=2) as here:
        cvc = await here.house.issue()
        line = await here.line()
        keep(
            await line.ask(post(AUTHORIZE, b"{")),
            await line.ask(post(AUTHORIZE, HOLD, client="nobody")),
            await line.ask(post(AUTHORIZE, HOLD, client="ops")),
            await line.ask(get("/.git/config")),
            await line.ask(request("PUT", AUTHORIZE, client="pos")),
            await line.ask(post(AUTHORIZE, msgspec.json.encode(redemption(10**12)))),
            await line.ask(post(AUTHORIZE, b" " * 20_000)),
            await line.ask(request("POST", AUTHORIZE, "Content-Type: text/xml", "Content-Length: 0", client="pos")),
            await line.ask(post(AUTHORIZE, msgspec.json.encode({**redemption(), "currency": "EUR"}))),
        )
        for _ in range(3):
            await line.ask(post(AUTHORIZE, msgspec.json.encode(redemption(cvc=f"{(int(cvc) + 1) % 10_000:04}"))))
        keep(await line.ask(post(AUTHORIZE, msgspec.json.encode(redemption(cvc=cvc)))))
        slow = await here.line()
        await slow.send(b"GET / HTTP/1.1\r\n")
        keep(await slow.answer())
        for error in (
            RuntimeError(SECRET),
            OutcomeUnknownError(SECRET),
            OverloadedError(SECRET),
            StorageUnavailableError(SECRET),
            DamagedLogError(SECRET),
            TimeoutError(SECRET),
        ):

            async def fail(error: Exception = error) -> None:
                raise error

            here.house.ledger.trouble = fail
            answer = await line.ask(post(AUTHORIZE, HOLD))
            check(answer)
            keep(answer)
        here.house.ledger.trouble = None

    for answer in found.values():
        check(answer)
    assert set(found) == {kind.status for kind in KINDS.values()}


async def test_who_is_too_much_is_told_nothing_of_the_inside() -> None:
    async with served(requests_in_flight_max=1, connections_address_max=2) as here:
        await here.house.issue()
        line, other = await here.line(), await here.line()
        at_work, go_on = hold_up(here.house.ledger)
        await line.send(post(AUTHORIZE, HOLD))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await at_work.wait()

        answers = [
            await other.ask(post(AUTHORIZE, HOLD)),
            await other.ask(get("/schema")),
            await (await here.line()).answer(),
        ]
        go_on.set()
        assert (await line.answer()).status == 201

    for answer in answers:
        check(answer)
        assert (answer.status, answer.code) == (503, "Overloaded")


async def test_no_answer_names_the_server_or_sets_a_cookie(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        answers = [
            await here.door.ask(data)
            for data in (
                call(CODE, "authorize", redemption(), "pos"),
                *(get(target) for target in (LIVE, "/health/ready", "/schema", "/schema/openapi.json", "/metrics")),
                get(f"/certificates/{CODE}"),
                request("OPTIONS", "/metrics", client="ops"),
            )
        ]

    assert all(answer.status < 300 for answer in answers)
    assert [answer.headers.keys() & TELLING for answer in answers] == [set()] * len(answers)


async def test_the_page_may_load_and_do_nothing(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        page = await here.door.ask(get("/schema"))
        document = await here.door.ask(get("/schema/openapi.json"))

    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert b"<script" not in page.content.lower()
    assert document.headers["content-type"] == "application/json"


async def test_no_page_of_another_origin_reads_an_answer(redis_url: str, tmp_path: Path) -> None:
    origin = ("Origin: https://evil.example", "Access-Control-Request-Method: POST")
    more = "Access-Control-Request-Headers: authorization, idempotency-key"
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        answers = [
            await here.door.ask(data)
            for data in (
                *(request("OPTIONS", one, *origin, more, client="ops") for one in (AUTHORIZE, "/metrics", "/schema")),
                *(get(target, *origin) for target in ("/metrics", "/schema", LIVE, "/nowhere")),
                call(CODE, "authorize", redemption(), "pos", *origin),
                get("/metrics", "Origin: null"),
            )
        ]
        before = len(here.door.ledger.changes)
        # what a form of another page can send without being asked is refused
        forms = [
            await here.door.ask(request("POST", AUTHORIZE, kind, "Content-Length: 2", client="pos") + b"{}")
            for kind in (
                "Content-Type: text/plain",
                "Content-Type: application/x-www-form-urlencoded",
                "Content-Type: multipart/form-data; boundary=x",
            )
        ]

        assert len(here.door.ledger.changes) == before
    assert [name for answer in answers for name in answer.headers if name.startswith("access-control")] == []
    assert [answer.status for answer in forms] == [415] * 3


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "TRACK", "DEBUG", "PROPFIND", "PATCH", "DELETE", "PUT"])
async def test_methods_that_are_not_there_repeat_nothing(redis_url: str, tmp_path: Path, method: str) -> None:
    async with street(redis_url, tmp_path) as here:
        answers = [
            await here.door.raw(request(method, target, "X-Secret: 4821-mine", "Connection: close", client="ops"))
            for target in ("/metrics", AUTHORIZE, "/schema", LIVE)
        ]

    for answer in answers:
        assert answer.startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 400 "))
        assert b"4821-mine" not in answer
        assert PROBLEM.encode() in answer


async def test_what_needs_no_key_and_what_operators_read_gives_nothing_secret_away(
    redis_url: str, tmp_path: Path
) -> None:
    targets = (LIVE, "/health/ready", "/schema", "/schema/openapi.json", "/metrics")
    async with street(redis_url, tmp_path) as here:
        cvc = await here.issue(ISSUED, "storefront")
        held = await here.hold(ISSUED, "storefront", cvc=cvc)
        await here.door.ask(call("GC-NOBODY-HAS", "authorize", redemption(cvc="0000"), "storefront"))

        answers = {target: await here.door.ask(get(target)) for target in targets}
        others = [
            (await here.door.ask(get("/metrics", client=client))).status
            for client in ("nobody", "pos", "storefront", "payments", "support")
        ]

    assert others == [401, 403, 403, 403, 403]
    secrets = [ISSUED.encode(), held.encode(), PHONE.encode(), NAME.encode(), b"GC-NOBODY-HAS", redis_url.encode()]
    documented = {PHONE.encode()}  # it stands in the page's examples
    for target, answer in answers.items():
        assert answer.status == 200
        found = {secret for secret in secrets if secret in answer.content}
        assert found <= (documented if target.startswith("/schema") else set()), target
        assert b"127.0.0.1:" not in answer.content.replace(b"http://127.0.0.1:8080", b""), target


FORGOTTEN = [
    *("/", "/docs", "/redoc", "/swagger", "/openapi.json", "/schema/swagger", "/schema/redoc", "/schema/elements"),
    *("/schema/openapi.yaml", "/v1/certificates/GC-7K2M-9QXA", "/api/metrics", "/admin", "/debug", "/debug/pprof"),
    *("/actuator", "/actuator/env", "/.env", "/.git/config", "/server-status", "/health", "/healthz", "/status"),
    *("/certificates", "/certificates/", "/orders", "/orders/", "/keys", "/audit", "/dlq", "/favicon.ico"),
    "/robots.txt",
]


async def test_there_is_nothing_beside_what_is_documented(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        document = msgspec.json.decode((await here.door.ask(get("/schema/openapi.json"))).content)
        answers = {target: (await here.door.ask(get(target, client="ops"))).status for target in FORGOTTEN}

    told = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    there = {
        f"{method} {re.sub(r':[a-z]+', '', path).replace('order_id', 'orderId')}"
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
        if method != "HEAD"
    }
    assert there == told
    assert {target: status for target, status in answers.items() if status not in {404, 405}} == {}
