"""The OpenAPI 3.1 document, made from the same tables and structs that answer requests."""

from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import msgspec

from gateway import page
from gateway.access import Call, Reach, Role, grant, roles_of
from gateway.faults import Code, FieldError
from gateway.fields import FIELDS, OF_ONE
from gateway.headers import IDEMPOTENCY_KEY_PATTERN
from gateway.links import LINKS
from gateway.operation import JSON_MEDIA, Operation, Outcome
from gateway.operations import HTML_MEDIA, OPERATIONS, TAGS
from gateway.problems import KINDS, MEDIA_TYPE, TYPE_BASE
from gateway.reply import JSON, Header, Reply
from gateway.requests import END, SURROGATES
from ledger.identifiers import CODE_PATTERN

_REF: Final = "#/components/schemas/{name}"
_FRESH: Final[Header] = (b"cache-control", b"public, max-age=300")
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}

DESCRIPTION: Final = """\
Sells, activates, redeems and refunds gift certificates.

**Money** is a whole number of minor units (`150000` is 1 500.00) with an ISO 4217 currency. **Times** are RFC 3339 UTC
with milliseconds. A **code** is 8 to 32 letters, digits and dashes in either case. Fields that a call does not know are
refused.

**2xx means durable.** 503 `StorageUnavailable` means that the outcome is unknown: send the same request with the same
`Idempotency-Key` again. 503 `Overloaded` and 429 `RateLimited` mean that nothing happened: come back after
`Retry-After`.

**Idempotency-Key** is taken on every POST, and belongs to the client. The same key with the same request gives the
first outcome again, refusals included, with the header `Idempotency-Replayed: true`, for at least 24 h. In bulk each
item has a key of its own.

**Errors** are problem documents (RFC 9457) whose `code` never changes its name.
"""

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "code": {
        "name": "code",
        "in": "path",
        "required": True,
        "description": "The certificate: 8 to 32 letters, digits and dashes; case does not matter.",
        "schema": {"type": "string", "pattern": CODE_PATTERN.replace("A-Z", "A-Za-z"), "examples": ["GC-7K2M-9QXA"]},
    },
    "orderId": {
        "name": "orderId",
        "in": "path",
        "required": True,
        "description": "The order, as Orders names it; percent-encoded.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,64}$", "examples": ["SO-1001"]},
    },
    "idempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 64 visible ASCII characters, bare or in double quotes; a new one for each new request.",
        "schema": {
            "type": "string",
            "pattern": IDEMPOTENCY_KEY_PATTERN,
            "examples": ["8f1c2c0e-6f0a-4e0e-9d57-1f6f2d3b7a10"],
        },
    },
    "requestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": (
            "Names the request in logs; the response has it too. One is made if there is none of 1 to 64 visible ASCII "
            "characters."
        ),
        "schema": {"type": "string"},
    },
    "traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C Trace Context; stands in logs and in the response. One that is not valid is passed over.",
        "schema": {"type": "string", "examples": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]},
    },
    "ifNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "An `ETag` that was given earlier.",
        "schema": {"type": "string", "examples": ['"4"']},
    },
}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": {"description": "Names the request in logs.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true`: the outcome of an earlier request with the same key.",
        "schema": {"const": "true"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "ETag": {"description": "The version, quoted.", "schema": {"type": "string"}},
    "RateLimit-Policy": {
        "description": "How many requests a client may send, if that is limited: `q` in `w` seconds.",
        "schema": {"type": "string", "examples": ['"requests";q=50;w=1']},
    },
    "RateLimit": {
        "description": "How many of them are left, if that is limited: `r`, and all of them again in `t` seconds.",
        "schema": {"type": "string", "examples": ['"requests";r=49;t=1']},
    },
}
_RATE: Final = ("RateLimit-Policy", "RateLimit")


class Documentation:
    """What ``/schema`` and ``/schema/openapi.json`` answer."""

    def __init__(self) -> None:
        document = openapi()
        shown = page.render(document)
        headers = (
            (b"content-type", HTML_MEDIA.encode()),
            (b"content-security-policy", page.security_policy().encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            _FRESH,
        )
        self.openapi: Final = Reply(200, (JSON, _FRESH), msgspec.json.encode(document))
        self.page: Final = Reply(200, headers, shown.encode())


@cache
def documentation() -> Documentation:
    """The documentation: it is the same for all applications of the process."""
    return Documentation()


def openapi() -> dict[str, Any]:
    """The document."""
    kinds = [operation.body for operation in OPERATIONS if operation.body is not None]
    kinds += [view for operation in OPERATIONS for outcome in operation.outcomes for view in outcome.views]
    _, components = msgspec.json.schema_components([*kinds, FieldError], ref_template=_REF)
    schemas = {name: _described(name, schema) for name, schema in components.items()}
    schemas["Problem"] = _problem_schema()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gift ledger", "version": version("gift-ledger"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key belongs to one client with one role and one channel. Where the operators "
                    "have set an identity provider, a token (JWT) of it may stand in its place.",
                }
            },
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "schemas": schemas,
        },
        "x-roles": {role.value: sorted(call.value for call in Call if role in roles_of(call)) for role in Role},
        "x-problems": {
            code.value: {"status": kind.status, "title": kind.title, "advice": kind.advice}
            for code, kind in KINDS.items()
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    placed = [name for name in ("code", "orderId") if f"{{{name}}}" in operation.path]
    if operation.keyed:
        placed.append("idempotencyKey")
    if operation.tagged:
        placed.append("ifNoneMatch")
    parameters: list[dict[str, Any]] = [
        {"$ref": f"#/components/parameters/{name}"} for name in (*placed, "requestId", "traceparent")
    ]
    parameters += [
        {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
        for query in operation.query
    ]
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters,
        "responses": _responses(operation),
    } | _who(operation.call)
    if operation.body is not None:
        content: dict[str, Any] = {"schema": _schema(operation.body)}
        content["examples"] = {name: {"value": body} for name, body in operation.requests.items()}
        required = operation.call not in {Call.BALANCE, Call.CVC}
        described["requestBody"] = {"required": required, "content": {JSON_MEDIA: content}}
    return described


def _who(call: Call | None) -> dict[str, Any]:
    """Who may use the call, and on what terms; of these only those that somebody has to keep."""
    if call is None:
        return {"security": []}
    grants = {role.value: grant(role, call) for role in roles_of(call)}
    terms = {
        "x-own-only": [role for role, given in grants.items() if given.reach is Reach.OWN],
        "x-cvc-required": [role for role, given in grants.items() if given.cvc_required],
        "x-overrides-block": [role for role, given in grants.items() if given.overrides_block],
    }
    return {"x-roles": list(grants), **{name: roles for name, roles in terms.items() if roles}}


def _operation_id(operation: Operation) -> str:
    return operation.call.value if operation.call else operation.path.strip("/").replace("/", "_").replace(".", "_")


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(outcome.status): _outcome(operation, outcome) for outcome in operation.outcomes}
    by_status: dict[int, list[Code]] = {}
    for code in dict.fromkeys(operation.problems):
        by_status.setdefault(KINDS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _refusal(operation, status, codes)
    return responses


def _outcome(operation: Operation, outcome: Outcome) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    if operation.keyed:
        headers.append("Idempotency-Replayed")
    if operation.tagged:
        headers.append("ETag")
    if operation.call is not None:
        headers += _RATE
    told: dict[str, Any] = {"description": outcome.description, "headers": _header_refs(headers)}
    if outcome.views:
        variants = [_schema(view) for view in outcome.views]
        content: dict[str, Any] = {"schema": variants[0] if len(variants) == 1 else {"anyOf": variants}}
        if outcome.example is not None:
            content["examples"] = {name: {"value": msgspec.to_builtins(body)} for name, body in outcome.example.items()}
        told["content"] = {outcome.media: content}
    if operation.call is not None and (links := LINKS.get((operation.call, outcome.status))):
        told["links"] = links
    return told


def _refusal(operation: Operation, status: int, codes: list[Code]) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    if operation.keyed:
        headers.append("Idempotency-Replayed")
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate")
    elif operation.call is not None:
        headers += _RATE
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": [code.value for code in codes]}}}
    return {
        "description": ", ".join(f"`{code.value}`" for code in codes),
        "headers": _header_refs(headers),
        "content": {MEDIA_TYPE: {"schema": {"allOf": [_PROBLEM, narrowed]}}},
    }


def _header_refs(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return schema


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its fields in words."""
    described = {**schema, "description": schema["description"].replace("``", "`").replace("\n", " ")}
    described["properties"] = {
        field: _property(name, field, given) for field, given in schema.get("properties", {}).items()
    }
    return described


