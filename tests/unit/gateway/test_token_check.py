"""Tokens: what is refused, each for its own reason, and nothing that is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.jwks import keys_of
from gateway.token_check import TOKEN_BYTES_MAX, Reason, TokenCheck, TokenError, token_id
from tests.unit.gateway.house import Clock
from tests.unit.gateway.provider import AUDIENCE, RSA, Provider, b64, by_secret, jwk, pem, signed

if TYPE_CHECKING:
    from gateway.token_settings import TokenSettings

ALL = ("RS256", "PS256", "ES256", "EdDSA")


class Checked:
    """A provider, and what checks its tokens with the keys that it publishes."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - of the settings
        self.clock = Clock()
        self.provider = Provider(self.clock)
        self.provider.add("rsa", "RS256")
        self.provider.add("ed", "EdDSA")
        self.provider.add("pss", "PS256")
        self.settings: TokenSettings = self.provider.settings(**settings)
        self.check = TokenCheck(self.settings, self.clock)
        self.now = self.clock() // 1_000

    def take(self, text: str | bytes, document: bytes | None = None) -> dict[str, Any]:
        """The claims of a token that is in order."""
        token = self.check.read(text if isinstance(text, bytes) else text.encode())
        key = keys_of(document or self.provider.document, self.settings.algorithms).get((token.kid, token.algorithm))
        if key is None:
            raise TokenError(Reason.KEY)
        self.check.verify(token, key)
        return token.claims

    def refused(self, text: str | bytes, document: bytes | None = None) -> Reason:
        with pytest.raises(TokenError) as caught:
            self.take(text, document)
        assert str(caught.value) == caught.value.reason
        return caught.value.reason


@pytest.fixture
def checked() -> Checked:
    return Checked()


@pytest.mark.parametrize("kid", ["ec", "rsa", "ed", "pss"])
def test_what_the_provider_has_signed_is_taken(checked: Checked, kid: str) -> None:
    assert checked.take(checked.provider.token(kid))["sub"] == "till-991"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_kinds_that_are_taken(checked: Checked, kind: str | None) -> None:
    assert checked.take(checked.provider.token(header={"typ": kind}))["sub"] == "till-991"


def test_one_of_several_audiences_is_enough(checked: Checked) -> None:
    assert checked.take(checked.provider.token(aud=["crm", AUDIENCE]))["aud"] == ["crm", AUDIENCE]


def test_times_may_be_missing_but_for_the_end(checked: Checked) -> None:
    assert "nbf" not in checked.take(checked.provider.token(nbf=None, iat=None))
    assert checked.refused(checked.provider.token(exp=None)) is Reason.CLAIMS


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_a_token_without_a_signature(checked: Checked, algorithm: str) -> None:
    header = b64(json.dumps({"alg": algorithm, "kid": "ec"}).encode())
    text = header + b"." + b64(json.dumps(checked.provider.claims()).encode()) + b"."

    assert checked.refused(text) is Reason.FORM
    assert checked.refused(text + b"AA") is Reason.HEADER


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_as_a_shared_secret(checked: Checked, algorithm: str) -> None:
    secrets = [pem(RSA), pem(RSA).strip(), json.dumps(jwk("rsa", "RS256", RSA)).encode(), b""]

    for secret in secrets:
        forged = by_secret({"alg": algorithm, "kid": "rsa"}, checked.provider.claims(), secret)
        assert checked.refused(forged) is Reason.HEADER
        pretending = by_secret({"alg": "RS256", "kid": "rsa"}, checked.provider.claims(), secret)
        assert checked.refused(pretending) is Reason.SIGNATURE


@pytest.mark.parametrize("algorithm", ["RS384", "ES512", "PS512", "ES256K", "EdDSA ", "rs256", "A128KW"])
def test_algorithms_that_are_not_set(checked: Checked, algorithm: str) -> None:
    assert checked.refused(checked.provider.token(header={"alg": algorithm})) is Reason.HEADER


def test_only_algorithms_that_are_set() -> None:
    narrow = Checked(algorithms=("ES256",))

    assert narrow.take(narrow.provider.token("ec"))
    assert narrow.refused(narrow.provider.token("rsa")) is Reason.HEADER


