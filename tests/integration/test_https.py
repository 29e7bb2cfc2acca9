"""The gateway with a certificate, behind a real port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
import uvloop

from examples.connection import Connection
from examples.endpoints import Endpoints as Addresses
from gateway.server import serve
from gateway.settings import GatewaySettings
from gateway.tls import CertificateError, trusting
from gift_ledger.cli.probes import readiness
from gift_ledger.endpoints import Endpoints
from tests.integration.http_client import PATIENCE_SECONDS, Line, Served, get, hold_up, post, served
from tests.real.certificates import Pair, self_signed
from tests.unit.gateway.house import CODE, furnished

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.real

HOLD = b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}'
AUTHORIZE = f"/certificates/{CODE}/authorize"
BALANCE = f"/certificates/{CODE}/balance"
LIVE = "/health/live"
FILLER = b"X-Filler: " + b"x" * 1_000 + b"\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop of the tests, and that of the gateway in service."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path)


async def line_to(here: Served, pair: Pair) -> Line:
    line = Line(*await asyncio.open_connection("127.0.0.1", here.port, ssl=trusting(pair.certificate)))
    here.lines.append(line)
    return line


def test_calls_are_answered_over_tls(pair: Pair, loops: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        async with served(**pair.settings) as here:
            await here.house.issue()
            line = await line_to(here, pair)

            await line.send(post(AUTHORIZE, HOLD) + post(BALANCE, b"{}") + get(LIVE))
            answers = [await line.answer() for _ in range(3)]

            assert here.url == f"https://127.0.0.1:{here.port}"
        assert [answer.status for answer in answers] == [201, 200, 200]

    asyncio.run(work()) if loops is asyncio.new_event_loop else uvloop.run(work())


def test_bad_clients_are_turned_away_over_tls(pair: Pair, loops: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        async with served(**pair.settings, connections_max=2, head_bytes_max=1_024) as here:
            first, second = await line_to(here, pair), await line_to(here, pair)
            assert (await first.ask(get(LIVE))).status == 200

            refused = await (await line_to(here, pair)).answer()
            too_long = await second.ask(b"GET /health/live HTTP/1.1\r\n" + FILLER * 4)
            assert await second.rest() == b""

            assert (refused.status, refused.code) == (503, "Overloaded")
            assert (too_long.status, too_long.code) == (413, "RequestTooLarge")
            assert (await first.ask(get(LIVE))).status == 200

    asyncio.run(work()) if loops is asyncio.new_event_loop else uvloop.run(work())


def test_who_does_not_shake_hands_is_let_go(pair: Pair, loops: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def work() -> None:
        async with served(**pair.settings, receive_seconds=0.2) as here:
            silent, plain = await here.line(), await here.line()
            await plain.send(get(LIVE))

            assert await silent.rest() == b""
            assert not (await plain.rest()).startswith(b"HTTP")
            assert (await (await line_to(here, pair)).ask(get(LIVE))).status == 200

    asyncio.run(work()) if loops is asyncio.new_event_loop else uvloop.run(work())


def test_requests_under_way_are_answered_when_it_stops(
    pair: Pair, loops: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def work() -> None:
        async with served(**pair.settings, drain_seconds=0.1) as here:
            await here.house.issue()
            hot, other = await line_to(here, pair), await line_to(here, pair)
            at_work, _ = hold_up(here.house.ledger)
            await hot.send(post(AUTHORIZE, HOLD))
            await at_work.wait()
            at_work.clear()
            await other.send(post(BALANCE, b"{}"))
            await at_work.wait()

            here.stop.set()
            answers = await hot.answer(), await other.answer()
            await here.ended()

        assert [(answer.status, answer.code) for answer in answers] == [(503, "StorageUnavailable")] * 2

    asyncio.run(work()) if loops is asyncio.new_event_loop else uvloop.run(work())


async def test_our_own_commands_know_it_again_and_others_do_not(pair: Pair, tmp_path: Path) -> None:
    async with served(**pair.settings) as here:
        ready = await readiness(here.url, str(pair.certificate))
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await readiness(here.url)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await readiness(here.url, str(self_signed(tmp_path / "other").certificate))

    assert ready.components["storage"].status == "ok"


async def test_the_counterparts_know_it_again_by_endpoints_json(pair: Pair, tmp_path: Path) -> None:
    async with served(**pair.settings) as here:
        endpoints = Endpoints(
            http=here.url, http_certificate=str(pair.certificate), redis="", kafka="", sms_inbox="http://127.0.0.1:1"
        )
        endpoints.write(tmp_path)
        found = Addresses.read(tmp_path)

        async with Connection(found.http, "ops", verify=found.verify, attempts=1) as connection:
            answer = await connection.get(LIVE, dict[str, str])

    assert answer.body == {"status": "ok"}


async def test_a_certificate_that_cannot_be_used_keeps_it_from_starting(tmp_path: Path) -> None:
    pair, other = self_signed(tmp_path / "one"), self_signed(tmp_path / "other")
    settings = GatewaySettings(port=0, tls_cert=str(pair.certificate), tls_key=str(other.key))

    async with furnished() as house:
        with pytest.raises(CertificateError, match="is not that of the certificate"):
            await serve(house.app, settings, asyncio.Event())


async def test_the_connection_is_known_as_https_to_the_application(pair: Pair) -> None:
    async with served(**pair.settings) as here:
        timeout = httpx.Timeout(PATIENCE_SECONDS)
        async with httpx.AsyncClient(verify=trusting(pair.certificate), timeout=timeout, trust_env=False) as client:
            answer = await client.get(f"{here.url}{LIVE}")

    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
