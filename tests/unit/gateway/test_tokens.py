"""Tokens instead of keys, as a running gateway takes them."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from gateway import keyring as keyrings
from gateway import token_check
from gateway.faults import ProblemError
from gateway.jwks import SigningKey
from gateway.keyring import Keyring
from gateway.settings import GatewaySettings
from gateway.signing_keys import SigningKeys
from gateway.tokens import ADMITTED_SECONDS_MAX, Tokens
from ledger.commands import Origin
from persistence.keys import MemoryKeyStore
from tests.unit.gateway.house import CODE, RUB, Clock, House, client_key, opened
from tests.unit.gateway.provider import NAMED, Provider
from tests.unit.gateway.test_keyring import Store, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOLD = {"purpose": "Redemption", "amount": 100, "currency": RUB}


@pytest.fixture
def provider() -> Provider:
    return Provider(Clock())


@pytest.fixture
def place(provider: Provider, tmp_path: Path) -> Path:
    return provider.publish(tmp_path / "jwks.json")


@pytest.fixture(params=[True, False], ids=["front", "litestar"])
async def house(request: pytest.FixtureRequest, provider: Provider, place: Path) -> AsyncIterator[House]:
    async with opened(GatewaySettings(tokens=provider.settings(str(place))), fast_lane=request.param) as house:
        yield house


class Admissions(Tokens):
    """Tokens that count how often one was looked at."""

    looks = 0

    async def admit(self, text: bytes) -> Any:  # noqa: ANN401 - as there
        self.looks += 1
        return await super().admit(text)


class Rings:
    """A keyring with tokens, on clocks of its own."""

    def __init__(self, provider: Provider, place: Path, **settings: Any) -> None:  # noqa: ANN401 - of the settings
        self.clock = Clock()
        provider.clock = self.clock
        self.store = Store("pos")
        told = provider.settings(str(place), **({"keys_refresh_seconds": 3_600.0} | settings))
        self.refused = Counter[str]()
        self.tokens = Admissions(told, self.clock, self.refused)
        bounds = GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=0)
        self.ring = Keyring(self.store, bounds, self.clock, tokens=self.tokens)


def bearer(token: str) -> bytes:
    return f"Bearer {token}".encode()


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_a_token_is_as_good_as_a_key(house: House, provider: Provider) -> None:
    await house.issue()
    token = provider.token()

    held = [await house.post("authorize", HOLD, token) for _ in range(2)]
    taken = await house.post("capture", {"authorizationId": held[0].body["authorizationId"]}, token)

    assert [response.status for response in (*held, taken)] == [201, 201, 201]
    origin: Origin = house.ledger.asked[-1][2]
    assert (origin.client, origin.channel) == (f"{NAMED}till-991", "POS")
    assert origin.key_id == token_check.token_id(token.encode())
    history = await house.get(f"/certificates/{CODE}/operations", "support")
    assert token not in history.content.decode()


async def test_what_its_client_has_done_is_its_own_with_the_next_token_too(house: House, provider: Provider) -> None:
    await house.issue()
    held = await house.post("authorize", HOLD, provider.token(), headers={"idempotency-key": "1"})
    body = {"authorizationId": held.body["authorizationId"]}

    other = await house.post("capture", body, provider.token(sub="till-2"))
    with_a_key = await house.post("capture", body, "pos")
    again = await house.post("authorize", HOLD, provider.token(jti="2"), headers={"idempotency-key": "1"})
    captured = await house.post("capture", body, provider.token(jti="3"))

    assert (other.code, with_a_key.code) == ("Forbidden", "Forbidden")
    assert again.headers["idempotency-replayed"] == "true"
    assert captured.status == 201


async def test_a_token_cannot_say_that_it_is_a_client_with_a_key(house: House, provider: Provider) -> None:
    await house.issue()
    held = await house.hold(client="pos")

    stolen = await house.post("capture", {"authorizationId": held.body["authorizationId"]}, provider.token(sub="pos"))

    assert stolen.code == "Forbidden"


async def test_its_role_decides(house: House, provider: Provider) -> None:
    await house.issue()

    till = await house.get(f"/certificates/{CODE}", provider.token())
    desk = await house.get(f"/certificates/{CODE}", provider.token(roles=["gift-help"]))
    watch = await house.get("/metrics", provider.token(roles=["gift-watch"]))
    nobody = await house.get(f"/certificates/{CODE}", provider.token(roles=["offline_access"]))

    assert (till.status, till.code) == (403, "Forbidden")
    assert (desk.status, watch.status) == (200, 200)
    assert (nobody.status, nobody.code) == (403, "Forbidden")


async def test_a_token_that_is_not_valid_is_told_so_and_no_more(
    house: House, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    now = provider.clock() // 1_000
    tokens = {
        "claims": provider.token(exp=now - 3_600),
        "form": "a.b.c",
        "header": provider.token(header={"crit": ["x"]}),
        "key": provider.token(header={"kid": "nobody's"}),
        "signature": provider.token()[:-8] + "AAAAAAAA",
        "client": provider.token(sub="a b"),
    }

    answers = {name: await house.post("authorize", HOLD, token) for name, token in tokens.items()}

    assert {(answer.status, answer.code) for answer in answers.values()} == {(401, "Unauthenticated")}
    assert len({answer.body["detail"] for answer in answers.values()}) == 1, "nobody is told what is wrong"
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {
        'Bearer realm="gift-ledger", error="invalid_token"'
    }
    shown = (await house.get("/metrics", "ops")).content.decode()
    for name, token in tokens.items():
        assert f'gift_ledger_http_tokens_refused_total{{reason="{name}"}} 1.0' in shown
        assert token not in caplog.text
        assert token.encode() not in answers[name].content


async def test_keys_work_on_beside_tokens_and_two_dots_are_no_key(house: House) -> None:
    await house.issue()

    assert (await house.hold(client="pos")).status == 201
    assert (await house.hold(client="nobody")).code == "Unauthenticated"
    assert (await house.hold(client="no.bo.dy")).code == "Unauthenticated"


async def test_without_settings_no_token_is_taken(provider: Provider) -> None:
    async with opened() as house:
        assert (await house.hold(client=provider.token())).code == "Unauthenticated"
        assert "tokens" not in (await house.get("/health/ready", None)).body["components"]


async def test_readiness_tells_how_the_provider_is_and_is_not_down_for_it(
    house: House, provider: Provider, tmp_path: Path
) -> None:
    await house.hold(client=provider.token())
    well = (await house.get("/health/ready", None)).body
    away = provider.settings(str(tmp_path / "nowhere.json"))
    async with opened(GatewaySettings(tokens=away)) as other:
        refused = await other.hold(client=provider.token())
        ready = await other.get("/health/ready", None)

    assert well["components"]["tokens"]["status"] == "ok"
    assert (refused.status, refused.code) == (503, "StorageUnavailable")
    assert (ready.status, ready.body["status"], ready.body["components"]["tokens"]["status"]) == (
        200,
        "degraded",
        "down",
    )


async def test_the_rate_is_that_of_the_client_whatever_token_it_shows(provider: Provider, place: Path) -> None:
    settings = GatewaySettings(tokens=provider.settings(str(place)), rate_per_second=2)
    async with opened(settings) as house:
        await house.issue()
        answers = [await house.hold(client=provider.token(jti=str(number))) for number in range(4)]
        other = await house.hold(client=provider.token(sub="till-2"))

    assert [answer.status for answer in answers] == [201, 201, 429, 429]
    assert other.status == 201


# --- what is remembered ----------------------------------------------------------------------------------------------


async def test_a_token_is_checked_once(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    token = bearer(provider.token())
    async with rings.ring as ring:
        assert ring.find(token) is None
        first = await ring.client(token)

        assert all([ring.find(token) is first, await ring.client(token) is first])
        assert rings.tokens.looks == 1
        await ring._refresh()  # of keys: it forgets whose were used, and no token
        assert ring.find(token) is first
        assert "t_" not in str(ring._used)
        assert not any("t_" in key_id for noted in rings.store.noted for key_id in noted)


async def test_a_key_is_found_with_no_look_at_tokens(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    async with rings.ring as ring:
        assert (await ring.client(b"Bearer pos")).name == "pos"
        with pytest.raises(ProblemError):
            await ring.client(b"Bearer other")
    assert rings.tokens.looks == 0


async def test_a_token_ends_when_it_says_so(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place, leeway_seconds=0)
    async with rings.ring as ring:
        long = bearer(provider.token(exp=rings.clock() // 1_000 + 1_000))
        short = bearer(provider.token(exp=rings.clock() // 1_000 + 1))
        await ring.client(long)
        await ring.client(short)

        rings.clock.advance(0.99)
        assert ring.find(short) is not None
        rings.clock.advance(0.01)
        await until(lambda: ring.find(short) is None)
        assert ring.find(long) is not None
        with pytest.raises(ProblemError) as caught:
            await ring.client(short)
    assert caught.value.code == "Unauthenticated"
    assert rings.refused == {"claims": 1}


async def test_a_token_that_ends_while_its_key_is_looked_for_is_not_taken(
    provider: Provider, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = Rings(provider, place, leeway_seconds=0)
    find = SigningKeys.find

    async def long(keys: SigningKeys, kid: str, algorithm: str) -> SigningKey | None:
        rings.clock.advance(2.0)
        return await find(keys, kid, algorithm)

    async with rings.ring as ring:
        short = bearer(provider.token(exp=rings.clock() // 1_000 + 1))
        monkeypatch.setattr(SigningKeys, "find", long)
        with pytest.raises(ProblemError) as caught:
            await ring.client(short)
    assert caught.value.code == "Unauthenticated"
    assert rings.refused == {"claims": 1}


async def test_a_token_is_remembered_in_its_usual_spelling_alone(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    async with rings.ring as ring:
        usual = bearer(provider.token())
        unusual = b"bEARER" + usual[6:]

        assert (await ring.client(unusual)).name == (await ring.client(usual)).name
        assert ring.find(usual) is not None
        assert ring.find(unusual) is None


async def test_a_token_that_lives_long_is_checked_again(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    async with rings.ring as ring:
        token = bearer(provider.token(exp=10**4_000))
        await ring.client(token)

        rings.clock.advance(ADMITTED_SECONDS_MAX)
        ring._look_for_ends()
        assert ring.find(token) is None
        assert (await ring.client(token)).name == f"{NAMED}till-991"
    assert rings.tokens.looks == 2


async def test_tokens_of_a_key_that_the_provider_drops_end(provider: Provider, place: Path) -> None:
    provider.add("leaked", "ES256")
    provider.publish(place)
    rings = Rings(provider, place, keys_refresh_seconds=0.02)
    async with rings.ring as ring:
        kept, leaked = bearer(provider.token()), bearer(provider.token("leaked"))
        await ring.client(kept)
        await ring.client(leaked)
        del provider.keys["leaked"]
        provider.publish(place)

        await until(lambda: ring.find(leaked) is None)
        with pytest.raises(ProblemError):
            await ring.client(leaked)
        assert (await ring.client(kept)).name == f"{NAMED}till-991"


async def test_so_many_tokens_are_remembered(provider: Provider, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyrings, "TOKENS_MAX", 3)
    rings = Rings(provider, place)
    tokens = [bearer(provider.token(jti=str(number))) for number in range(5)]
    async with rings.ring as ring:
        for token in tokens:
            assert (await ring.client(token)).name == f"{NAMED}till-991"

        assert [ring.find(token) is not None for token in tokens] == [False, False, True, True, True]
        assert (await ring.client(tokens[0])).name == f"{NAMED}till-991"
        monkeypatch.setattr(keyrings, "RECENT_MAX", 0)
        assert (await ring.client(tokens[1])).name == f"{NAMED}till-991"
        assert ring.find(tokens[1]) is None


async def test_one_token_is_not_remembered_in_many_ways(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    token = provider.token()
    async with rings.ring as ring:
        for header in (f"Bearer  {token}", f"Bearer {token} ", f"Bearer \t{token}"):
            with pytest.raises(ProblemError):
                await ring.client(header.encode())
        assert (await ring.client(f"bearer {token}".encode())).name == f"{NAMED}till-991"
    assert rings.refused == {"form": 3}


async def test_a_gateway_that_cannot_read_keys_takes_tokens_all_the_same(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    bounds = GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=0, keys_stale_seconds_max=0)
    async with Keyring(MemoryKeyStore([client_key("pos")]), bounds, rings.clock, tokens=rings.tokens) as ring:
        token = bearer(provider.token())
        await ring.client(token)
        ring._look_for_ends()

        assert ring.find(token) is not None
        assert ring.find(b"Bearer pos") is None


async def test_an_unknown_key_while_the_provider_is_away_may_be_a_new_one(provider: Provider, place: Path) -> None:
    rings = Rings(provider, place)
    async with rings.ring as ring:
        known = bearer(provider.token())
        await ring.client(known)
        provider.add("new", "ES256")
        token = bearer(provider.token("new"))
        text, provider.text = provider.text, b"<html>Maintenance</html>"
        provider.publish(place)

        with pytest.raises(ProblemError) as caught:
            await ring.client(token)
        assert caught.value.code == "StorageUnavailable"
        assert (await ring.client(bearer(provider.token(jti="2")))).name == f"{NAMED}till-991"
        provider.text = text
        provider.publish(place)
        assert (await ring.client(token)).name == f"{NAMED}till-991"