@pytest.mark.parametrize("kid", ["ec", "rsa", "ed", "pss"])
@pytest.mark.parametrize("algorithm", ALL)
def test_a_key_is_used_for_its_own_algorithm_alone(checked: Checked, kid: str, algorithm: str) -> None:
    own, _ = checked.provider.keys[kid]
    text = checked.provider.token(kid, {"alg": algorithm})

    if algorithm == own:
        assert checked.take(text)
    else:
        assert checked.refused(text) is Reason.KEY


def test_claims_that_were_changed_after_signing(checked: Checked) -> None:
    header, _, signature = checked.provider.token().split(".")
    richer = b64(json.dumps(checked.provider.claims(roles=["gift-watch"])).encode()).decode()

    assert checked.refused(f"{header}.{richer}.{signature}") is Reason.SIGNATURE


def test_a_key_of_another_issuer_with_the_same_id(checked: Checked) -> None:
    other = Provider(checked.clock)

    assert checked.refused(other.token()) is Reason.SIGNATURE
    # and his keys in the place of ours refuse ours
    assert checked.refused(checked.provider.token(), other.document) is Reason.SIGNATURE


def test_a_key_that_nobody_publishes(checked: Checked) -> None:
    checked.provider.add("own", "ES256")
    published = json.dumps({"keys": [one for one in checked.provider.members if one["kid"] != "own"]}).encode()

    assert checked.refused(checked.provider.token("own"), published) is Reason.KEY


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_the_token_brings_along_means_nothing(checked: Checked, name: str) -> None:
    thief = Provider(checked.clock)
    brought: dict[str, object] = {
        "jwk": thief.members[0],
        "jku": "https://thief.example/jwks",
        "x5u": "https://thief.example/pem",
        "x5c": ["MIIB"],
    }

    assert checked.refused(thief.token(header={name: brought[name]})) is Reason.SIGNATURE


@pytest.mark.parametrize("length", [1, 32, 63, 65, 256])
def test_signatures_of_other_lengths(checked: Checked, length: int) -> None:
    text = checked.provider.token().rpartition(".")[0]

    assert checked.refused(f"{text}.{b64(bytes(length)).decode()}") is Reason.SIGNATURE


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", [None, "", 7, ["ec"], {"a": 1}, "k" * 257])
def test_ids_of_keys_that_are_none(checked: Checked, kid: object) -> None:
    assert checked.refused(checked.provider.token(header={"kid": kid})) is Reason.HEADER


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": True}]
)
def test_extensions_that_change_what_a_token_means(checked: Checked, header: dict[str, object]) -> None:
    assert checked.refused(checked.provider.token(header=header)) is Reason.HEADER


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", "id_token", "JOSE", "", 1, ["JWT"]])
def test_other_kinds_of_token(checked: Checked, kind: object) -> None:
    assert checked.refused(checked.provider.token(header={"typ": kind})) is Reason.HEADER


# --- claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audience", ["crm", "gift-ledger2", "GIFT-LEDGER", "", [], ["crm"], [[AUDIENCE]], {AUDIENCE: 1}, 7, None]
)
def test_tokens_for_others(checked: Checked, audience: object) -> None:
    assert checked.refused(checked.provider.token(aud=audience)) is Reason.CLAIMS


@pytest.mark.parametrize(
    "issuer", ["https://login.example/realms/shops/", "https://LOGIN.example/realms/shops", "", ["x"], 7, None]
)
def test_tokens_by_others(checked: Checked, issuer: object) -> None:
    assert checked.refused(checked.provider.token(iss=issuer)) is Reason.CLAIMS


