"""The OpenAPI document as one page of HTML that loads nothing: no scripts, no fonts, no other host."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final

STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")

_BOLD: Final = re.compile(r"\*\*(.+?)\*\*")
_CODE: Final = re.compile(r"`([^`]+)`")
_PROBLEM: Final = "application/problem+json"
_ANYWHERE: Final = frozenset({"NotFound", "MethodNotAllowed"})
_BASE: Final = "http://127.0.0.1:8080"
_TERMS: Final = {
    "x-own-only": "what is its own",
    "x-cvc-required": "CVC required",
    "x-overrides-block": "blocked ones too",
}


def security_policy() -> str:
    """What a browser may load for the page: its own style, and nothing else."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def render(document: dict[str, Any]) -> str:
    """The page."""
    info = document["info"]
    title = escape(info["title"])
    sections = [
        f'<header id="top"><h1>{title} <small>{escape(info["version"])}</small></h1>',
        _text(info["description"]),
        '<p><a href="/schema/openapi.json">OpenAPI 3.1 document</a></p></header>',
        _roles(document),
        *_tags(document),
        _problems(document),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body>{_navigation(document)}<main>{''.join(sections)}</main></body></html>\n"
    )


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of every call, in the order of the document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


# --- the frame -------------------------------------------------------------------------------------------------------


def _navigation(document: dict[str, Any]) -> str:
    parts = ['<nav><a class="home" href="#top">Gift ledger</a><a href="#roles">Roles</a>']
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        for path, method, operation in operations(document):
            if tag["name"] in operation["tags"]:
                name = path.removeprefix("/certificates/{code}") or "/certificates/{code}"
                parts.append(f'<a href="#{operation["operationId"]}">{_method(method)} {escape(name)}</a>')
    parts.append("<h2>Problems</h2>")
    parts.extend(f'<a href="#{code}">{escape(code)}</a>' for code in document["x-problems"])
    return "".join(parts) + "</nav>"


def _roles(document: dict[str, Any]) -> str:
    calls = [operation["operationId"] for _, _, operation in operations(document) if "x-roles" in operation]
    head = "".join(f'<th scope="col"><a href="#{call}">{escape(call)}</a></th>' for call in calls)
    rows = []
    for role, may in document["x-roles"].items():
        cells = "".join(f"<td>{'✓' if call in may else ''}</td>" for call in calls)
        rows.append(f'<tr><th scope="row"><code>{escape(role)}</code></th>{cells}</tr>')
    return (
        '<section id="roles"><h2>Roles</h2><p>Send <code>Authorization: Bearer KEY</code>. A key has one role.</p>'
        f'<div class="wide"><table class="roles"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _tags(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f'<section class="tag"><h2>{escape(tag["name"])}</h2>{_text(tag["description"])}</section>'
        for path, method, operation in operations(document):
            if tag["name"] in operation["tags"]:
                yield _operation(document, path, method, operation)


def _problems(document: dict[str, Any]) -> str:
    given: dict[str, list[str]] = {}
    for _, _, operation in operations(document):
        for code in _codes(operation):
            given.setdefault(code, []).append(operation["operationId"])
    parts = []
    for code, kind in document["x-problems"].items():
        links = [f'<a href="#{call}">{escape(call)}</a>' for call in given.get(code, ())]
        anywhere = ["any address"] if code in _ANYWHERE else []
        where = f"<p>Given by {', '.join(links + anywhere)}.</p>"
        parts.append(
            f'<section class="problem" id="{code}"><h3><span class="status">{kind["status"]}</span> {escape(code)}</h3>'
            f"<p>{escape(kind['title'])}. {_inline(kind['advice'])}</p>{where}</section>"
        )
    return f'<section id="problems"><h2>Problems</h2></section>{"".join(parts)}'


# --- one call --------------------------------------------------------------------------------------------------------


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section class="call" id="{operation["operationId"]}">',
        f"<h3>{_method(method)} <code>{escape(path)}</code></h3>",
        f'<p class="summary">{escape(operation["summary"])}</p>',
        _text(operation["description"]),
    ]
    if "x-roles" in operation:
        roles = ", ".join(f"<code>{escape(role)}</code>{_terms(operation, role)}" for role in operation["x-roles"])
        parts.append(f'<p class="who">For {roles}.</p>')
    else:
        parts.append('<p class="who">Needs no key.</p>')
    parts.append(_parameters(document, operation))
    body = operation.get("requestBody")
    if body is not None:
        (content,) = body["content"].values()
        parts.append("<h4>Body</h4>" + _fields(document, content["schema"]))
    examples = body["content"]["application/json"]["examples"] if body else {"": {"value": None}}
    parts.append("<h4>Example</h4>")
    parts.extend(
        f"<pre><code>{escape(_curl(path, method, operation, item['value']))}</code></pre>" for item in examples.values()
    )
    parts.append("<h4>Answers</h4>")
    for status, response in operation["responses"].items():
        parts.append(_response(document, status, response))
    return "".join(parts) + "</section>"


