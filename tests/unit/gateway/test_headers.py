"""Headers that mean something, and what a request is told by."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.exchange import Exchange
from gateway.faults import ProblemError
from gateway.headers import entity_tag, idempotency_key, matches


def exchange(path: str = "/x", *headers: tuple[bytes, bytes]) -> Exchange:
    scope: Any = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    return Exchange(scope)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (b"k-1", "k-1"),
        (b'"k-1"', "k-1"),
        (b'"a\\"b"', 'a"b'),
        (b'"a\\\\b"', "a\\b"),
        (b"k" * 64, "k" * 64),
        (b'"' + b"k" * 64 + b'"', "k" * 64),
        (None, None),
    ],
)
def test_keys(given: bytes | None, key: str | None) -> None:
    assert idempotency_key({} if given is None else {b"idempotency-key": given}) == key


@pytest.mark.parametrize(
    "given", [b"", b'"', b'""', b'"a', b"a b", b'"a b"', b"k" * 65, b"k-1, k-2", b"\xff", b'"a\\n"']
)
def test_what_is_no_key(given: bytes) -> None:
    with pytest.raises(ProblemError):
        idempotency_key({b"idempotency-key": given})


def test_two_keys_are_none() -> None:
    two = exchange("/x", (b"idempotency-key", b"k-1"), (b"idempotency-key", b"k-2"))

    with pytest.raises(ProblemError):
        idempotency_key(two.headers)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (None, False),
        (b"*", True),
        (b'"7"', True),
        (b'W/"7"', True),
        (b'"6", "7"', True),
        (b'"6","7"', True),
        (b"7", False),
        (b'"77"', False),
        (b'"17"', False),
        (b"", False),
    ],
)
def test_entity_tags(given: bytes | None, same: bool) -> None:  # noqa: FBT001 - one of the cases
    assert matches(given, entity_tag(7)) is same


def test_repeated_headers_become_a_list() -> None:
    found = exchange("/x", (b"a", b"1"), (b"b", b"2"), (b"a", b"3"))

    assert found.headers == {b"a": b"1, 3", b"b": b"2"}


def test_request_ids_are_given_and_differ() -> None:
    first, second = exchange(), exchange()

    assert first.request_id != second.request_id
    assert exchange("/x", (b"x-request-id", b"mine")).request_id == "mine"


@pytest.mark.parametrize(
    ("trace", "taken"),
    [
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        (b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", True),
        (b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        (b"00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        (b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        (b"nonsense", False),
    ],
)
def test_traces(trace: bytes, taken: bool) -> None:  # noqa: FBT001 - one of the cases
    found = exchange("/x", (b"traceparent", trace))

    assert (found.trace_id == trace[3:35].decode()) is taken
    assert ((b"traceparent", trace) in found.common) is taken
