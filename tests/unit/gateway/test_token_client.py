"""Whom a token stands for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.access import Client, Role
from gateway.token_check import Reason, TokenError
from gateway.token_client import TokenClients, name_prefix
from gift_ledger.cli.keys import NAME
from tests.unit.gateway.provider import ISSUER, NAMED, Provider

PROVIDER = Provider()


def client(claims: dict[str, Any], **settings: Any) -> Client:  # noqa: ANN401 - of the settings
    return TokenClients(PROVIDER.settings(**settings)).client(claims, "t_1")


def refused(claims: dict[str, Any], **settings: Any) -> Reason:  # noqa: ANN401 - of the settings
    with pytest.raises(TokenError) as caught:
        client(claims, **settings)
    return caught.value.reason


def test_a_client_of_the_provider() -> None:
    assert client(PROVIDER.claims()) == Client(name=f"{NAMED}till-991", role=Role.POS, channel="POS", key_id="t_1")


def test_its_name_is_never_that_of_a_client_with_a_key_nor_of_another_provider() -> None:
    assert name_prefix(ISSUER) == NAMED
    assert name_prefix(f"{ISSUER}/") != NAMED
    for subject in ("till-991", "x", "jwt:9ee0f1e1:till-991"):
        assert not NAME.fullmatch(client(PROVIDER.claims(sub=subject)).name)


@pytest.mark.parametrize("subject", ["auth0|5f7c", "a@clients", "spiffe://example/till", "x" * 128, "0-9_.+=/:A"])
def test_names_that_providers_give(subject: str) -> None:
    assert client(PROVIDER.claims(sub=subject)).name == NAMED + subject


@pytest.mark.parametrize(
    "subject",
    [None, "", "x" * 129, "a b", "a\nb", "a\0b", "[red]a", "é", "\u202e", "\ud800", '"', "a,b", 7, ["a"], {"a": 1}],
)
def test_names_that_are_none(subject: object) -> None:
    assert refused(PROVIDER.claims(sub=subject)) is Reason.CLIENT


def test_another_claim_may_have_the_name() -> None:
    assert client(PROVIDER.claims(azp="shop"), client_claim="azp").name == NAMED + "shop"
    assert refused(PROVIDER.claims(), client_claim="azp") is Reason.CLIENT


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["gift-till"], Role.POS),
        ("gift-help", Role.SUPPORT),
        ("openid gift-site email", Role.STOREFRONT),
        (["offline_access", "gift-watch", "uma"], Role.OPS),
        (["gift-till", "gift-till"], Role.POS),
        (["gift-till", 7, None], Role.POS),
    ],
)
def test_roles_that_are_meant(roles: object, role: Role) -> None:
    assert client(PROVIDER.claims(roles=roles)).role is role


@pytest.mark.parametrize(
    "roles",
    [
        *(None, [], "", "pos", ["pos"], "gift-tills", "GIFT-TILL", ["gift-till "], ["gift-till gift-help"]),
        *(["gift-till", "gift-help"], "gift-till gift-help", {"gift-till": True}, [["gift-till"]], 7, True),
    ],
)
def test_roles_that_are_none_or_several(roles: object) -> None:
    assert refused(PROVIDER.claims(roles=roles)) is Reason.ROLE


def test_without_a_list_of_meanings_the_names_are_our_own() -> None:
    own = {role.value: role for role in Role}

    assert [client(PROVIDER.claims(roles=[role.value]), roles=own).role for role in Role] == list(Role)
    assert refused(PROVIDER.claims(roles=["admin"]), roles=own) is Reason.ROLE


def test_a_path_leads_to_a_claim() -> None:
    deep = {"realm_access": {"roles": ["gift-till"]}}

    assert client(PROVIDER.claims(**deep), role_claim="realm_access.roles").role is Role.POS
    flat = {"https://shop.example/roles": ["gift-till"]}
    assert client(PROVIDER.claims(**flat), role_claim="https://shop.example/roles").role is Role.POS
    for wrong in ({"realm_access": ["roles"]}, {"realm_access": "roles"}, {}):
        assert refused(PROVIDER.claims(**wrong), role_claim="realm_access.roles") is Reason.ROLE


def test_channels() -> None:
    assert client(PROVIDER.claims(channel="Kiosk")).channel == "Kiosk"
    assert client(PROVIDER.claims(channel="Kiosk"), channel_claim=None).channel == "POS"
    assert client(PROVIDER.claims(roles=["gift-site"])).channel == "OnlineStore"
    assert client(PROVIDER.claims(roles=["gift-help"])).channel is None
    for wrong in ("", "a b", "x" * 65, 7, ["POS"]):
        assert refused(PROVIDER.claims(channel=wrong)) is Reason.CLIENT
