"""The provider's keys: which of them are used, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.jwks import DOCUMENT_BYTES_MAX, KEYS_MAX, JwksError, keys_of
from tests.unit.gateway.provider import Provider, jwk

ALL = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")


def names(*members: object, algorithms: tuple[str, ...] = ALL) -> set[tuple[str, str]]:
    return set(keys_of(json.dumps({"keys": members}).encode(), algorithms))


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    provider = Provider()
    provider.add("rsa", "RS256")
    provider.add("ed", "EdDSA")
    return {one["kid"]: one for one in provider.members}


def without(member: dict[str, Any], *gone: str, **changed: object) -> dict[str, Any]:
    return {name: value for name, value in (member | changed).items() if name not in gone}


def test_a_key_is_for_the_algorithm_that_it_names(made: dict[str, dict[str, Any]]) -> None:
    assert names(*made.values()) == {("ec", "ES256"), ("rsa", "RS256"), ("ed", "EdDSA")}


def test_a_key_that_names_none_is_for_all_of_its_type(made: dict[str, dict[str, Any]]) -> None:
    assert names(without(made["rsa"], "alg", "use")) == {("rsa", "RS256"), ("rsa", "PS256")}
    assert names(without(made["ed"], "alg")) == {("ed", "EdDSA"), ("ed", "Ed25519")}
    assert names(without(made["ec"], "alg"), algorithms=("RS256", "EdDSA")) == set()


def test_keys_that_are_passed_over(made: dict[str, dict[str, Any]]) -> None:
    good = made["ec"]
    short = jwk("short", "RS256", rsa.generate_private_key(65_537, 1_024))  # noqa: S505 - that is the point
    curve = without(jwk("curve", "ES256", ec.generate_private_key(ec.SECP384R1())))
    passed: list[object] = [
        *(without(good, "kid"), good | {"kid": ""}, good | {"kid": 7}),
        *(good | {"use": "enc"}, good | {"key_ops": ["sign"]}, good | {"key_ops": "verify"}),
        *(good | {"alg": "ES384"}, good | {"alg": "HS256"}, good | {"alg": 7}),
        *(good | {"kty": "RSA"}, good | {"kty": "oct", "k": "c2VjcmV0"}, good | {"kty": 7}, good | {"crv": "P-384"}),
        *(good | {"d": "AAAA"}, good | {"x": "AAAA"}, good | {"x": 7}, without(good, "y"), good | {"y": good["x"]}),
        *(
            made["rsa"] | {"n": 7},
            made["rsa"] | {"n": "A" * 100_000},
            without(made["rsa"], "e"),
            made["rsa"] | {"e": "AA"},
        ),
        *(made["rsa"] | {"n": "é"}, made["rsa"] | {"n": ""}, made["ed"] | {"x": "AA"}),
        *({"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}, short, curve, None, 7, "key", [good], {}),
    ]
    for member in passed:
        assert names(member) == set(), member

    assert names(*passed, good | {"kid": "last"}) == {("last", "ES256")}


def test_of_two_with_one_name_the_first_counts(made: dict[str, dict[str, Any]]) -> None:
    other = Provider().members[0]

    found = keys_of(json.dumps({"keys": [made["ec"], other]}).encode(), ALL)

    assert found == keys_of(json.dumps({"keys": [made["ec"]]}).encode(), ALL)
    assert found != keys_of(json.dumps({"keys": [other]}).encode(), ALL)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":NaN}',
        b'{"keys":' + b"[" * 5_000,
        b'{"keys":[' + b"{}," * KEYS_MAX + b"{}]}",
        b'{"keys":[]}' + b" " * DOCUMENT_BYTES_MAX,
        b"<html>Sign in</html>",
    ],
    ids=range(11),
)
def test_what_is_no_set_of_keys(document: bytes) -> None:
    with pytest.raises(JwksError, match="document"):
        keys_of(document, ALL)


def test_a_provider_may_have_dropped_all() -> None:
    assert names() == set()
