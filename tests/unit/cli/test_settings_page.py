import json
from pathlib import Path

from gift_ledger.cli.settings_page import page
from gift_ledger.sources import SETTINGS
from tests.unit.cli.stage import World

DOCS = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


def test_the_page_in_the_docs_is_the_one_that_is_made() -> None:
    assert DOCS.read_text() == page(), "make it anew: gift-ledger settings --markdown > docs/settings.md"


def test_every_setting_is_on_the_page(world: World) -> None:
    ran = world.run("settings", "--markdown")

    assert ran.exit_code == 0
    for setting in SETTINGS.values():
        assert f"| `{setting.variable}` |" in ran.stdout
    assert ran.stdout.count("*Secret.*") == sum(setting.secret for setting in SETTINGS.values()) == 4


def test_every_setting_is_shown_with_its_value_and_where_it_comes_from(world: World) -> None:
    (world.folder / "gift-ledger.toml").write_text("shards = 5\n")

    shown = {one["name"]: one for one in json.loads(world.run("settings", "--json").stdout)}

    assert list(shown) == list(SETTINGS)
    assert (shown["shards"]["value"], shown["shards"]["source"]) == ("5", "gift-ledger.toml")
    assert (shown["http_port"]["value"], shown["http_port"]["source"]) == ("8080", "default")
    assert shown["redis_url"]["source"] == "GIFT_LEDGER_REDIS_URL"
    assert shown["redis_url"]["value"] == "redis://***@127.0.0.1:1/0"


def test_the_table_for_people_has_no_secret_in_it(world: World) -> None:
    world.environ["GIFT_LEDGER_SMS_URL"] = "https://sms.example/hidden"

    ran = world.run("settings")

    assert ran.exit_code == 0
    assert "redis://***@127.0.0.1:1/0" in ran.stdout
    assert "https://sms.example/***" in ran.stdout
    assert "unset" in ran.stdout
    assert "hidden" not in ran.stdout


def test_settings_that_are_wrong_are_said_and_not_shown(world: World) -> None:
    world.environ["GIFT_LEDGER_SHARDS"] = "many"

    ran = world.run("settings")

    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert ran.stderr == "gift-ledger: GIFT_LEDGER_SHARDS: expected a whole number from 1 to 1024, got 'many'.\n"
