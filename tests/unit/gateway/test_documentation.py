"""The OpenAPI document and the page made of it: complete, true to the code, and sufficient to itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from litestar import Litestar
from litestar.routes import HTTPRoute

from gateway.access import Reach, Role, grant
from gateway.documentation import openapi
from gateway.faults import ProblemError
from gateway.front import Front
from gateway.headers import IDEMPOTENCY_KEY_PATTERN, idempotency_key
from gateway.operations import OPERATIONS
from gateway.page import operations
from gateway.problems import KINDS
from tests.unit.gateway.documented import PROBLEM, Documented
from tests.unit.gateway.house import House

DOCUMENT = openapi()
CALLS = [
    pytest.param(path, method, operation, id=f"{method} {path}") for path, method, operation in operations(DOCUMENT)
]


def references(node: Any) -> list[str]:  # noqa: ANN401 - any part of the document
    """Return every `$ref` in a part of the document."""
    if isinstance(node, dict):
        return [
            *([node["$ref"]] if "$ref" in node else []),
            *(ref for part in node.values() for ref in references(part)),
        ]
    if isinstance(node, list):
        return [ref for part in node for ref in references(part)]
    return []


async def test_every_route_is_documented_and_every_call_has_a_route(house: House) -> None:
    front = house.app
    assert isinstance(front, Front)
    litestar = front._rest
    assert isinstance(litestar, Litestar)

    routed = {
        (method, re.sub(r":\w+", "", route.path).replace("{order_id}", "{orderId}"))
        for route in litestar.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method not in {"OPTIONS", "HEAD"}
    }

    assert routed == {(method, path) for path, method, _ in operations(DOCUMENT)}


async def test_it_is_served(house: House) -> None:
    response = await house.get("/schema/openapi.json", None)

    assert response.body == DOCUMENT
    assert response.body["openapi"] == "3.1.0"
    assert response.headers["cache-control"] == "public, max-age=300"


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_component_is_used() -> None:
    used = set(references(DOCUMENT))
    kept = {
        f"#/components/{kind}/{name}"
        for kind, things in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in things
    }

    assert kept - used <= {"#/components/schemas/Problem"}


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one_and_every_field_is_described(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]

    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    assert "``" not in schema["description"]
    for field, described in schema["properties"].items():
        assert described.get("description"), f"{name}.{field}"


@pytest.mark.parametrize(("path", "method", "operation"), CALLS)
def test_a_call_is_told_in_full(path: str, method: str, operation: dict[str, Any]) -> None:
    judge = Documented(DOCUMENT)

    assert operation["summary"]
    assert any(status.startswith("2") for status in operation["responses"])
    for status, response in operation["responses"].items():
        assert response["description"]
        assert "X-Request-Id" in response["headers"]
        for media, content in response.get("content", {}).items():
            for example in content.get("examples", {}).values():
                judge.validate(content["schema"], example["value"])
            if media == PROBLEM:
                codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                assert {KINDS[code].status for code in KINDS if code.value in codes} == {int(status)}
    if method == "POST":
        content = operation["requestBody"]["content"]["application/json"]
        assert content["examples"]
        for example in content["examples"].values():
            judge.validate(content["schema"], example["value"])
        names = {parameter["$ref"].rsplit("/", 1)[1] for parameter in operation["parameters"] if "$ref" in parameter}
        assert names >= {"requestId", "traceparent"}
        assert ("idempotencyKey" in names) == ("code" in names), "in bulk each item has its code and its key"
    assert set(re.findall(r"\{(\w+)\}", path)) <= {
        parameter["$ref"].rsplit("/", 1)[1] for parameter in operation["parameters"] if "$ref" in parameter
    }


def test_every_link_leads_to_a_call_that_takes_what_the_answer_gave() -> None:
    calls = {operation["operationId"]: operation for _, _, operation in operations(DOCUMENT)}
    linked = []
    for _, _, operation in operations(DOCUMENT):
        for status, response in operation["responses"].items():
            for name, link in response.get("links", {}).items():
                linked.append((operation["operationId"], status, name))
                body = calls[link["operationId"]]["requestBody"]["content"]["application/json"]["schema"]
                given = response["content"]["application/json"]["schema"]
                for field, expression in link["requestBody"].items():
                    assert field in fields_of(body)
                    assert expression.removeprefix("$response.body#/") in fields_of(given)

    assert linked == [("authorize", "201", "capture"), ("authorize", "201", "void"), ("capture", "201", "void")]


def fields_of(schema: dict[str, Any]) -> set[str]:
    """Return the names of the fields that a schema or one of its variants has."""
    found: set[str] = set()
    for variant in schema.get("anyOf", [schema]):
        found |= set(DOCUMENT["components"]["schemas"][variant["$ref"].rsplit("/", 1)[1]]["properties"])
    return found


def test_no_pattern_holds_halves_of_characters_or_an_end_that_only_python_knows() -> None:
    patterns = re.findall(r'"pattern": ?"((?:[^"\\]|\\.)*)"', json.dumps(DOCUMENT))

    assert len(patterns) > 10
    assert not [pattern for pattern in patterns if "ud800" in pattern or "(?!" in pattern]


@given(
    st.from_regex(r'\A"?[ -~\x80-\xff]{0,70}"?\Z') | st.from_regex(re.compile(IDEMPOTENCY_KEY_PATTERN), fullmatch=True)
)
def test_an_idempotency_key_is_taken_if_it_is_as_documented(value: str) -> None:
    pattern = DOCUMENT["components"]["parameters"]["idempotencyKey"]["schema"]["pattern"]
    documented = re.fullmatch(pattern.removesuffix("$"), value) is not None

    try:
        idempotency_key({b"idempotency-key": value.encode("latin-1")})
    except ProblemError:
        assert not documented
    else:
        assert documented


def test_roles_and_security_are_those_of_the_code() -> None:
    assert DOCUMENT["security"] == [{"key": []}]
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for operation in OPERATIONS:
        told = DOCUMENT["paths"][operation.path][operation.method.lower()]
        if operation.call is None:
            assert told["security"] == []
            assert "x-roles" not in told
            continue
        grants = {role.value: grant(role, operation.call) for role in Role}
        for name, holds in {
            "x-roles": [role for role, its in grants.items() if its.reach is not Reach.NO],
            "x-own-only": [role for role, its in grants.items() if its.reach is Reach.OWN],
            "x-cvc-required": [role for role, its in grants.items() if its.cvc_required],
            "x-overrides-block": [role for role, its in grants.items() if its.overrides_block],
        }.items():
            assert told.get(name, []) == holds


def test_every_problem_is_given_by_some_call_or_is_of_no_call() -> None:
    given = {code for operation in OPERATIONS for code in operation.problems}

    assert {code.value for code in KINDS if code not in given} == {"MethodNotAllowed"}


# --- the page --------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a browser would find: anchors, links, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in {"meta", "link"}:
            self.open.append(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"] or "")
        elif "href" in given or "src" in given:
            self.loaded.append(given.get("href") or given.get("src") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


async def outline(house: House) -> Outline:
    response = await house.get("/schema", None)
    return Outline(response.content.decode())


async def test_the_page_is_well_formed_and_loads_nothing(house: House) -> None:
    found = await outline(house)

    assert found.open == []
    assert found.loaded == ["data:,"]


async def test_the_page_has_every_call_and_every_problem_once(house: House) -> None:
    found = await outline(house)

    wanted = {operation["operationId"] for _, _, operation in operations(DOCUMENT)} | {code.value for code in KINDS}
    assert wanted <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


async def test_every_link_of_the_page_leads_somewhere(house: House) -> None:
    found = await outline(house)

    inside = {link.removeprefix("#") for link in found.links if link.startswith("#")}
    outside = {link for link in found.links if not link.startswith("#")}
    assert inside <= set(found.ids)
    assert outside == {"/schema/openapi.json"}


async def test_the_type_of_a_problem_is_an_address_in_the_page(house: House) -> None:
    problem = (await house.get("/nowhere")).body["type"]

    path, _, anchor = problem.partition("#")

    assert path == "/schema"
    assert anchor in (await outline(house)).ids


async def test_a_browser_is_told_to_load_nothing(house: House) -> None:
    response = await house.get("/schema", None)

    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
