"""A secret is given by the environment or by a file: never on a command line, which every user of a machine sees."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gift_ledger.cli import app
from gift_ledger.settings import Settings
from gift_ledger.sources import SETTINGS, load
from persistence.settings import StorageSettings
from tests.unit.cli.stage import World
from tests.unit.settings_values import OTHER

SECRET_SETTINGS = [name for name, setting in SETTINGS.items() if setting.secret]
SECRET_WORDS = re.compile(r"password|passphrase|secret|token|pepper|url|credential|api.?key", re.IGNORECASE)


def parameters(command: Any, path: str = "gift-ledger") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Typer's own
    """Every option and argument of a command and of those below it."""
    for parameter in command.params:
        yield path, parameter
    for name, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{path} {name}")


def test_no_option_or_argument_takes_a_secret() -> None:
    every = list(parameters(typer.main.get_command(app)))

    assert len(every) > 50
    taking = [(path, one.name) for path, one in every if SECRET_WORDS.search(" ".join((*one.opts, one.name or "")))]
    assert taking == []
    files = {(path, one.name) for path, one in every if one.name in {"tls_cert", "tls_key"}}
    assert files  # names of files, which are no secrets


@pytest.mark.parametrize("name", SECRET_SETTINGS)
def test_a_secret_comes_from_a_file_and_is_shown_nowhere(name: str, tmp_path: Path, world: World) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{OTHER[name].replace('rediss://ledger@', 'rediss://ledger:hidden@')}\n")
    world.environ = {f"{SETTINGS[name].variable}_FILE": str(file)}
    if name == "redis_password":
        world.environ["GIFT_LEDGER_REDIS_URL"] = "rediss://ledger@redis.example"
    if name == "kafka_password":
        given = ("kafka_bootstrap", "kafka_security_protocol", "kafka_username")
        world.environ |= {SETTINGS[one].variable: OTHER[one] for one in given}

    settings = load(world.environ, tmp_path).settings
    shown = world.run("settings", "--json").stdout + world.run("settings").stdout

    assert "hidden" in str(getattr(settings, name))
    assert "hidden" not in shown
    rooms: list[Settings | StorageSettings | object] = [settings]
    if settings.redis_url is not None:
        rooms.append(settings.storage())
    if settings.kafka_bootstrap is not None:
        rooms += [settings.bridge(), settings.bridge().security]
    assert all("hidden" not in repr(room) for room in rooms)
