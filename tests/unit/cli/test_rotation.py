"""``keys rotate-data``: which key seals when, and when an old one may go."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gift_ledger.cli import rotation as command
from gift_ledger.cli.probes import FoundLedger
from ledger import records as r
from ledger.commands import PlannedLine
from persistence import envelope, secrets_file
from persistence.errors import StorageUnavailableError
from persistence.log import Batch, DataKey
from persistence.rotation import DROP_AFTER_MS
from persistence.settings import StorageSettings
from persistence.vault import RECIPIENT, Vault
from tests.contract.histories import PRICE, Writer
from tests.unit.cli.stage import World


class Keeper:
    """A ledger with one recipient, and its secrets file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path: Path = world.folder / "data" / "secrets.json"
        self.vault = Vault.create(self.path)
        self.found: FoundLedger | None = FoundLedger(vault=self.vault.fingerprint)
        world.environ |= {"GIFT_LEDGER_DATA_DIR": str(self.path.parent)}
        world.use(ledger=self._ledger)
        asyncio.run(self._place())

    async def _ledger(self, _: StorageSettings) -> FoundLedger | None:
        return self.found

    async def _place(self) -> None:
        name = envelope.key_name("SO-1", 1, "1")
        sealed, kept = envelope.seal_new(self.vault, b"+79990000001", RECIPIENT, name)
        line = PlannedLine("1", PRICE, sealed)
        await Writer(self.world.log).order("SO-1", r.Placed(1, False, "OnlineStore", "RUB", (line,)))
        assert await self.world.log.append(Batch(data_keys=(DataKey(*name, kept),))) is None

    @property
    def held(self) -> secrets_file.Secrets:
        return secrets_file.read(self.path)

    def age(self) -> None:
        """Let the key have sealed for long."""
        secrets_file.change(self.path, lambda held: replace(held, sealing_since=held.sealing_since - DROP_AFTER_MS))

    def sealed_with(self) -> list[int]:
        (kept,) = asyncio.run(self.world.log.data_keys_of(["o:SO-1"]))
        return [value[0] for value in kept.values()]

    def json(self, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - as the command prints
        ran = self.world.run("keys", "rotate-data", *arguments, "--json")
        assert ran.exit_code == code, ran.output
        return json.loads(ran.stdout)


@pytest.fixture
def keeper(world: World, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(command, "SETTLE_SECONDS", 0.0)
    return Keeper(world)


def test_a_new_key_seals_and_the_old_one_stays(keeper: Keeper) -> None:
    shown = keeper.json()

    assert shown == {
        "sealingKey": 2,
        "oldKeys": [1],
        "rotated": {"orders": 1, "resealed": 1, "current": 1, "forgotten": 0, "unreadable": 0},
    }
    assert keeper.sealed_with() == [2]
    assert (keeper.held.sealing_key, set(keeper.held.keys)) == (2, {1, 2})


def test_one_that_is_begun_again_goes_on_with_its_key(keeper: Keeper) -> None:
    secrets_file.change(keeper.path, lambda held: held.prepared().switched(1))  # and died before the data keys

    assert keeper.json()["rotated"]["resealed"] == 1
    assert keeper.json()["sealingKey"] == 3  # a key that is long in use, and nothing is left to do: a new rotation
    assert keeper.json()["sealingKey"] == 3  # but not at once again


def test_a_key_can_be_given_to_all_machines_before_it_seals(keeper: Keeper) -> None:
    prepared = keeper.json("--prepare")
    again = keeper.world.run("keys", "rotate-data", "--prepare")

    assert prepared == {"sealingKey": 1, "nextKey": 2}
    assert "has the key 2 now, which does not seal yet" in again.stdout
    assert keeper.sealed_with() == [1]
    assert keeper.json()["sealingKey"] == 2
    assert keeper.sealed_with() == [2]


def test_an_old_key_is_dropped_once_nothing_needs_it(keeper: Keeper) -> None:
    keeper.json()
    early = keeper.world.run("keys", "rotate-data", "--drop-old")
    keeper.age()

    dropped = keeper.json("--drop-old")

    assert (early.exit_code, "has not sealed for long enough" in early.stderr) == (1, True)
    assert dropped == {"sealingKey": 2, "needed": {"dataKeys": 0, "messages": 0, "recipients": 0, "unread": 0}}
    assert set(keeper.held.keys) == {2}
    assert keeper.world.run("keys", "rotate-data", "--drop-old").exit_code == 1


def test_an_old_key_that_is_needed_stays(keeper: Keeper) -> None:
    secrets_file.change(keeper.path, lambda held: held.prepared().switched(1))

    shown = keeper.json("--drop-old", code=1)
    said = keeper.world.run("keys", "rotate-data", "--drop-old")

    assert shown["needed"]["dataKeys"] == 1
    assert "The keys 1 stay. They are needed for 1 data keys" in said.stdout
    assert set(keeper.held.keys) == {1, 2}


def test_it_is_said_in_words(keeper: Keeper) -> None:
    rotated = keeper.world.run("keys", "rotate-data")
    keeper.age()
    dropped = keeper.world.run("keys", "rotate-data", "--drop-old")

    assert "Key 2 seals now. Data keys: 1 sealed anew" in rotated.stdout
    assert "Old keys, kept until nothing needs them: 1." in rotated.stdout
    assert "Only the key 2 is left." in dropped.stdout


def test_a_data_key_that_cannot_be_opened_is_a_finding(keeper: Keeper) -> None:
    secrets_file.change(keeper.path, lambda held: held.prepared().switched(1).without([1]))

    ran = keeper.world.run("keys", "rotate-data")

    assert ran.exit_code == 1
    assert "Data keys that cannot be opened: 1." in ran.stdout
    assert keeper.sealed_with() == [1]


@pytest.mark.parametrize("arguments", [(), ("--drop-old",)])
def test_the_secrets_of_another_ledger_are_refused(keeper: Keeper, arguments: tuple[str, ...]) -> None:
    keeper.found = FoundLedger(vault="another")
    before = keeper.path.read_bytes()

    ran = keeper.world.run("keys", "rotate-data", *arguments)

    assert ran.exit_code == 2
    assert "made with the pepper another" in ran.stderr
    assert keeper.path.read_bytes() == before


def test_two_steps_at_once_are_none(keeper: Keeper) -> None:
    assert keeper.world.run("keys", "rotate-data", "--prepare", "--drop-old").exit_code == 2


def test_no_key_is_ever_shown(keeper: Keeper) -> None:
    said = [keeper.world.run("keys", "rotate-data", *arguments) for arguments in (["--prepare"], [], ["--json"])]

    shown = "".join(ran.output for ran in said)
    stored = json.loads(keeper.path.read_text())
    assert not any(key in shown for key in (*stored["keys"].values(), stored["pepper"]))


# --- two machines -----------------------------------------------------------------------------------------------------


def use_another_file(keeper: Keeper) -> Path:
    """The file as another machine has had it for long."""
    other = keeper.path.with_name("other.json")
    shutil.copy2(keeper.path, other)
    keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"] = str(other)
    return other


def test_a_machine_with_an_older_file_makes_no_second_key_of_a_number(keeper: Keeper) -> None:
    other = use_another_file(keeper)
    del keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"]
    keeper.json()
    keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"] = str(other)
    before = other.read_bytes()

    prepared = keeper.world.run("keys", "rotate-data", "--prepare")
    rotated = keeper.json(code=1)["rotated"]

    assert prepared.exit_code == 2
    assert "the ledger knows another sealing key 2" in prepared.stderr
    assert "Keep both files until `gift-ledger verify` has said" in prepared.stderr
    assert (rotated["current"], rotated["unreadable"]) == (0, 1)
    assert other.read_bytes() == before
    assert keeper.sealed_with() == [2]


@pytest.mark.parametrize("arguments", [("--prepare",), ()])
def test_a_key_that_a_machine_has_made_by_itself_never_seals(keeper: Keeper, arguments: tuple[str, ...]) -> None:
    other = use_another_file(keeper)
    secrets_file.change(other, secrets_file.Secrets.prepared)  # as an earlier version did, which noted nothing
    del keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"]
    keeper.json()
    keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"] = str(other)
    before = other.read_bytes()

    ran = keeper.world.run("keys", "rotate-data", *arguments)

    assert (ran.exit_code, other.read_bytes()) == (2, before)
    assert secrets_file.read(other).sealing_key == 1


def test_one_that_dies_before_its_key_is_noted_goes_on_with_the_same(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = keeper.world.log.bind_sealing_keys

    async def away(fingerprints: Mapping[int, str]) -> None:
        if len(fingerprints) > 1:
            raise StorageUnavailableError("away")
        await bind(fingerprints)

    monkeypatch.setattr(keeper.world.log, "bind_sealing_keys", away)
    broken_off = keeper.world.run("keys", "rotate-data")
    left = keeper.held
    monkeypatch.undo()
    monkeypatch.setattr(command, "SETTLE_SECONDS", 0.0)

    assert broken_off.exit_code == 2
    assert (left.sealing_key, left.next_key) == (1, 2)
    assert keeper.json()["sealingKey"] == 2
    assert keeper.held.keys == left.keys


def test_nothing_is_dropped_while_a_data_key_does_not_open(keeper: Keeper) -> None:
    keeper.json()
    keeper.age()
    secrets_file.change(keeper.path, lambda held: replace(held, keys=held.keys | {2: bytes(32)}))
    keeper.world.log._sealing_keys.clear()  # an earlier version has noted nothing

    ran = keeper.world.run("keys", "rotate-data", "--drop-old")

    assert ran.exit_code == 1
    assert "data keys that cannot be opened: 1 of 1, sealed with 2, as o:SO-1 1/1" in ran.stderr
    assert set(keeper.held.keys) == {1, 2}


def test_nothing_is_dropped_by_a_file_with_another_key_of_a_number(keeper: Keeper) -> None:
    keeper.json()
    keeper.age()
    secrets_file.change(keeper.path, lambda held: replace(held, keys=held.keys | {2: bytes(32)}))

    assert keeper.world.run("keys", "rotate-data", "--drop-old").exit_code == 2
    assert set(keeper.held.keys) == {1, 2}
