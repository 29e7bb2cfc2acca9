"""Whether anything is known a source answers, or it is not known; the sources here are real ones on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.supply.audit import Advisory, Answer, Report, Verdict, audit, judge
from deploy.supply.pins import pins

LISTS = ("build",)
NAMES = {pin.name for pin in pins(LISTS) if pin.needed}
KNOWN = {
    "id": "PYSEC-1",
    "summary": "opens every door",
    "affected": [
        {
            "package": {"name": "hatchling", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


@contextmanager
def source(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[tuple[list[str], list[str]]]:
    """A source that speaks OSV: the arguments that name it, and the packages that it was asked for."""
    asked: list[str] = []

    class Source(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(query["package"]["name"])
            status, body = answer(query["package"]["name"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/"], asked
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_nothing_is_known_if_the_source_was_asked_for_each_and_knows_nothing() -> None:
    with source(lambda _: (200, b"{}")) as (arguments, asked):
        verdict, said = audit(LISTS, arguments)

    assert (verdict, said) == (Verdict.NOTHING_KNOWN, f"{len(NAMES)} of {len(NAMES)} packages looked up.")
    assert set(asked) == NAMES


def test_what_is_known_is_told_with_what_puts_it_right() -> None:
    known = json.dumps({"vulns": [KNOWN]}).encode()
    with source(lambda name: (200, known if name == "hatchling" else b"{}")) as (arguments, _):
        verdict, said = audit(LISTS, arguments)

    assert verdict is Verdict.KNOWN
    assert "PYSEC-1, put right in 99.1. opens every door" in said


@pytest.mark.parametrize(("status", "body"), [(503, b""), (200, b"<html>")])
def test_a_source_that_does_not_answer_is_no_good_news(status: int, body: bytes) -> None:
    with source(lambda _: (status, body)) as (arguments, _):
        verdict, said = audit(LISTS, arguments)

    assert verdict is Verdict.NOT_LOOKED
    assert said.startswith("NOTHING WAS LOOKED UP: pip-audit ended with 1")
    assert "Run it where" in said


def test_nor_is_one_that_nobody_reaches() -> None:
    with source(lambda _: (200, b"{}")) as (arguments, asked):
        pass

    verdict, said = audit(LISTS, arguments)

    assert (verdict, asked) == (Verdict.NOT_LOOKED, [])
    assert "refused" in said


def answer(name: str, *advisories: str) -> Answer:
    return Answer(name=name, version="1", vulns=tuple(Advisory(id=advisory) for advisory in advisories))


@pytest.mark.parametrize(
    ("answers", "verdict", "said"),
    [
        ([answer("a"), answer("b")], Verdict.NOTHING_KNOWN, "2 of 2 packages looked up."),
        ([answer("a"), Answer(name="b", skip_reason="not there")], Verdict.NOT_LOOKED, "does not know them: b."),
        ([answer("a")], Verdict.NOT_LOOKED, "does not know them: b."),
        (
            [answer("a", "PYSEC-1"), Answer(name="b", skip_reason="not there")],
            Verdict.KNOWN,
            "a 1: PYSEC-1, put right in no",
        ),
        ([Answer(name=name, skip_reason="not there") for name in "ab"], Verdict.NOT_LOOKED, "NOTHING WAS LOOKED UP"),
        ([], Verdict.NOT_LOOKED, "NOTHING WAS LOOKED UP"),
    ],
)
def test_only_what_the_source_has_answered_for_counts(answers: list[Answer], verdict: Verdict, said: str) -> None:
    judged = judge(Report(dependencies=tuple(answers)), expected={"a", "b"})

    assert judged[0] is verdict
    assert said in judged[1]
