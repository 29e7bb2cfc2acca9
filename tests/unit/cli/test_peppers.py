"""``keys rotate-pepper``: which pepper is used when, and what is known of it."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gift_ledger.cli import peppers as command
from gift_ledger.cli.context import now_ms
from gift_ledger.cli.probes import FoundLedger
from ledger import records as r
from persistence import secrets_file
from persistence.errors import StorageUnavailableError
from persistence.pepper_prints import PepperPrints
from persistence.settings import StorageSettings
from persistence.vault import Vault
from tests.contract.histories import Writer
from tests.unit.cli.stage import World

LAST = "GC-00000003"


class Keeper:
    """A ledger with certificates, and its secrets file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path: Path = world.folder / "data" / "secrets.json"
        self.vault = Vault.create(self.path)
        self.found: FoundLedger | None = FoundLedger(vault=self.vault.fingerprint)
        world.environ |= {"GIFT_LEDGER_DATA_DIR": str(self.path.parent)}
        world.use(ledger=self._ledger)

    async def _ledger(self, _: StorageSettings) -> FoundLedger | None:
        return self.found

    @property
    def held(self) -> secrets_file.Secrets:
        return secrets_file.read(self.path)

    @property
    def prints(self) -> PepperPrints:
        return asyncio.run(self.world.log.pepper_prints())

    def age(self) -> None:
        """Let the pepper have been used for long."""
        secrets_file.change(self.path, lambda held: replace(held, pepper_since=1))

    def json(self, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - as the command prints
        ran = self.world.run("keys", "rotate-pepper", *arguments, "--json")
        assert ran.exit_code == code, ran.output
        return json.loads(ran.stdout)


@pytest.fixture
def keeper(world: World, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(command, "SETTLE_SECONDS", 0.0)
    return Keeper(world)


def test_a_new_pepper_is_used_and_the_old_one_stays(keeper: Keeper) -> None:
    assert keeper.json() == {"pepper": 2}

    assert set(keeper.held.peppers) == {1, 2}
    assert keeper.prints == PepperPrints(known=keeper.held.pepper_prints(), used=keeper.held.pepper_prints())
    assert Vault.load(keeper.path).pepper == 2


def test_it_is_given_to_all_machines_before_it_is_used(keeper: Keeper) -> None:
    prepared = keeper.json("--prepare")
    again = keeper.world.run("keys", "rotate-pepper", "--prepare")

    assert prepared == {"pepper": 1, "nextPepper": 2}
    assert "has the pepper 2 now, which is not used yet" in again.stdout
    assert keeper.prints == PepperPrints(known=keeper.held.pepper_prints())
    assert keeper.json() == {"pepper": 2}
    assert set(keeper.held.peppers) == {1, 2}


def test_begun_again_at_once_it_makes_no_further_one(keeper: Keeper) -> None:
    assert [keeper.json()["pepper"] for _ in range(3)] == [2, 2, 2]
    keeper.age()

    assert keeper.json() == {"pepper": 3}


def test_one_that_dies_before_the_file_is_switched_goes_on_with_its_pepper(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: object, __: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(secrets_file.Secrets, "pepper_switched", die)
        assert keeper.world.run("keys", "rotate-pepper").exit_code != 0
    left = keeper.held
    assert (left.current_pepper, left.next_pepper, set(keeper.prints.used)) == (1, 2, {2})

    assert keeper.json() == {"pepper": 2}
    assert keeper.held.peppers == left.peppers


def test_of_two_runs_at_once_one_draws_a_pepper(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    bind = keeper.world.log.bind_peppers

    async def late(prints: Mapping[int, str], current: int) -> None:
        await bind(prints, current)
        if keeper.held.current_pepper == 1:  # another run does all of it, after this one has read the file
            both = secrets_file.change(keeper.path, lambda held: held.pepper_prepared().pepper_switched(now_ms()))
            await bind(both.pepper_prints(), both.current_pepper)

    with monkeypatch.context() as busy:
        busy.setattr(keeper.world.log, "bind_peppers", late)
        assert keeper.json() == {"pepper": 2}

    assert set(keeper.held.peppers) == {1, 2}


def test_a_file_that_is_changed_meanwhile_is_not_switched(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keeper.held
    bind = keeper.world.log.bind_peppers

    async def changing(prints: Mapping[int, str], current: int) -> None:
        await bind(prints, current)
        if current == 2:
            secrets_file.change(keeper.path, lambda _: before)

    monkeypatch.setattr(keeper.world.log, "bind_peppers", changing)
    ran = keeper.world.run("keys", "rotate-pepper")

    assert ran.exit_code == 2
    assert "has other peppers than a moment ago" in ran.stderr
    assert keeper.held == before


def test_one_that_dies_before_the_ledger_knows_goes_on_with_its_pepper(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = keeper.world.log.bind_peppers

    async def away(prints: Mapping[int, str], current: int) -> None:
        if prints:
            raise StorageUnavailableError("gone")
        await bind(prints, current)

    with monkeypatch.context() as broken:
        broken.setattr(keeper.world.log, "bind_peppers", away)
        assert keeper.world.run("keys", "rotate-pepper").exit_code != 0
    left = keeper.held
    assert (left.current_pepper, left.next_pepper, keeper.prints) == (1, 2, PepperPrints())

    assert keeper.json() == {"pepper": 2}
    assert keeper.held.peppers == left.peppers


@pytest.mark.parametrize("arguments", [("--prepare",), ()])
def test_a_machine_with_an_older_file_makes_no_second_pepper_of_a_number(
    keeper: Keeper, arguments: tuple[str, ...]
) -> None:
    other = keeper.path.with_name("other.json")
    shutil.copy2(keeper.path, other)
    keeper.json("--prepare")
    keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"] = str(other)
    before = other.read_bytes()

    prepared = keeper.world.run("keys", "rotate-pepper", *arguments)

    assert prepared.exit_code == 2
    assert "the ledger knows another pepper 2" in prepared.stderr
    assert "Take the file of the machine that changed it" in " ".join(prepared.stderr.split())
    assert other.read_bytes() == before


def test_a_machine_without_a_pepper_in_use_is_refused(keeper: Keeper) -> None:
    other = keeper.path.with_name("other.json")
    shutil.copy2(keeper.path, other)
    keeper.json()
    keeper.world.environ["GIFT_LEDGER_SECRETS_PATH"] = str(other)

    refused = keeper.world.run("keys", "rotate-pepper")

    assert refused.exit_code == 2
    assert "kept with the pepper 2" in refused.stderr


@pytest.mark.parametrize("arguments", [(), ("--prepare",), ("--count",)])
def test_the_secrets_of_another_ledger_are_refused(keeper: Keeper, arguments: tuple[str, ...]) -> None:
    keeper.found = FoundLedger(vault="another")
    before = keeper.path.read_bytes()

    ran = keeper.world.run("keys", "rotate-pepper", *arguments)

    assert (ran.exit_code, keeper.path.read_bytes()) == (2, before)
    assert "made with the pepper another" in ran.stderr


def test_two_things_at_once_are_none(keeper: Keeper) -> None:
    assert keeper.world.run("keys", "rotate-pepper", "--prepare", "--count").exit_code == 2


def test_no_pepper_is_ever_shown(keeper: Keeper) -> None:
    said = [keeper.world.run("keys", "rotate-pepper", *arguments) for arguments in (["--prepare"], [], ["--count"])]

    shown = "".join(ran.output for ran in said)
    stored = json.loads(keeper.path.read_text())
    assert not any(one in shown for one in (*stored["laterPeppers"].values(), stored["pepper"]))
    assert "New CVCs are kept with the pepper 2." in said[1].stdout


# --- how many are under which -----------------------------------------------------------------------------------------


async def place(world: World, vault: Vault) -> None:
    """Two under the first pepper, of which one is blocked; one that was given a new CVC; one that is not sold."""
    writer = Writer(world.log)
    await writer.sell("SO-1", "GC-00000001", "GC-00000002", LAST)
    await writer.certificate("GC-00000002", r.Blocked("stolen"))
    await writer.certificate(LAST, r.CvcReissued(vault.cvc_digest(LAST, "4821")))
    await writer.reserve("SO-2", ["GC-00000004"])


def test_live_certificates_are_counted_by_their_peppers(keeper: Keeper) -> None:
    nobody = keeper.world.run("keys", "rotate-pepper", "--count")
    keeper.json()
    asyncio.run(place(keeper.world, Vault.load(keeper.path)))

    counted = keeper.json("--count")
    told = keeper.world.run("keys", "rotate-pepper", "--count")

    assert nobody.stdout == "There is no live certificate.\n"
    assert counted == {"pepper": 2, "census": {"certificates": {"1": 2, "2": 1}, "unread": 0}}
    assert told.stdout.splitlines() == [
        "Pepper 1: 2 live certificates.",
        "Pepper 2: 1 live certificates, new ones too.",
    ]