def _terms(operation: dict[str, Any], role: str) -> str:
    """On what terms a role may use the call, in brackets; empty if on none."""
    told = [words for name, words in _TERMS.items() if role in operation.get(name, ())]
    return f" ({', '.join(told)})" if told else ""


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> str:
    rows = []
    for given in operation["parameters"]:
        parameter = _resolved(document, given)
        if parameter["name"] in {"X-Request-Id", "traceparent"}:
            continue  # the same everywhere, and optional: they would drown the others
        rows.append((parameter["name"], f"{_kind(parameter['schema'])} · {parameter['in']}", parameter["description"]))
    return "<h4>Parameters</h4>" + _table(rows) if rows else ""


def _response(document: dict[str, Any], status: str, response: dict[str, Any]) -> str:
    head = f'<span class="status s{status[0]}">{status}</span>'
    content = response.get("content", {})
    if _PROBLEM in content:
        (_, narrowed) = content[_PROBLEM]["schema"]["allOf"]
        links = " ".join(f'<a href="#{code}">{escape(code)}</a>' for code in narrowed["properties"]["code"]["enum"])
        return f'<div class="answer">{head} <span class="codes">{links}</span></div>'
    parts = [f'<div class="answer">{head} {_inline(response["description"])}']
    for media, body in content.items():
        if media != "application/json":
            parts.append(f" <code>{escape(media)}</code>")
            continue
        fields = _fields(document, body["schema"])
        if fields:
            parts.append(f"<details><summary>Fields</summary>{fields}</details>")
        for item in body.get("examples", {}).values():
            text = json.dumps(item["value"], indent=2, ensure_ascii=False)
            parts.append(f"<details><summary>Example</summary><pre><code>{escape(text)}</code></pre></details>")
    return "".join(parts) + "</div>"


def _curl(path: str, method: str, operation: dict[str, Any], body: object) -> str:
    path = path.replace("{code}", "GC-7K2M-9QXA").replace("{orderId}", "SO-1001")
    words = [f"curl {_BASE}{path}"]
    if "x-roles" in operation:
        words.append('-H "Authorization: Bearer $KEY"')
    if method == "POST":
        if {"$ref": "#/components/parameters/idempotencyKey"} in operation["parameters"]:
            words.append('-H "Idempotency-Key: $(uuidgen)"')
        words.append("-H 'Content-Type: application/json'")
        words.append(f"-d '{json.dumps(body, ensure_ascii=False)}'")
    return " \\\n  ".join(words)


def _codes(operation: dict[str, Any]) -> Iterator[str]:
    for response in operation["responses"].values():
        content = response.get("content", {}).get(_PROBLEM)
        if content is not None:
            yield from content["schema"]["allOf"][1]["properties"]["code"]["enum"]


# --- schemas ---------------------------------------------------------------------------------------------------------


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found = schema
    if "$ref" in schema:
        found = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
    return found


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """A table of the fields, one for each variant, and those of what stands inside."""
    parts = []
    variants = schema.get("anyOf", [schema])
    for variant in variants:
        resolved = _resolved(document, variant)
        properties = resolved.get("properties", {})
        if len(variants) > 1:
            parts.append(f"<h5>{escape(resolved['title'])}</h5><p>{_inline(resolved['description'])}</p>")
        if not properties:
            continue
        required = set(resolved.get("required", ()))
        rows = []
        inside = []
        for name, field in properties.items():
            absent = "" if name in required else " · optional"
            rows.append((name, _kind(field) + absent, field.get("description", "")))
            inner = field.get("items", field.get("additionalProperties", {}))
            if isinstance(inner, dict) and "$ref" in inner:
                inside.append((name, inner))
        parts.append(_table(rows))
        parts.extend(f"<h5>In {escape(name)}</h5>{_fields(document, inner)}" for name, inner in inside)
    return "".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    """A type in few words."""
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    kind: str | list[str] = schema.get("type", "object")
    first, *others = kind if isinstance(kind, list) else [kind]
    words: str = schema.get("format", first)
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None:
        words += f" from {low:,} to {high:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    elif low is not None:
        words += f" ≥ {low}"
    return " or ".join((words, *others))


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td class="kind">{escape(kind)}</td>'
        f"<td>{_inline(description)}</td></tr>"
        for name, kind, description in rows
    )
    return f'<div class="wide"><table class="fields">{body}</table></div>'


# --- text ------------------------------------------------------------------------------------------------------------


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.strip().split("\n\n") if paragraph)


def _inline(text: str) -> str:
    """Code and bold of a line of CommonMark."""
    return _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text, quote=False)))
