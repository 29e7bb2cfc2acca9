from pathlib import Path

import pytest

from gift_ledger.ray_environment import ALWAYS, AUTHENTICATED, LOOPBACK, prepare

HERE, THERE = "127.0.0.1:6380", "10.0.0.6:6379"


def prepared(address: str, **environ: str) -> dict[str, str]:
    """What is added to an environment."""
    given = dict(environ)
    prepare(given, address)
    return {name: value for name, value in given.items() if name not in environ}


@pytest.mark.parametrize(
    ("address", "more"), [("", LOOPBACK), (HERE, LOOPBACK), ("localhost:1", LOOPBACK), (THERE, {})]
)
def test_a_cluster_of_this_machine_alone_stays_on_loopback(address: str, more: dict[str, str], tmp_path: Path) -> None:
    assert prepared(address, HOME=str(tmp_path)) == ALWAYS | more


def test_what_is_set_already_stays(tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "RAY_USAGE_STATS_ENABLED": "1",
        "RAY_AUTH_TOKEN": "t",
        "RAY_AUTH_MODE": "disabled",
    }

    prepare(environ, THERE)

    assert environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize("address", [HERE, THERE])
@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_whoever_has_the_token_joins_with_it(variable: str, address: str, tmp_path: Path) -> None:
    assert prepared(address, HOME=str(tmp_path), **{variable: "x"}).items() >= AUTHENTICATED.items()


def test_the_token_that_ray_has_made_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").touch()

    assert prepared(HERE, HOME=str(tmp_path)).items() >= AUTHENTICATED.items()


def test_a_cluster_of_its_own_is_left_to_ray(tmp_path: Path) -> None:
    assert "RAY_AUTH_MODE" not in prepared("", HOME=str(tmp_path), RAY_AUTH_TOKEN="t")
