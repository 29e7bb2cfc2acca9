"""API2 with tokens: one that the provider did not make for us, for this client and for now, opens nothing."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.host import wall_clock
from ledger.money import SECOND_MS
from tests.integration.http_client import get
from tests.security.stage import DENOMINATION, call, redemption, street, told
from tests.unit.gateway.provider import NAMED, Provider, b64, by_secret, jwk, pem, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.security.stage import Street

pytestmark = pytest.mark.real

CODE = "GC-7K2M-9QXA"
NOBODY = (401, "Unauthenticated")
FORBIDDEN = (403, "Forbidden")
TAKEN = (201, "")
TILLS, SUPPORT = ["gift-till"], ["gift-help"]


@asynccontextmanager
async def company(redis_url: str, folder: Path, **settings: Any) -> AsyncIterator[tuple[Street, Provider]]:  # noqa: ANN401
    """A gateway that takes tokens of a provider with a key of each type, and an active certificate."""
    provider = Provider(wall_clock)
    provider.add("rsa", "RS256")
    provider.add("ed", "EdDSA")
    keys = provider.publish(folder / "keys.json")
    async with street(redis_url, folder, tokens=provider.settings(str(keys), **settings)) as here:
        await here.issue(CODE)
        await here.door.ask(get("/health/ready"))
        yield here, provider


async def outcome(here: Street, token: str) -> tuple[int, str]:
    """What comes of a redemption with a token."""
    return told(await here.door.ask(call(CODE, "authorize", redemption(), token)))


async def refused(here: Street, tokens: dict[str, str], outcome_: tuple[int, str] = NOBODY) -> None:
    """Each of these opens nothing, and the ledger is not even asked."""
    before = len(here.door.ledger.changes)
    assert {name: await outcome(here, token) for name, token in tokens.items()} == dict.fromkeys(tokens, outcome_)
    assert len(here.door.ledger.changes) == before
    state = await here.state(CODE)
    assert (state["balance"], state["available"]) == (DENOMINATION, DENOMINATION)


async def test_algorithms_are_confused(redis_url: str, tmp_path: Path) -> None:
    async with company(redis_url, tmp_path) as (here, provider):
        claims = provider.claims()
        forged = {}
        for kid, (algorithm, key) in provider.keys.items():
            head, payload, signature = provider.token(kid).split(".")
            for none in ("none", "None", "NONE", "nOnE", ""):
                bare = b64(json.dumps({"alg": none, "kid": kid}).encode()).decode()
                forged[f"{kid}: alg {none!r}"] = f"{bare}.{payload}."
                forged[f"{kid}: alg {none!r}, signed"] = f"{bare}.{payload}.{signature}"
            published = json.dumps(jwk(kid, algorithm, key)).encode()
            for name, secret in {"pem": pem(key), "pem, stripped": pem(key).strip(), "jwk": published}.items():
                for hashed in ("HS256", "HS384", "HS512"):
                    head_of = {"alg": hashed, "kid": kid}
                    forged[f"{kid}: {hashed} by the public key, {name}"] = by_secret(head_of, claims, secret)
                # signed as HS256 is, and called by what the key is for
                forged[f"{kid}: {algorithm} by the public key, {name}"] = by_secret(
                    {"alg": algorithm, "kid": kid}, claims, secret
                )
            for other, (other_algorithm, _) in provider.keys.items():
                if other != kid:
                    forged[f"{kid}: says {other_algorithm}"] = provider.token(kid, {"alg": other_algorithm})
                    forged[f"{kid}: says it is {other}"] = provider.token(kid, {"kid": other})
                    both = {"alg": other_algorithm, "kid": other}
                    forged[f"{kid}: says it is {other} by {other_algorithm}"] = provider.token(kid, both)
            forged[f"{kid}: no signature"] = f"{head}.{payload}."
            forged[f"{kid}: zeros for a signature"] = f"{head}.{payload}.{'A' * len(signature)}"

        await refused(here, forged)
        assert [await outcome(here, provider.token(kid)) for kid in provider.keys] == [TAKEN] * 3


async def test_keys_are_swapped(redis_url: str, tmp_path: Path) -> None:
    """The thief signs rightly, with keys of his own, and tells where they are."""
    async with company(redis_url, tmp_path) as (here, provider):
        thief = Provider(wall_clock)
        thief.keys["rsa"] = "RS256", rsa.generate_private_key(65_537, 2_048)
        thief.add("ed", "EdDSA")
        stolen = thief.publish(tmp_path / "thief.json")
        forged = {}
        for kid, member in zip(thief.keys, thief.members, strict=True):
            forged[f"{kid}: by another key of this id"] = thief.token(kid)
            forged[f"{kid}: jwk"] = thief.token(kid, {"jwk": member})
            forged[f"{kid}: jwk, no id"] = thief.token(kid, {"jwk": member, "kid": None})
            forged[f"{kid}: jku"] = thief.token(kid, {"jku": stolen.as_uri()})
            forged[f"{kid}: x5u"] = thief.token(kid, {"x5u": "https://thief.example/chain.pem"})
            forged[f"{kid}: x5c"] = thief.token(kid, {"x5c": ["MIIB"]})
            for made_up in ("", "../thief.json", str(stolen), "' OR 1=1 --", "rsa\x00", "*", "RSA"):
                forged[f"{kid}: id {made_up!r}"] = thief.token(kid, {"kid": made_up})

        await refused(here, forged)
        assert await outcome(here, provider.token()) == TAKEN


async def test_claims_are_anothers_or_out_of_date(redis_url: str, tmp_path: Path) -> None:
    async with company(redis_url, tmp_path, leeway_seconds=0) as (here, provider):
        now = wall_clock() // SECOND_MS
        changed: dict[str, dict[str, Any]] = {
            "another audience": {"aud": "crm"},
            "audiences without ours": {"aud": ["crm", "gift-ledgers"]},
            "no audience": {"aud": None},
            "another issuer": {"iss": "https://thief.example"},
            "the issuer and a slash": {"iss": f"{provider.claims()['iss']}/"},
            "no issuer": {"iss": None},
            "expired": {"exp": now - 1},
            "no end": {"exp": None},
            "an end that is a text": {"exp": str(now + 60)},
            "not yet": {"nbf": now + 3_600},
            "made in the future": {"iat": now + 3_600},
            "nobody": {"sub": None},
            "a name with a line in it": {"sub": "till\r\nX-Role: support"},
        }
        for_else = {
            "an id token": provider.token(header={"typ": "ID"}),
            "a logout token": provider.token(header={"typ": "logout+jwt"}),
            "a critical extension": provider.token(header={"crit": ["b64"], "b64": False}),
        }

        await refused(here, {name: provider.token(**claims) for name, claims in changed.items()} | for_else)
        assert await outcome(here, provider.token()) == TAKEN


async def test_bytes_are_changed_on_the_way(redis_url: str, tmp_path: Path) -> None:
    """A token of a till, made one of support; and one that readers could read in two ways."""
    async with company(redis_url, tmp_path) as (here, provider):
        head, payload, signature = provider.token().split(".")
        support = b64(json.dumps(provider.claims(roles=SUPPORT)).encode()).decode()
        claims, (algorithm, key) = json.dumps(provider.claims()), provider.keys["ec"]
        header = json.dumps({"alg": algorithm, "kid": "ec"}).encode()
        twice = claims[:-1] + ', "sub": "another"}'
        forged = {
            "other claims": f"{head}.{support}.{signature}",
            "a claim twice": signed(header, twice.encode(), algorithm, key),
            "an algorithm twice": signed(header[:-1] + b', "alg": "none"}', claims.encode(), algorithm, key),
            "no object": signed(header, b'["gift-till"]', algorithm, key),
            "padded": f"{head}.{payload}.{signature}==",
            "four parts": f"{head}.{payload}.{signature}.{signature}",
            "encrypted": f"{head}.{payload}.{signature}.{payload}.{signature}",
            "a blank in it": f"{head}. {payload}.{signature}",
            "long": f"{head}.{payload}{'A' * 9_000}.{signature}",
        }

        await refused(here, forged)


async def test_a_role_is_made_up(redis_url: str, tmp_path: Path) -> None:
    """Rights come of the mapping alone: not of our own names for roles, nor of two roles at once."""
    async with company(redis_url, tmp_path) as (here, provider):
        roles = {
            "our own name": ["pos"],
            "a prefix": ["gift-tillx"],
            "another case": ["GIFT-TILL"],
            "two": ["gift-till", "gift-help"],
            "none": [],
            "nested": [["gift-till"]],
            "an object": {"gift-till": True},
        }

        await refused(here, {name: provider.token(roles=given) for name, given in roles.items()}, FORBIDDEN)
        block = call(CODE, "block", {"reason": "mine"}, provider.token(roles=TILLS))
        assert told(await here.door.ask(block)) == FORBIDDEN
        assert (await here.state(CODE))["status"] == "Active"


async def test_a_token_is_never_a_client_that_has_a_key(redis_url: str, tmp_path: Path) -> None:
    """Whatever name the provider gives it: the holds of the till `pos` are not its own, and its key not its outcome."""
    async with company(redis_url, tmp_path) as (here, provider):
        key = "Idempotency-Key: till-7-991"
        hold = await here.hold(CODE, "pos")
        capture = {"authorizationId": hold}
        named = {name: provider.token(sub=name) for name in ("pos", f"{NAMED}pos", "system", "payments")}

        stolen = {name: told(await here.door.ask(call(CODE, "capture", capture, one))) for name, one in named.items()}
        taken = await here.door.ask(call(CODE, "capture", capture, "pos", key))
        again = {
            name: told(await here.door.ask(call(CODE, "capture", capture, one, key))) for name, one in named.items()
        }
        captured = msgspec.json.decode(taken.content)["operationId"]
        void = {"operationId": captured, "reason": "mine"}
        undone = {name: told(await here.door.ask(call(CODE, "void", void, one))) for name, one in named.items()}

        assert told(taken) == TAKEN
        assert stolen == again == undone == dict.fromkeys(named, FORBIDDEN)


async def test_a_flood_of_forged_tokens_shuts_nobody_out(redis_url: str, tmp_path: Path) -> None:
    """Each is right up to its signature, and each another one, so that none of them is known."""
    async with company(redis_url, tmp_path) as (here, provider):
        head, payload, signature = provider.token("rsa").split(".")
        lines = [await here.door.line() for _ in range(20)]
        flood = [f"{head}.{payload}.{number:04}{signature[4:]}" for number in range(1_000)]
        for number, token in enumerate(flood):
            await lines[number % len(lines)].send(call(CODE, "authorize", redemption(), token))

        till = await here.door.ask(call(CODE, "authorize", redemption(), "pos"))
        answers = [told(await lines[number % len(lines)].answer()) for number in range(len(flood))]

        assert told(till) == TAKEN
        assert set(answers) == {NOBODY}