def _property(owner: str, field: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One field: nullable ones as a type of two.

    A pattern is told with its end as everybody else writes it, and without the halves of characters: JSON in UTF-8 has
    none, and most readers of patterns do not take them.
    """
    variants = [variant for variant in schema.get("anyOf", ()) if variant.get("type") != "null"]
    if len(variants) == 1:
        schema = {**variants[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
        schema["type"] = [schema["type"], "null"]
    if "description" not in schema and field in FIELDS:
        description, bounds = FIELDS[field]
        schema = {**schema, "description": description, **bounds}
    schema = {**schema, **OF_ONE.get((owner, field), {})}
    if "const" in schema:
        schema.pop("enum", None)
    if "pattern" in schema:
        schema["pattern"] = schema["pattern"].replace(END, "$").replace(SURROGATES, "")
    return schema


def _problem_schema() -> dict[str, Any]:
    figure = {"type": "integer", "minimum": 0}
    return {
        "title": "Problem",
        "description": "What went wrong (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": f"Address of the code's section in the documentation: `{TYPE_BASE}` and the code.",
            },
            "title": {"type": "string", "description": "The same each time."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "What is wrong this time, for people."},
            "instance": {"type": "string", "format": "uri-reference", "description": "The path that was asked for."},
            "code": {"enum": [code.value for code in KINDS], "description": "For programs; its name never changes."},
            "errors": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FieldError"},
                "description": "The parts of the request that are at fault.",
            },
            "available": {**figure, "description": "Minor units that can be authorized."},
            "left": {**figure, "description": "Minor units that are left of the authorization or operation."},
            "retryAfter": {**figure, "description": "Seconds after which to try again."},
        },
        "required": ["type", "title", "status", "detail", "instance", "code"],
    }
