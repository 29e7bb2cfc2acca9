"""docs/api.md says what the code does: its examples are requests and answers of this API, its table is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gateway.access import Call
from gateway.access_page import table
from gateway.bodies import BodyDecoder
from gateway.bulk_items import ItemsDecoder
from gateway.bulk_requests import BULK_BODIES
from gateway.certificates import BODIES
from gateway.documentation import openapi
from gateway.faults import ProblemError
from gateway.problems import KINDS
from tests.unit.gateway.documented import Documented

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
BULK_SHOWN = re.findall(r"\$URL/(\w+)\"[^`]*?-d '(\{\"items\".*?)'", TEXT, re.DOTALL)
BODIES_SHOWN = re.findall(r"certificates/GC-7K2M-9QXA/(\w+)\"[^`]*?-d '(.*?)'", TEXT)
ALIKE = {"CaptureOutcomes", "VoidOutcomes"}
"""Shown by the example of another call: the answers to all bulk calls look alike."""
ANSWERS_SHOWN = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)


def test_the_table_of_problems_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+?) \|$", TEXT, re.MULTILINE)

    assert rows == [(str(kind.status), code.value, kind.advice) for code, kind in KINDS.items()]


@pytest.mark.parametrize(("call", "body"), BODIES_SHOWN)
def test_the_bodies_are_bodies(call: str, body: str) -> None:
    BodyDecoder(BODIES[Call(call)]).decode(body.encode())


@pytest.mark.parametrize(("call", "body"), BULK_SHOWN)
def test_the_bodies_of_bulk_calls_are_bodies(call: str, body: str) -> None:
    items = ItemsDecoder(*BULK_BODIES[Call(call)]).decode(body.encode())

    assert not [item for item in items if isinstance(item, ProblemError)]


def test_the_answers_are_answers() -> None:
    document = openapi()
    judge = Documented(document)
    shown = set()

    for text in ANSWERS_SHOWN:
        answer = msgspec.json.decode(text)
        for name, schema in document["components"]["schemas"].items():
            if set(schema["properties"]) == set(answer) and name not in ALIKE:
                judge.validate({"$ref": f"#/components/schemas/{name}"}, answer)
                shown.add(name)

    assert shown == {
        *("Reservation", "Authorization", "Captured", "Voided", "Balance", "CertificateView", "HistoryPage"),
        *("OrderView", "Readiness"),
        "AuthorizationOutcomes",
    }


def test_every_call_is_shown() -> None:
    assert {Call(call) for call, _ in BULK_SHOWN} == set(BULK_BODIES)
    assert {call for call, _ in BODIES_SHOWN} == {"authorize", "capture", "void", "balance", "block"}
    for operation in openapi()["paths"]:
        assert operation.split("?")[0].replace("{code}", "").strip("/").rsplit("/", 1)[-1] in TEXT


def test_every_code_is_explained_where_it_is_given() -> None:
    prose = TEXT.partition("## Problems")[0]

    assert [code.value for code in KINDS if f"`{code.value}`" not in prose and KINDS[code].status in {409, 422}] == []


def test_the_table_of_who_may_what_is_that_of_the_code() -> None:
    assert f"\n\n{table()}\n" in TEXT, "make it anew with `python -m gateway.access_page`"
