"""HTTP bodies, headers, paths and queries, as the functions meet them that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import Call
from gateway.addresses import FORWARDED, Addresses, networks
from gateway.bodies import FAULTS_MAX, BodyDecoder, check_media, has_body
from gateway.bulk_items import ItemsDecoder
from gateway.bulk_requests import BULK_BODIES, ITEMS_MAX
from gateway.certificates import BODIES, certificate_code
from gateway.exchange import Exchange
from gateway.faults import ProblemError
from gateway.headers import idempotency_key, matches
from gateway.operations import OPERATIONS
from gateway.problems import document
from gateway.reads import milliseconds, order_id, whole_number
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier, version_of
from tests.fuzz.breaking import DEEP, broken, broken_json
from tests.fuzz.judge import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar.types import HTTPScope

DECODERS: dict[Call, Any] = {call: BodyDecoder(kind) for call, kind in BODIES.items()}
BULK: dict[Call, Any] = {call: ItemsDecoder(*kinds) for call, kinds in BULK_BODIES.items()}
VALID: list[object] = [body for operation in OPERATIONS for body in operation.requests.values()]
ADDRESSES = Addresses(networks("10.0.0.0/8"))
LONG = 600_000
"""Bytes: whoever takes a time that grows with the square of them does not come to an end today."""

HEADERS = (
    b"application/json; charset=utf-8",
    b'"8f1c2c0e-6f0a-4e0e-9d57-1f6f2d3b7a10"',
    b'"a\\"b\\\\c"',
    b'W/"4", "5", *',
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"bytes=0-1",
    b"198.51.100.7:4711, [2001:db8::7], 10.9.9.9",
    b"gzip, identity",
    b"18446744073709551616",
)
OF_HEADERS = (
    b'"',
    b"\\",
    b"\\\\",
    b'W/"',
    b",",
    b" " * 999,
    b"\t",
    b"\xff",
    b"\x80",
    b"*",
    b";",
    b"=",
    b"-",
    b"0" * 99,
)
TEXTS = (
    "2026-11-23T07:00:00.000Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:60-99:99",
    "GC-7K2M-9QXA",
    "50",
    "0",
)


def examined(body: bytes) -> None:
    """Have every call read the body."""
    for decoder in DECODERS.values():
        try:
            decoder.decode(body)
        except ProblemError as error:
            told = error
        else:
            continue
        assert len(told.errors) in range(1, FAULTS_MAX + 1)
        document(told, "/")


def bulk_examined(body: bytes) -> None:
    """Have every bulk call read the body."""
    for decoder in BULK.values():
        items: Sequence[Any] = decoder.decode(body)
        assert len(items) in range(1, ITEMS_MAX + 1)
        for item in items:
            if isinstance(item, ProblemError):
                document(item, "/")


@given(broken_json(*VALID))
def test_bodies(body: bytes) -> None:
    judge(examined, body)
    judge(bulk_examined, body, ProblemError)


@pytest.mark.parametrize(
    "body",
    [
        b'{"purpose":"Sale","a":' + b"[" * 100_000,
        b'{"a":' * DEEP,
        b'{"items":[' + b'{"a":' * DEEP,
        b'{"items":[' + b"[" * DEEP + b"]" * DEEP + b"]}",
        b'{"amount":' + b"9" * LONG,
        b'{"reference":"' + b"a" * LONG + b'"}',
        b'{"reference":"' + b"\\u0041" * (LONG // 6) + b'"}',
        b'{"items":[' + b"{}," * (LONG // 3) + b"{}]}",
        b'{"items":["' + b'","' * (LONG // 3) + b'"]}',
        b"{" + b'"":0,' * (LONG // 5) + b'"":0}',
        b"{" + b",".join(b'"%d":0' % number for number in range(LONG // 10)) + b"}",
        b'"' * LONG,
        b" " * LONG,
        b"\xff" * LONG,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_bodies_that_are_far_too_long_or_too_deep(body: bytes) -> None:
    """None is as long as this when it comes to be read; nothing but its length makes it cost more."""
    judge(examined, body)
    judge(bulk_examined, body, ProblemError)


def read_header(value: bytes) -> None:
    scope: Any = {"type": "http", "method": "GET", "path": "/", "headers": []}
    scope["headers"] = [(name, value) for name in (b"x-request-id", b"traceparent", b"x-request-id")]
    asked: HTTPScope = scope
    exchange = Exchange(asked)
    assert exchange.trace_id == "" or len(exchange.trace_id) == 32
    assert len(exchange.request_id) <= 64
    matches(value, b'"4"')
    has_body({b"content-length": value})
    forwarded, proxy = {FORWARDED: value}, ("10.0.0.1", 4711)
    assert ADDRESSES.of(proxy, forwarded)
    assert {len(ADDRESSES.source(proxy, forwarded, of_proxy=of_proxy)) for of_proxy in (False, True)} <= {4, 16}
    for read in (idempotency_key, check_media):
        headers = {
            b"idempotency-key": value,
            b"content-type": value,
            b"content-encoding": value,
            b"content-length": b"1",
        }
        try:
            read(headers)
        except ProblemError:
            continue


@given(broken(*HEADERS, nasty=OF_HEADERS))
def test_headers(value: bytes) -> None:
    judge(read_header, value)


@pytest.mark.parametrize("filling", [b" ", b'"', b"\\", b",", b";", b"a", b'W/"', b"\xff"])
@pytest.mark.parametrize("before", [b'"', b"application/json", b"application/json;"])
def test_headers_that_are_far_too_long(before: bytes, filling: bytes) -> None:
    judge(read_header, before + filling * (LONG // len(filling)) + b"x")


READERS: dict[str, Callable[[str], object]] = {
    "asOf": milliseconds,
    "after": lambda text: whole_number("after", text, 0, 2**53 - 1),
    "code": certificate_code,
    "orderId": lambda text: order_id(b"/orders/" + text.encode(errors="surrogatepass")),
    "operationId": lambda text: version_of(text, "GC-7K2M-9QXA", AUTHORIZATION, OPERATION),
}


@pytest.mark.parametrize("name", READERS)
@given(
    st.one_of(
        broken(
            *(text.encode() for text in TEXTS), nasty=(b"9" * 99, b"+99:99", b"%", b"%2f", b"%00", b"\xd9\xa1", b"\n")
        ).map(lambda found: found.decode(errors="replace")),
        st.text(st.characters(exclude_categories=())),
        st.integers(0, 10**20).map(
            lambda version: f"au_{version}_{identifier(AUTHORIZATION, 'GC-7K2M-9QXA', version)[-16:]}"
        ),
    )
)
def test_paths_and_queries(name: str, text: str) -> None:
    judge(READERS[name], text, ProblemError)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("filling", ["9", "%", "%2", "_", "A", "/", "\u0661"])
def test_paths_and_queries_that_are_far_too_long(name: str, filling: str) -> None:
    judge(READERS[name], "au_" + filling * LONG, ProblemError)
