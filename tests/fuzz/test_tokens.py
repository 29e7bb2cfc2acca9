"""Tokens and the provider's keys: whatever is in them, they are refused as documented, or they are what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jwks import DOCUMENT_BYTES_MAX, KEYS_MAX, JwksError, keys_of
from gateway.token_check import TOKEN_BYTES_MAX, TokenCheck, TokenError
from gateway.token_client import TokenClients
from ledger.commands import SYSTEM
from tests.fuzz.breaking import DEEP, broken, broken_json
from tests.fuzz.judge import judge
from tests.unit.gateway.house import Clock
from tests.unit.gateway.provider import NAMED, Provider, b64, signed

PROVIDER = Provider(Clock())
PROVIDER.add("rsa", "RS256")
PROVIDER.add("ed", "EdDSA")
SETTINGS = PROVIDER.settings(role_claim="realm_access.roles")
CHECK, CLIENTS = TokenCheck(SETTINGS, PROVIDER.clock), TokenClients(SETTINGS)
KEYS = keys_of(PROVIDER.document, SETTINGS.algorithms)
CLAIMS = PROVIDER.claims(roles=None, realm_access={"roles": ["gift-till"]}, channel="POS")
HEADER = {"alg": "ES256", "kid": "ec", "typ": "JWT"}
TOKENS = [
    PROVIDER.token(kid, roles=None, realm_access={"roles": ["gift-till"]}, channel="POS").encode()
    for kid in PROVIDER.keys
]
OF_TOKENS = (b".", b"..", b"=", b"==", b"+", b"/", b"-", b"_", b" ", b"\n", b"\x00", b"\xff", b"e30", b"bnVsbA")

MEMBERS = ("kid", "kty", "n", "e", "x", "y", "crv", "alg", "use", "key_ops", "d")
VALUES = (
    st.none() | st.integers() | st.text(max_size=50) | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "AQAB"])
)


def admitted(text: bytes) -> None:
    """Take a token as the gateway does."""
    token = CHECK.read(text)
    key = KEYS.get((token.kid, token.algorithm))
    if key is None:
        return
    CHECK.verify(token, key)
    client = CLIENTS.client(token.claims, "t_1")
    assert client.name.startswith(NAMED)
    assert client.name != SYSTEM.client
    json.dumps([client.name, client.channel]).encode()


def of_own(header: bytes, payload: bytes) -> bytes:
    """A token that the provider has signed, whatever is in it: nobody else gets as far as its claims."""
    return signed(header, payload, *PROVIDER.keys["ec"]).encode()


@given(broken(*TOKENS, nasty=OF_TOKENS))
def test_texts(text: bytes) -> None:
    judge(admitted, text, TokenError)


@given(broken(*TOKENS, nasty=OF_TOKENS))
def test_nothing_but_what_was_signed_is_taken(text: bytes) -> None:
    try:
        admitted(text)
    except TokenError:
        return
    signed_texts = {one.rpartition(b".")[0] for one in TOKENS}
    assert text.rpartition(b".")[0] in signed_texts or KEYS.get(_key_of(text)) is None


def _key_of(text: bytes) -> tuple[str, str]:
    token = CHECK.read(text)
    return token.kid, token.algorithm


@given(broken_json(HEADER, HEADER | {"crit": ["exp"]}), st.just(json.dumps(CLAIMS).encode()))
def test_headers(header: bytes, payload: bytes) -> None:
    judge(admitted, of_own(header, payload), TokenError)


@given(broken_json(CLAIMS))
def test_claims(payload: bytes) -> None:
    judge(admitted, of_own(json.dumps(HEADER).encode(), payload), TokenError)


@pytest.mark.parametrize(
    "text",
    [
        b"." * 2_000_000,
        b"a" * 2_000_000 + b".b.c",
        b"a.b." + b"c" * 2_000_000,
        b64(b"[" * DEEP) + b".e30.AA",
        b64(json.dumps(HEADER).encode()) + b"." + b64(b"[" * 5_000) + b".AA",
        b64(json.dumps(HEADER).encode()) + b"." + b64(b'{"exp":' + b"9" * 5_000 + b"}") + b".AA",
        of_own(json.dumps(HEADER).encode(), b'{"a":"' + b"a" * (TOKEN_BYTES_MAX // 2) + b'"}'),
    ],
    ids=range(7),
)
def test_texts_that_are_as_long_as_can_be(text: bytes) -> None:
    judge(admitted, text, TokenError)


@given(broken_json({"keys": PROVIDER.members}, {"keys": PROVIDER.members[:1]}))
def test_keys(document: bytes) -> None:
    judge(_read_keys, document, JwksError)


@given(st.lists(st.dictionaries(st.sampled_from(MEMBERS), VALUES)))
def test_members_of_all_kinds(changes: list[dict[str, Any]]) -> None:
    members = [PROVIDER.members[number % 3] | change for number, change in enumerate(changes)]
    judge(_read_keys, json.dumps({"keys": members}).encode(), JwksError)


@pytest.mark.parametrize(
    "document",
    [
        b'{"keys":' + b"[" * (DOCUMENT_BYTES_MAX - 8),
        b'{"keys":[' + b"{}," * 40_000 + b"{}]}",
        b'{"keys":[' + b'{"kty":"RSA","kid":"a","e":"AQAB","n":"' + b"A" * 130_000 + b'"}]}',
        b'{"keys":[' + b",".join([json.dumps(PROVIDER.members[0]).encode()] * KEYS_MAX) + b"]}",
        b" " * 2_000_000,
    ],
    ids=range(5),
)
def test_documents_that_are_as_long_as_can_be(document: bytes) -> None:
    judge(_read_keys, document, JwksError)


def _read_keys(document: bytes) -> None:
    assert len(keys_of(document, SETTINGS.algorithms)) <= KEYS_MAX * len(SETTINGS.algorithms)
