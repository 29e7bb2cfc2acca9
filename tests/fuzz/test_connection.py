"""Whatever a client sends instead of a request: it gets an answer as every other, or none, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.breaking import broken
from tests.integration.http_client import PATIENCE_SECONDS, get, post, request, served
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.http_client import Served

pytestmark = pytest.mark.real

AT_ONCE = 24
"""Connections of one example: each may have to be waited for."""
HASTE_SECONDS = 0.2
"""Half a request is not waited for long."""
HOLD = b'{"purpose":"Redemption","amount":1,"currency":"RUB"}'
CHUNKED = request(
    "POST",
    f"/certificates/{CODE}/authorize",
    "Content-Type: application/json",
    "Transfer-Encoding: chunked",
    client="pos",
)
REQUESTS = (
    post(f"/certificates/{CODE}/authorize", HOLD, "Idempotency-Key: till-7"),
    post(f"/certificates/{CODE}/capture", b'{"authorizationId":"au_4_x"}', 'Idempotency-Key: "a\\"b"'),
    post("/authorizations", b'{"items":[{"certificateCode":"GC-7K2M-9QXA"}]}'),
    CHUNKED + b"%x;a=b\r\n%s\r\n0\r\nX-Late: 1\r\n\r\n" % (len(HOLD), HOLD),
    get(
        f"/certificates/{CODE}?asOf=2026-11-23T07:00:00Z&a=%41",
        'If-None-Match: W/"4", *',
        "traceparent: 00-" + "1" * 32,
    ),
    get(f"/certificates/{CODE}/operations?after=0&limit=5"),
    get("/orders/SO%2F1", "Expect: 100-continue", "X-Request-Id: a"),
    get("/schema/openapi.json", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ"),
    request("HEAD", "/health/live", client="nobody"),
    request("OPTIONS", "/metrics", client="ops"),
)
OF_HTTP = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\x00",
        b":",
        b"\xff",
        b"\x80",
        b"%",
        b"%00",
        b"%2f",
        b"%ff",
        b"%2e%2e/",
    ),
    *(b"/../", b"//", b"?", b"#", b"http://elsewhere/", b"*", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"),
    *(
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length:\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding : chunked\r\n"),
    *(b"ffffffffffffffffff\r\n", b"0\r\n\r\n", b"-1\r\n", b"1;" + b"a" * 99 + b"\r\n", b"Content-Encoding: gzip\r\n"),
    *(
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Connection: close\r\n",
        b" folded\r\n",
    ),
    *(
        b"HTTP/2.0",
        b"HTTP/1.0",
        b"HTTP/0.9",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"CONNECT a:1 HTTP/1.1\r\n",
    ),
    *(
        b"A" * 40_000,
        b"a: b\r\n" * 3_000,
        b"Authorization: Bearer \xff\r\n",
        b"Authorization: Bearer pos, pos\r\n",
        b"Host: a\r\n",
    ),
)
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")
ANSWERED = {200, 201, 204, 304, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429}
CONTINUE = 100


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Running:
    """A gateway on a port, in a loop that goes on between examples."""

    def __init__(self, runner: asyncio.Runner, here: Served, errors: Errors) -> None:
        self._runner = runner
        self._port = here.port
        self._errors = errors
        runner.get_loop().set_exception_handler(lambda _, context: errors.lines.append(str(context)))

    def send(self, parts: list[list[bytes]]) -> list[bytes]:
        """Send each list over a connection of its own, part by part; gives all that came back on each."""
        return self._runner.run(self._send(parts))

    def check(self) -> None:
        """Fail if anything was logged as an error, or if the gateway does not answer any more."""
        assert self._errors.lines == []
        (answer,) = self.send([[get("/health/live", "Connection: close")]])
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    async def _send(self, parts: list[list[bytes]]) -> list[bytes]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.gather(*(self._line(one) for one in parts))

    async def _line(self, parts: list[bytes]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    errors = Errors()
    logging.getLogger().addHandler(errors)
    with asyncio.Runner() as runner:
        serving = served(receive_seconds=HASTE_SECONDS, idle_seconds=HASTE_SECONDS)
        here = runner.run(serving.__aenter__())
        runner.run(here.house.issue())
        try:
            yield Running(runner, here, errors)
        finally:
            runner.run(serving.__aexit__(None, None, None))
            logging.getLogger().removeHandler(errors)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Return what a client sends: requests, some broken, in pieces."""
    whole = b"".join(
        draw(st.lists(broken(*REQUESTS, nasty=OF_HTTP) | st.sampled_from(REQUESTS), min_size=1, max_size=3))
    )
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def check_answers(received: bytes) -> None:
    """What came is answers, each as it has to be. Bodies are parted by their lengths, but for those of HEAD."""
    statuses = [int(status) for status in ANSWER.findall(received)]
    assert set(statuses) <= ANSWERED | {CONTINUE}
    assert not received or received.startswith(b"HTTP/1.1 ")
    assert received.lower().count(b"\r\nx-request-id: ") >= sum(status != CONTINUE for status in statuses)
    for head, content in _parted(received):
        if b"application/problem+json" in head and content:
            problem: dict[str, Any] = json.loads(content)
            assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
            assert problem["code"] != "InternalError"


def _parted(received: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Head and body of each answer. One to HEAD has a length and no body: another answer follows, or nothing."""
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        size = int(length[1]) if length and not rest.startswith(b"HTTP/1.1 ") else 0
        yield head, rest[:size]
        received = rest[size:]


@settings(
    max_examples=max(10, settings().max_examples // 20), phases=(Phase.explicit, Phase.reuse, Phase.generate)
)  # to shrink would take an hour
@given(st.lists(conversations(), min_size=AT_ONCE, max_size=AT_ONCE))
def test_conversations(running: Running, talks: list[list[bytes]]) -> None:
    for talk, received in zip(talks, running.send(talks), strict=True):
        try:
            check_answers(received)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{error}\nto {talk!r:.5000}\ncame {received!r:.5000}") from error
    running.check()


def test_a_conversation_that_is_whole_is_answered(running: Running) -> None:
    (received,) = running.send([[one for one in REQUESTS if b"Upgrade" not in one and b"100-continue" not in one]])

    assert [int(status) for status in ANSWER.findall(received)] == [201, 404, 200, 201, 200, 200, 200, 204]
    check_answers(received)


@pytest.mark.parametrize(
    "body", [b'{"purpose":"Sale","a":' + b"[" * 16_000, b'{"a":' * 3_000, b"[" * 16_000], ids=["array", "object", "all"]
)
@pytest.mark.parametrize("call", ["authorize", "capture", "balance"])
def test_a_body_that_is_nested_too_deeply_is_invalid(running: Running, call: str, body: bytes) -> None:
    (received,) = running.send([[post(f"/certificates/{CODE}/{call}", body, "Connection: close")]])

    assert received.startswith(b"HTTP/1.1 400 ")
    running.check()


def test_a_content_type_with_many_blanks_is_told_at_once(running: Running) -> None:
    """It is looked at in a time that grows with its length alone: a quarter of a million blanks would take minutes."""
    head = request(
        "POST", f"/certificates/{CODE}/authorize", f"Content-Type: application/json{' ' * 30_000}x", client="pos"
    )

    assert all(received.startswith(b"HTTP/1.1 415 ") for received in running.send([[head, b"\r\n"]] * 8))
    running.check()
