"""What the settings of an identity provider mean, and what keeps them from meaning anything."""

from pathlib import Path
from typing import Any

import pytest

from gateway.access import Role
from gift_ledger.settings import Settings

GIVEN: dict[str, Any] = {
    "jwt_issuer": "https://login.example",
    "jwt_audience": "gift-ledger",
    "jwt_jwks_url": "https://login.example/certs",
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"jwt_issuer": None}, "set without jwt_issuer"),
        ({"jwt_audience": None, "jwt_issuer": None}, "jwt_jwks_url set without jwt_issuer, jwt_audience"),
        ({"jwt_jwks_url": "http://login.example/certs"}, "over plain HTTP anybody"),
        ({"jwt_jwks_url": "HTTP://10.0.0.7/certs"}, "over plain HTTP anybody"),
        ({"jwt_jwks_url": "http://127.0.0.1.example/certs"}, "over plain HTTP anybody"),
        ({"jwt_jwks_url": "http://localhost@login.example/certs"}, "no user"),
        ({"jwt_jwks_url": "https://a:b@login.example/"}, "no user"),
        ({"jwt_jwks_url": "https://login.example/a b"}, "no blanks"),
        ({"jwt_jwks_url": "https:///certs"}, "names no host"),
        ({"jwt_jwks_url": "https://login.example:99999/"}, "port"),
        ({"jwt_jwks_url": "ftp://login.example/certs"}, "no file and no address"),
        ({"jwt_algorithms": "HS256"}, "HS256 cannot be taken"),
        ({"jwt_algorithms": "RS256,none"}, "none cannot be taken"),
        ({"jwt_algorithms": "rs256"}, "rs256 cannot be taken"),
        ({"jwt_roles": "gift-till=till"}, "a ROLE is one of storefront, pos"),
        ({"jwt_roles": "gift-till"}, "write VALUE=ROLE"),
        ({"jwt_roles": "=pos"}, "write VALUE=ROLE"),
        ({"jwt_roles": "gift till=pos"}, "write VALUE=ROLE"),
        ({"jwt_roles": "a=pos,a=ops"}, "stands twice"),
        ({"jwt_keys_stale_seconds": 60.0}, "below twice jwt_keys_refresh_seconds"),
    ],
)
def test_what_cannot_be_is_told(changed: dict[str, Any], said: str) -> None:
    (found,) = Settings(**(GIVEN | changed)).contradictions()

    assert said in found


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:8081/certs", "http://localhost/certs", "http://[::1]:1/", "https://login.example:8443/"]
)
def test_places_that_are_taken(place: str) -> None:
    settings = Settings(**(GIVEN | {"jwt_jwks_url": place}))

    assert settings.contradictions() == []
    tokens = settings.http().tokens
    assert tokens is not None
    assert tokens.jwks_url == place


def test_without_them_no_token_is_taken() -> None:
    assert Settings().http().tokens is None


def test_what_they_mean() -> None:
    tokens = (
        Settings(
            **(GIVEN | {"jwt_jwks_url": "keys.json"}), jwt_algorithms="ES256,ES256", jwt_roles="a=b=pos, help=support"
        )
        .http()
        .tokens
    )

    assert tokens is not None
    assert tokens.jwks_url == str(Path.cwd() / "keys.json")
    assert tokens.algorithms == ("ES256",)
    assert tokens.roles == {"a=b": Role.POS, "help": Role.SUPPORT}
    own = Settings(**GIVEN).http().tokens
    assert own is not None
    assert own.roles == {role.value: role for role in Role}
