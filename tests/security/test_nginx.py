"""Through nginx as `docs/security.md` recommends it: nobody gets past it, nor do both read differently."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.front import Front
from gateway.settings import GatewaySettings
from tests.integration.http_client import get
from tests.real.certificates import Issuer, self_signed
from tests.real.nginx import Nginx
from tests.security.framing import SOUND, ambiguous, within
from tests.security.stage import call, redemption, street
from tests.security.test_roles import BLOCK, METRICS, asked
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.real.certificates import Pair
    from tests.security.stage import Street

pytestmark = pytest.mark.real

CLOSE = "Connection: close"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LIVE = "/health/live"
AT_ONCE = 100


class Guarded:
    """A gateway behind nginx, and a client that has a certificate."""

    def __init__(self, here: Street, nginx: Nginx, pair: Pair) -> None:
        self.here = here
        self.nginx = nginx
        self.pair = pair

    async def raw(self, data: bytes, local: str = "127.0.0.1") -> bytes:
        return await self.nginx.raw(data, self.pair, local)

    async def each(self, requests: dict[str, bytes]) -> dict[str, bytes]:
        """Send each on a connection of its own, some at once: it may take a second until nginx hangs up."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(data: bytes) -> bytes:
            async with room:
                return await self.raw(data)

        answers = await asyncio.gather(*(one(data) for data in requests.values()))
        return dict(zip(requests, answers, strict=True))


