"""One table turns everything that can go wrong into what the caller is told."""

from __future__ import annotations

import inspect
import logging
import re

import msgspec
import pytest
from litestar.exceptions import ClientException, ImproperlyConfiguredException

import actors.errors
import persistence.errors
from gateway.exchange import Exchange
from gateway.faults import Fault, ProblemError
from gateway.problems import ERRORS, KINDS, problem, refused
from ledger.refusals import Refusal, Refused

BASES = {actors.errors.ActorError, persistence.errors.StorageError}


def exchange() -> Exchange:
    return Exchange(
        {"type": "http", "method": "POST", "path": "/certificates/x/void", "headers": []}  # type: ignore[typeddict-item]
    )


def errors_of_the_rooms_below() -> list[type[Exception]]:
    return [
        error
        for room in (actors.errors, persistence.errors)
        for _, error in inspect.getmembers(room, inspect.isclass)
        if issubclass(error, Exception)
    ]


def test_every_refusal_and_every_fault_has_its_place() -> None:
    assert set(KINDS) == {*Refusal, *Fault}


@pytest.mark.parametrize("error", errors_of_the_rooms_below())
def test_every_error_of_the_rooms_below_has_its_place(error: type[Exception]) -> None:
    # by itself or through one that it is a kind of; what all have in common would not say what is meant
    meant = [kind for kind in error.__mro__ if kind in ERRORS]
    assert meant, error
    assert error in BASES or meant[0] not in BASES, error

    reply = problem(exchange(), error("internal: /var/lib/redis"))

    body = msgspec.json.decode(reply.body)
    assert reply.status in {500, 503}
    assert "redis" not in body["detail"]
    assert (body.get("retryAfter") is None) == (reply.status == 500)


def test_names_are_unique_and_titles_follow_them() -> None:
    names = [code.value for code in KINDS]

    assert len(names) == len(set(names))
    for code, kind in KINDS.items():
        words = re.sub(r"(?<!^)([A-Z])", r" \1", code.value).lower().replace("cvc", "CVC")
        assert kind.title.lower() == words.lower()
        assert kind.advice.endswith(".")


def test_an_error_that_nobody_foresaw_tells_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    reply = problem(exchange(), KeyError("secret"))

    assert reply.status == 500
    assert b"secret" not in reply.body
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info


def test_a_refusal_carries_its_figures() -> None:
    reply = refused(exchange(), Refused(Refusal.RATE_LIMITED, "wait", {"retryAfter": 30}), replayed=True)

    assert (b"retry-after", b"30") in reply.headers
    assert (b"idempotency-replayed", b"true") in reply.headers
    assert msgspec.json.decode(reply.body) == {
        "type": "/schema#RateLimited",
        "title": "Rate limited",
        "status": 429,
        "detail": "wait",
        "instance": "/certificates/x/void",
        "code": "RateLimited",
        "retryAfter": 30,
    }


def test_what_litestar_refuses_is_an_invalid_request() -> None:
    reply = problem(exchange(), ClientException("Invalid host header"))

    assert reply.status == 400
    assert msgspec.json.decode(reply.body)["detail"] == "Invalid host header"


def test_what_goes_wrong_in_litestar_is_a_defect() -> None:
    assert problem(exchange(), ImproperlyConfiguredException("x")).status == 500


def test_a_problem_is_no_news_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    problem(exchange(), ProblemError(Fault.OVERLOADED, "busy"))

    assert caplog.records == []
