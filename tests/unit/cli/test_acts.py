"""Which commands leave an administrative act, and what stands in it: neither a secret nor a personal datum."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gift_ledger.acting import who
from gift_ledger.cli import rotation as rotation_command
from persistence import acts
from persistence.errors import StorageUnavailableError
from persistence.memory_acts import MemoryActStore
from tests.unit.cli.test_codes import Codes, batch
from tests.unit.cli.test_codes import store as codes  # noqa: F401 - a fixture
from tests.unit.cli.test_dlq import FakeDesk, desk  # noqa: F401 - a fixture
from tests.unit.cli.test_forget import CODE, ORDER, shop  # noqa: F401 - a fixture
from tests.unit.cli.test_recovery import Desk
from tests.unit.cli.test_recovery import desk as comparing  # noqa: F401 - a fixture
from tests.unit.cli.test_rotation import Keeper

if TYPE_CHECKING:
    from persistence.codec import Position
    from tests.unit.cli.stage import World


def noted(world: World) -> list[tuple[str, str, dict[str, str]]]:
    """Command, outcome and facts of each entry; each says who did it, and which intent it belongs to."""
    found = [acts.decode(one) for one in world.acts.stored]
    assert {(one.user, one.host) for one in found} <= {who()}
    assert [one.intent for one in found] == [one.number if one.outcome == "begun" else one.number - 1 for one in found]
    return [(one.command, one.outcome, one.facts) for one in found]


def made(world: World, client: str = "till-1") -> dict[str, Any]:
    ran = world.run("keys", "create", client, "pos", "--expires", "90d", "--json")
    assert ran.exit_code == 0, ran.output
    key: dict[str, Any] = json.loads(ran.stdout)
    return key


def test_a_key_that_is_made(world: World) -> None:
    key = made(world)

    asked = {"client": "till-1", "role": "pos", "expires": "90d"}
    assert noted(world) == [
        ("keys create", "begun", asked),
        ("keys create", "done", {**asked, "keyId": key["keyId"]}),
    ]
    assert not [one for one in world.acts.stored if key["key"].encode() in one]


def test_a_key_that_is_replaced(world: World) -> None:
    old = made(world)
    world.acts = MemoryActStore()

    ran = world.run("keys", "rotate", "till-1", "--overlap", "2d", "--expires", "90d", "--json")

    new = json.loads(ran.stdout)
    asked = {"overlap": "2d", "expires": "90d", "client": "till-1", "replaces": old["keyId"]}
    assert noted(world) == [
        ("keys rotate", "begun", asked),
        ("keys rotate", "done", {**asked, "keyId": new["keyId"]}),
    ]


def test_a_key_that_is_revoked(world: World) -> None:
    key_id = made(world)["keyId"]
    world.acts = MemoryActStore()

    assert world.run("keys", "revoke", key_id).exit_code == 0

    facts = {"keyId": key_id, "client": "till-1"}
    assert noted(world) == [("keys revoke", "begun", facts), ("keys revoke", "done", facts)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list"),
        ("keys", "revoke", "glk_this-is-a-key-itself"),
        ("keys", "rotate", "nobody"),
        ("keys", "create", "no name", "pos"),
        ("forget", "+79990000001", "--yes"),
    ],
)
def test_what_changes_nothing_leaves_nothing(world: World, arguments: tuple[str, ...]) -> None:
    world.run(*arguments)

    assert noted(world) == []


def test_a_key_is_not_made_if_that_cannot_be_noted(world: World) -> None:
    class Away(MemoryActStore):
        async def end(self) -> Position:
            raise StorageUnavailableError("the log's server: away")

    world.acts = Away()

    ran = world.run("keys", "create", "till-1", "pos")

    assert ran.exit_code == 2
    assert "away" in ran.stderr
    assert json.loads(world.run("keys", "list", "--json").stdout) == []


def test_a_batch_that_is_imported(world: World, codes: Codes) -> None:  # noqa: F811
    path = batch(world, "GC-7K2M-9QXA", "GC-7K2M-9QXB")

    assert world.run("codes", "import", path, "--foreign").exit_code == 0

    asked = {"file": "spring.codes", "codes": "2", "foreign": "yes"}
    assert noted(world) == [
        ("codes import", "begun", asked),
        ("codes import", "done", {**asked, "new": "2", "known": "0"}),
    ]
    assert not [one for one in world.acts.stored if b"7K2M" in one]


def test_a_batch_whose_import_fails(world: World, codes: Codes) -> None:  # noqa: F811
    codes.away = True

    assert world.run("codes", "import", batch(world, "GC-7K2M-9QXA"), "--foreign").exit_code == 2

    assert [(one[1], one[2].get("error")) for one in noted(world)] == [
        ("begun", None),
        ("failed", "ImportBrokenError"),
    ]


def test_a_recipient_who_is_forgotten(shop: World) -> None:  # noqa: F811
    assert shop.run("forget", CODE, "--yes").exit_code == 0

    asked = {"orderId": ORDER, "lines": "1"}
    assert noted(shop) == [
        ("forget", "begun", asked),
        ("forget", "done", {**asked, "dataKeys": "1", "messages": "0"}),
    ]
    assert not [one for one in shop.acts.stored if b"79990000001" in one]


def test_a_sealing_key_that_is_changed_and_an_old_one_that_is_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation_command, "SETTLE_SECONDS", 0)
    keeper = Keeper(world)
    keeper.age()

    assert world.run("keys", "rotate-data").exit_code == 0
    assert world.run("keys", "rotate-data", "--drop-old").exit_code == 1
    keeper.age()
    assert world.run("keys", "rotate-data", "--drop-old").exit_code == 0

    new = str(keeper.held.sealing_key)
    found = noted(world)
    assert found[:2] == [
        ("keys rotate-data", "begun", {"step": "rotate"}),
        ("keys rotate-data", "done", {"step": "rotate", "sealingKey": new, "resealed": "1"}),
    ]
    assert [(one[1], one[2]["step"]) for one in found[2:]] == [("begun", "drop-old"), ("done", "drop-old")]


def test_events_that_are_published_once_more(filled: World, comparing: Desk) -> None:  # noqa: F811
    filled.run("reconcile")
    assert noted(filled) == []

    filled.run("reconcile", "--republish")

    assert [(one[0], one[1]) for one in noted(filled)] == [
        ("reconcile --republish", "begun"),
        ("reconcile --republish", "done"),
    ]


@pytest.mark.parametrize(
    ("arguments", "asked", "replayed"),
    [(("0:17",), {"letter": "0:17"}, "1"), (("--all",), {"every": "yes"}, "1")],
)
def test_letters_that_are_replayed(
    world: World,
    desk: FakeDesk,  # noqa: F811
    arguments: tuple[str, ...],
    asked: dict[str, str],
    replayed: str,
) -> None:
    world.run("dlq", "replay", *arguments, "--dry-run")
    world.run("dlq", "replay", "0:99")
    assert noted(world) == []

    world.run("dlq", "replay", *arguments)

    assert noted(world) == [("dlq replay", "begun", asked), ("dlq replay", "done", {**asked, "replayed": replayed})]


def test_verify_finds_an_act_that_was_changed(filled: World) -> None:
    made(filled)
    assert filled.run("verify").exit_code == 0
    filled.acts.stored[0] = filled.acts.stored[0][:-1] + b"\x00"

    ran = filled.run("verify", "--json")

    assert ran.exit_code == 1
    assert [(one["entity"], one["version"]) for one in json.loads(ran.stdout)["findings"]] == [("acts", 1)]
    assert filled.run("verify", "GC-7K2M-9QXA").exit_code == 0