@asynccontextmanager
async def guarded(
    redis_url: str,
    folder: Path,
    binary: str,
    **bounds: Any,  # noqa: ANN401 - those of the settings
) -> AsyncIterator[Guarded]:
    (folder / "nginx").mkdir()
    async with street(redis_url, folder / "run", **bounds) as here:
        nginx = Nginx(binary, folder / "nginx", here.door.port)
        await asyncio.to_thread(nginx.start)
        try:
            yield Guarded(here, nginx, nginx.clients.pair(folder / "client"))
        finally:
            await asyncio.to_thread(nginx.stop)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Every request that a gateway takes: method and path, each as often as it does."""
    found = Counter[str]()
    call_, begin = Front.__call__, Front.begin

    async def counted(front: Front, scope: Any, *rest: Any) -> None:  # noqa: ANN401 - ASGI's
        if scope["type"] == "http":
            found[f"{scope['method']} {scope['path']}"] += 1
        await call_(front, scope, *rest)

    def begun(front: Front, scope: Any, *rest: Any) -> Any:  # noqa: ANN401 - as above
        asking = begin(front, scope, *rest)
        if asking is not None:
            found[f"{scope['method']} {scope['path']}"] += 1
        return asking

    monkeypatch.setattr(Front, "__call__", counted)
    monkeypatch.setattr(Front, "begin", begun)
    return found


SECONDS = {
    "one that nginx denies": get("/metrics", CLOSE, client="ops"),
    "one that costs money": call(CODE, "authorize", redemption(66), "pos", CLOSE),
}


async def test_the_gateway_takes_what_nginx_has_passed_on_and_nothing_else(
    redis_url: str, tmp_path: Path, nginx: str, taken: Counter[str]
) -> None:
    async with guarded(redis_url, tmp_path, nginx) as one:
        await one.here.issue(CODE)
        issued = sum(taken.values())
        requests = dict[str, bytes]()
        for kind, second in SECONDS.items():
            found = ambiguous(second) | within(second) | {name: data + second for name, data in SOUND.items()}
            requests |= {f"{kind}, {name}": data for name, data in found.items()}

        answers = await one.each(requests)
        # no connection between nginx and the gateway is left with half a request on it, or an answer too many
        after = [await one.raw(get(LIVE, f"X-Request-Id: mine-{number}", CLOSE)) for number in range(40)]

        await asyncio.to_thread(one.nginx.stop)
        passed = one.nginx.passed_on()

    assert sum(taken.values()) - issued == sum(passed.values())
    assert taken - passed == Counter({f"POST /certificates/{CODE}/authorize": 1}), "the sale went past nginx"
    assert "GET /metrics" not in taken
    assert not any(b"gift_ledger_" in answer for answer in answers.values())
    for number, answer in enumerate(after):
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nx-request-id: mine-%d\r\n" % number in answer
    refused = [name for name in requests if ", CL.TE" in name or "TE.CL" in name or "two lengths" in name]
    assert {STATUS.findall(answers[name])[0] for name in refused} == {b"400"}


@pytest.mark.parametrize("who", ["nobody", "self-signed", "of another issuer", "expired"])
async def test_nobody_gets_in_without_a_certificate_of_the_company(
    redis_url: str, tmp_path: Path, nginx: str, taken: Counter[str], who: str
) -> None:
    async with guarded(redis_url, tmp_path, nginx) as one:
        strangers = {
            "nobody": None,
            "self-signed": self_signed(tmp_path / "self"),
            "of another issuer": Issuer().pair(tmp_path / "other"),
            "expired": one.nginx.clients.pair(tmp_path / "late", days=-1),
        }
        answer = await one.nginx.raw(get(LIVE, CLOSE) * 2, strangers[who])
        assert sum(taken.values()) == 0

        known = await one.raw(get(LIVE, CLOSE))
        keyless = await one.raw(get("/orders/SO-1", CLOSE, client="nobody"))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"nginx/" not in answer
    assert known.startswith(b"HTTP/1.1 200 ")
    assert keyless.startswith(b"HTTP/1.1 401 "), "a certificate is no key"


async def test_no_address_leads_to_what_nginx_denies(redis_url: str, tmp_path: Path, nginx: str) -> None:
    async with guarded(redis_url, tmp_path, nginx) as one:
        answers = await one.each({target: asked("GET", target, "ops", content=b"") for target in METRICS})
        inside = await one.here.door.ask(get("/metrics", client="ops"))

    assert {target: answer[:12] for target, answer in answers.items() if b"gift_ledger_" in answer} == {}
    assert {target for target, answer in answers.items() if not answer.startswith(b"HTTP/1.1 4")} == set()
    assert b"gift_ledger_" in inside.content


async def test_no_address_leads_around_the_table_through_nginx(redis_url: str, tmp_path: Path, nginx: str) -> None:
    async with guarded(redis_url, tmp_path, nginx) as one:
        await one.here.issue(CODE)

        answers = await one.each({target: asked("POST", target, "pos") for target in BLOCK})
        state = await one.here.state(CODE)

    assert {target for target, answer in answers.items() if not answer.startswith(b"HTTP/1.1 4")} == set()
    assert state["status"] == "Active"


async def test_an_address_that_a_client_makes_up_changes_nothing(redis_url: str, tmp_path: Path, nginx: str) -> None:
    async with guarded(redis_url, tmp_path, nginx, trusted_proxies="127.0.0.1") as one:
        cvc = await one.here.issue(CODE)
        most = GatewaySettings().guess_address_wrong_max

        def guess(number: int, code: str = "GC-NOBODY-HAS", with_cvc: str = "0000") -> bytes:
            told = (f"X-Forwarded-For: 198.51.100.{number}", f"Forwarded: for=198.51.100.{number}", CLOSE)
            return call(f"{code}", "balance", {"cvc": with_cvc}, "storefront", *told)

        guesses = [await one.raw(guess(number, f"GC-ENUM-{number:05}"), "127.0.0.2") for number in range(most + 5)]
        other = await one.raw(guess(1, CODE, cvc), "127.0.0.3")

    assert [STATUS.findall(answer) for answer in guesses] == [[b"403"]] * most + [[b"429"]] * 5
    # and it is his alone: nginx has said whose it is
    assert other.startswith(b"HTTP/1.1 200 ")
    assert msgspec.json.decode(other.partition(b"\r\n\r\n")[2])["certificateCode"] == CODE


async def test_nginx_refuses_without_telling_its_version(redis_url: str, tmp_path: Path, nginx: str) -> None:
    async with guarded(redis_url, tmp_path, nginx) as one:
        answers = await one.each(
            {
                "too long a header": get(LIVE, CLOSE, "X-Filler: " + "x" * 9_000),
                "too long a body": asked("POST", "/authorizations", "pos", content=b" " * 1_048_577),
                "no request": b"nonsense\r\n\r\n",
                "two hosts": get(LIVE, CLOSE, "Host: other"),
                "no host": get(LIVE, CLOSE).replace(b"Host: ledger\r\n", b""),
                "denied": get("/metrics", CLOSE, client="ops"),
            }
        )

    assert {name: STATUS.findall(answer) for name, answer in answers.items()} == {
        "too long a header": [b"400"],
        "too long a body": [b"413"],
        "no request": [b"400"],
        "two hosts": [b"400"],
        "no host": [b"400"],
        "denied": [b"403"],
    }
    assert [name for name, answer in answers.items() if b"nginx/" in answer] == []
