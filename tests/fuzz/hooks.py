"""What Schemathesis is told of the stock, so that it gets past the first refusal; and the account of what it reached.

A certificate, its CVC and an open authorization cannot be guessed: most requests that are valid are made to name ones
that exist. Which is decided by the request itself, so that a failure comes again when its request does. Nothing that is
invalid on purpose is put right.

Schemathesis loads this (`SCHEMATHESIS_HOOKS`); `FUZZ_STOCK` names a file that says what there is, `FUZZ_ACCOUNT` one
for the account.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter, deque
from hashlib import blake2b
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, Response
    from schemathesis.core.failures import Failure

KEPT_MAX = 1_000
"""Operations that are remembered, of each kind."""
FIELDS = {"capture": "authorizationId", "captures": "authorizationId", "void": "operationId", "voids": "operationId"}
"""Calls that name an operation, and the fields that they do it in."""
ITEMS_NAMED_MAX = 3
"""Of one bulk call: others need some authorizations too."""
BULK = ("/authorizations", "/captures", "/voids")

_stock = json.loads(Path(os.environ["FUZZ_STOCK"]).read_text())
_cvcs: dict[str, str] = _stock["open"]
_codes = list(_cvcs)
_left = {call: deque(_stock["holds"][place :: len(FIELDS)], KEPT_MAX) for place, call in enumerate(FIELDS)}
"""Codes and operations for each call, so that none takes all there are from another."""
_reached: Counter[str] = Counter()


@schemathesis.hook
def map_body(_context: HookContext, body: Any) -> Any:  # noqa: ANN401 - whatever was made up
    """Write whole numbers as whole numbers: to JSON Schema 1.0 is an integer, and money never has a point."""
    match body:
        case float() if body.is_integer():
            return int(body)
        case dict():
            return {name: map_body(_context, value) for name, value in body.items()}
        case list():
            return [map_body(_context, value) for value in body]
        case _:
            return body


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Have a valid request name what there is, most of the time."""
    asked = repr((case.operation.label, case.path_parameters, case.body, case.query, case.headers))
    chance = Random(blake2b(asked.encode(errors="replace")).digest())
    valid = isinstance(case.body, dict) and _is_valid(case, ParameterLocation.BODY)
    body = cast("dict[str, Any]", case.body) if valid else None
    call = case.operation.path.rpartition("/")[2]
    if "code" in case.path_parameters and _is_valid(case, ParameterLocation.PATH) and chance.random() < 0.9:
        if body is None or body.get("purpose") != "Sale":
            case.path_parameters["code"] = _named(chance, call, body, chance.choice(_codes))
    elif "orderId" in case.path_parameters and _is_valid(case, ParameterLocation.PATH) and chance.random() < 0.8:
        case.path_parameters["orderId"] = chance.choice(_stock["orders"])
    elif case.operation.path in BULK and body is not None:
        for item in islice(body.get("items", ()), ITEMS_NAMED_MAX):
            if chance.random() < 0.9:
                item["certificateCode"] = _named(chance, call, item, chance.choice(_codes))
                item["idempotencyKey"] = _key(chance)
    if "Idempotency-Key" in case.headers and _is_valid(case, ParameterLocation.HEADER) and chance.random() < 0.8:
        case.headers["Idempotency-Key"] = _key(chance)


@schemathesis.hook
def filter_failure(_context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Take the 400 of an item for a refusal: each item of a bulk call is answered by itself, in its place."""
    if (
        case.operation.path in BULK
        and isinstance(failure, AcceptedNegativeData)
        and response.status_code == HTTPStatus.OK
    ):
        return all(outcome["status"] != HTTPStatus.BAD_REQUEST for outcome in response.json()["outcomes"])
    return True


@schemathesis.hook
def after_call(_context: HookContext, case: Case[Any], response: Response) -> None:
    """Note what was reached, and what can be captured or voided from now on."""
    label = case.operation.label
    unexpected = case.method.lower() != case.operation.method.lower()
    _reached[
        f"{case.method} {case.operation.path if unexpected else label.partition(' ')[2]} {response.status_code}"
    ] += 1
    if response.status_code not in {200, 201} or unexpected:
        return
    if case.operation.path in BULK:
        for outcome in response.json()["outcomes"]:
            _reached[f"{label}: {outcome['status']}"] += 1
            _note(outcome["body"])
    elif case.operation.method.lower() == "post":
        _note(response.json())


def _key(chance: Random) -> str:
    """Return a key that no other request has: with one of an example all would be answered as the first was."""
    return f"{chance.getrandbits(64):x}"


def _is_valid(case: Case[Any], location: ParameterLocation) -> bool:
    component = None if case.meta is None else case.meta.components.get(location)
    return component is None or component.mode.is_positive


def _named(chance: Random, call: str, body: dict[str, Any] | None, code: str) -> str:
    """Have a body name what there is; gives the code of the certificate that it is about."""
    if body is None:
        return code
    if left := _left.get(call):
        code, body[FIELDS[call]] = left.popleft() if chance.random() < 0.8 else left[0]
    if call in {"authorize", "authorizations"} and chance.random() < 0.9:
        body["currency"] = "RUB"
    if "amount" in body and chance.random() < 0.8:
        body["amount"] = 1 + (body["amount"] or 0) % 50
    if call in {"authorize", "authorizations", "balance"} and chance.random() < 0.9:
        body["cvc"] = _cvcs[code]
    return code


def _note(answer: dict[str, Any]) -> None:
    code = answer.get("certificateCode")
    if answer.get("status") == "Authorized":
        min(_left.values(), key=len).append((code, answer["authorizationId"]))
    elif answer.get("type") == "Capture":
        min(_left["void"], _left["voids"], key=len).append((code, answer["operationId"]))


def _tell() -> None:
    Path(os.environ["FUZZ_ACCOUNT"]).write_text(json.dumps(_reached))


atexit.register(_tell)