def test_tokens_end_and_begin_with_leeway(checked: Checked) -> None:
    provider, now, leeway = checked.provider, checked.now, checked.settings.leeway_seconds

    assert checked.take(provider.token(exp=now - leeway + 1))
    assert checked.refused(provider.token(exp=now - leeway)) is Reason.CLAIMS
    assert checked.take(provider.token(nbf=now + leeway, iat=now + leeway))
    assert checked.refused(provider.token(nbf=now + leeway + 1)) is Reason.CLAIMS
    assert checked.refused(provider.token(iat=now + leeway + 1)) is Reason.CLAIMS


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [b'"9999999999"', b"true", b"[9999999999]", b"{}", b"1e999", b"-1e999", b"NaN", b"Infinity"]
)
def test_times_that_are_none(checked: Checked, name: str, value: bytes) -> None:
    algorithm, key = checked.provider.keys["ec"]
    payload = json.dumps(checked.provider.claims(**{name: "here"})).encode().replace(b'"here"', value)

    assert checked.refused(signed(b'{"alg":"ES256","kid":"ec"}', payload, algorithm, key)) in {
        Reason.CLAIMS,
        Reason.FORM,
    }


# --- the form --------------------------------------------------------------------------------------------------------


def test_a_name_that_stands_twice(checked: Checked) -> None:
    algorithm, key = checked.provider.keys["ec"]
    header, payload = b'{"alg":"ES256","kid":"ec"}', json.dumps(checked.provider.claims()).encode()
    assert checked.take(signed(header, payload, algorithm, key))

    for name in (b'"aud":"gift-ledger"', b'"roles":["gift-watch"]', b'"sub":"till-1"'):
        assert checked.refused(signed(header, payload[:-1] + b"," + name + b"}", algorithm, key)) is Reason.FORM
    assert checked.refused(signed(b'{"alg":"none","alg":"ES256","kid":"ec"}', payload, algorithm, key)) is Reason.FORM
    deep = payload[:-1] + b',"realm_access":{"roles":[],"roles":["gift-watch"]}}'
    assert checked.refused(signed(header, deep, algorithm, key)) is Reason.FORM


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"a"', b"7", b"{", b"{}x", b"\xff", b"\xef\xbb\xbf{}", b"[" * 5_000]
)
def test_claims_that_are_no_object(checked: Checked, payload: bytes) -> None:
    algorithm, key = checked.provider.keys["ec"]

    assert checked.refused(signed(b'{"alg":"ES256","kid":"ec"}', payload, algorithm, key)) is Reason.FORM


def test_what_is_no_token(checked: Checked) -> None:
    header, payload, signature = checked.provider.token().encode().split(b".")

    for text in (
        b"",
        b"..",
        b"a.b",
        b"a.b.c",
        b".".join((header, payload, b"")),
        b".".join((header, payload, signature, b"")),
        b".".join((header, payload, signature, signature)),
        b".".join((header + b"=", payload, signature)),
        b".".join((b"+" + header, payload, signature)),
        b".".join((header, payload, signature + b"\n")),
        b" " + b".".join((header, payload, signature)),
        b".".join((header, payload, signature[:-1] + b"\xe9")),
    ):
        assert checked.refused(text) is Reason.FORM


def test_one_signature_is_written_in_one_way(checked: Checked) -> None:
    """Bits that no byte needs are zero: otherwise one token would be many texts, each remembered."""
    text = checked.provider.token("ed")
    last = "AQgw".index(text[-1])
    assert checked.take(text)

    assert checked.refused(text[:-1] + "BRhx"[last]) is Reason.SIGNATURE


def test_tokens_that_are_too_long(checked: Checked) -> None:
    assert checked.take(checked.provider.token(groups="g" * 5_000))
    assert checked.refused(checked.provider.token(groups="g" * TOKEN_BYTES_MAX)) is Reason.FORM
    assert checked.refused(checked.provider.token(header={"x": "g" * 2_000})) is Reason.FORM
    header, payload, _ = checked.provider.token().split(".")
    assert checked.refused(f"{header}.{payload}.{'A' * 1_025}") is Reason.FORM


# --- what is told ----------------------------------------------------------------------------------------------------


def test_no_token_shows_itself(checked: Checked) -> None:
    text = checked.provider.token()

    assert repr(checked.check.read(text.encode())) == "Token(…)"


def test_the_id_of_a_token_is_that_of_what_is_signed(checked: Checked) -> None:
    one, other = (checked.provider.token().encode() for _ in range(2))

    assert one != other, "a signature of ECDSA is another one each time"
    assert token_id(one) == token_id(other)
    assert token_id(one) != token_id(checked.provider.token(sub="till-2").encode())
    assert token_id(b"a.b.c") == "t_2e7336dc8eba87ef"
