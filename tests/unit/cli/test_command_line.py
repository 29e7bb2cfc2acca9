"""What all commands have in common: help, versions, exit codes, and how they end when something is wrong."""

import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.errors import OverloadedError
from gift_ledger import cli
from gift_ledger.cli import context
from gift_ledger.cli.context import Exit
from gift_ledger.settings import Settings
from persistence.errors import StorageUnsafeError
from persistence.secrets_file import SecretsError
from tests.unit.cli.stage import World

COMMANDS = [
    *("up", "demo", "gateway", "shards", "bridge", "keys", "inspect", "verify", "backup", "restore", "reconcile"),
    *("doctor", "dlq", "settings"),
]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_names_every_command_and_the_exit_codes(world: World, option: str) -> None:
    ran = world.run(option)

    assert ran.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in ran.stdout
    assert "Exit codes: 0 all is well" in ran.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "keys create", "keys list", "keys revoke", "dlq list", "dlq replay"])
def test_every_command_explains_itself_with_an_example(world: World, command: str) -> None:
    ran = world.run(*command.split(), "--help")

    assert ran.exit_code == 0
    assert "Exit codes" in ran.stdout
    assert command in {"keys", "dlq"} or re.search("Examples?: gift-ledger|Example: GIFT_LEDGER_", ran.stdout)


def test_without_a_command_the_help_is_shown(world: World) -> None:
    ran = world.run()

    assert ran.exit_code == 2
    assert "Start with gift-ledger up." in ran.output


def test_the_version_is_told(world: World) -> None:
    assert world.run("--version").stdout.startswith("gift-ledger 0.")


def test_without_an_installation_there_is_no_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(cli, "version", unknown)

    ran = world.run("--version")

    assert ran.exit_code == 0
    assert "without being installed" in ran.stdout


@pytest.mark.parametrize("wrong", [["nope"], ["inspect", "--last", "0"], ["inspect", "--colour"], ["keys", "revoke"]])
def test_a_wrong_call_is_exit_code_2(world: World, wrong: list[str]) -> None:
    assert world.run(*wrong).exit_code == 2


def failing(world: World, error: Exception) -> None:
    async def shards(_settings: Settings) -> int:
        raise error

    world.use(shards=shards)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(98, "Address already in use"), "[Errno 98] Address already in use. `gift-ledger doctor` tells"),
        (TimeoutError(), "TimeoutError. `gift-ledger doctor` tells"),
        (OverloadedError("too much to do."), "too much to do. `gift-ledger doctor` tells"),
        (StorageUnsafeError("appendonly is no: set it"), "appendonly is no: set it\n"),
        (SecretsError("others can read it: run `chmod 600 x`"), "others can read it: run `chmod 600 x` `gift-ledger"),
    ],
)
def test_what_goes_wrong_outside_is_one_sentence_and_exit_code_2(world: World, error: Exception, said: str) -> None:
    failing(world, error)

    ran = world.run("shards")

    assert ran.exit_code == 2
    assert ran.stderr.startswith(f"gift-ledger: {said}")
    assert "Traceback" not in ran.output


def test_several_errors_at_once_are_all_said(world: World) -> None:
    failing(world, ExceptionGroup("tasks", [OSError("one"), ExceptionGroup("inner", [OSError("two")])]))

    ran = world.run("shards")

    assert ran.exit_code == 2
    assert [line.split(".")[0] for line in ran.stderr.splitlines()] == ["gift-ledger: one", "gift-ledger: two"]


def test_an_error_of_ray_is_known_once_ray_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class RayError(Exception):
        pass

    module = type(sys)("ray.exceptions")
    module.RayError = RayError  # type: ignore[attr-defined]
    failing(world, RayError("the cluster is gone"))

    monkeypatch.delitem(sys.modules, "ray.exceptions", raising=False)
    with pytest.raises(RayError):
        world.run("shards")
    monkeypatch.setitem(sys.modules, "ray.exceptions", module)

    assert world.run("shards").exit_code == 2


def test_a_defect_is_no_known_error(world: World) -> None:
    failing(world, ExceptionGroup("tasks", [OSError("one"), ZeroDivisionError()]))

    with pytest.raises(ExceptionGroup):
        world.run("shards")


def test_a_defect_shows_where_it_is_and_is_not_taken_for_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", broken)

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == Exit.NOT_RUN
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_process_gives_its_environment_and_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFT_LEDGER_SHARDS", "3")
    given: list[context.Context] = []
    monkeypatch.setattr(cli, "app", lambda **named: given.append(named["obj"]))

    cli.main()

    assert given[0].folder == tmp_path
    assert given[0].loaded().settings.shards == 3


def test_without_a_context_there_is_an_empty_one() -> None:
    ran = CliRunner().invoke(cli.app, ["settings", "--json"])

    assert ran.exit_code == 0
    assert '"source": "default"' in ran.stdout


def test_what_is_piped_is_wide_and_what_is_on_a_terminal_is_as_wide_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    assert context.screen().width == context.PIPED_COLUMNS

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")

    assert context.screen().width == 40
