import asyncio
import json
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from gift_ledger.cli.probes import NoLedgerError
from ledger import records as r
from ledger.certificate import Certificate, advance
from ledger.codes import complete, form_of
from persistence import codec
from persistence.codes import CodeStore, MemoryCodeStore
from persistence.errors import StorageUnavailableError
from persistence.log import Batch, Change
from persistence.settings import StorageSettings
from tests.unit.cli.stage import NOON, TILL, World

OURS = form_of(("GC",))


class Codes(MemoryCodeStore):
    """Codes that note whether they were closed, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.away = False

    async def add(self, codes: Sequence[str]) -> int:
        if self.away:
            raise StorageUnavailableError("the log's server: away")
        return await super().add(codes)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def store(world: World) -> Codes:
    store = Codes()

    async def opened(_settings: StorageSettings) -> CodeStore:
        return store

    world.use(codes=opened)
    return store


def batch(world: World, *lines: str) -> str:
    path = world.folder / "spring.codes"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def known(store: Codes, *codes: str) -> list[bool]:
    return [asyncio.run(store.known(code)) for code in codes]


# --- generate --------------------------------------------------------------------------------------------------------


def test_codes_go_to_standard_output_alone(world: World) -> None:
    ran = world.run("codes", "generate", "--count", "20")

    assert ran.exit_code == 0
    codes = ran.stdout.splitlines()
    assert len(set(codes)) == 20
    assert all(OURS.right(code) for code in codes)
    assert ran.stderr == ""


def test_codes_for_programs(world: World) -> None:
    ran = world.run("codes", "generate", "--count", "3", "--prefix", "NY26", "--json")
    made = json.loads(ran.stdout)

    assert "NY26 is not among the prefixes of ours" in ran.stderr
    assert (made["prefix"], made["entropyBits"]) == ("NY26", 67.9)
    assert len(made["codes"]) == 3
    assert all(form_of(("NY26",)).right(code) for code in made["codes"])


def test_codes_go_into_a_file_for_its_owner_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"

    ran = world.run("codes", "generate", "--count", "1500", "--output", str(path))

    assert ran.exit_code == 0
    assert "1,500 codes of 67.9 bits each" in ran.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    codes = path.read_text().splitlines()
    assert len(set(codes)) == 1_500
    assert not any(code in ran.stdout + ran.stderr for code in codes)

    again = world.run("codes", "generate", "--count", "1", "--output", str(path))
    assert again.exit_code == 2
    assert "never overwrites" in again.stderr
    assert path.read_text().splitlines() == codes


def test_the_prefix_is_the_first_of_the_settings(world: World) -> None:
    world.environ["GIFT_LEDGER_CODES_PREFIXES"] = "NY,GC"

    assert world.run("codes", "generate", "--count", "1").stdout.startswith("NY-")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--count", "0"], "greater than or equal to 1"),
        (["--count", "1000001"], "less than or equal to 1000000"),
        (["--count", "1", "--prefix", "ny"], "use 1 to 12 capital letters and digits"),
        (["--count", "1", "--prefix", ""], "use 1 to 12 capital letters and digits"),
        (["--count", "1", "--prefix", "ABCDEFGHIJKLM"], "use 1 to 12 capital letters and digits"),
        (["--count", "1", "--json", "--output", "x"], "give one of the two"),
    ],
)
def test_a_wrong_call_makes_nothing(world: World, arguments: list[str], told: str) -> None:
    ran = world.run("codes", "generate", *arguments)

    assert ran.exit_code == 2
    assert told in " ".join(ran.stderr.split())
    assert ran.stdout == ""


# --- import ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_imported_and_a_second_time_changes_nothing(world: World, store: Codes) -> None:
    codes = world.run("codes", "generate", "--count", "5").stdout.split()
    file = batch(world, *codes)

    first = world.run("codes", "import", file)
    second = world.run("codes", "import", file)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == f"{file}: 5 codes, of which 5 are new and 0 were there.\n"
    assert second.stdout == f"{file}: 5 codes, of which 0 are new and 5 were there.\n"
    assert known(store, *codes) == [True] * 5
    assert store.closed == 2


def test_counts_for_programs(world: World, store: Codes) -> None:
    codes = world.run("codes", "generate", "--count", "2").stdout.split()
    asyncio.run(store.add(codes[:1]))

    ran = world.run("codes", "import", batch(world, *codes), "--json")

    assert json.loads(ran.stdout) == {"codes": 2, "new": 1, "known": 1, "faulty": 0, "faults": []}


def test_a_file_with_a_fault_is_not_imported_at_all(world: World, store: Codes) -> None:
    right = complete("GC", "7K2M9XT43WPH6VJ")
    file = batch(world, right, right[:-1] + "2", "GC-7K2M-9QXA", right)

    ran = world.run("codes", "import", file)
    told = json.loads(world.run("codes", "import", file, "--json").stdout)

    assert ran.exit_code == 1
    assert "has a wrong check character" in ran.stdout
    assert "is none of ours" in ran.stdout
    assert "is the code of line 1 again" in ran.stdout
    assert "3 lines are not in order. Nothing was imported." in ran.stdout
    assert right not in ran.stdout
    assert (told["codes"], told["new"], told["faulty"]) == (1, 0, 3)
    assert [fault["line"] for fault in told["faults"]] == [2, 3, 4]
    assert known(store, right) == [False]


def test_of_many_faults_the_first_are_listed(world: World, store: Codes) -> None:
    ran = world.run("codes", "import", batch(world, *["x"] * 103))

    assert ran.exit_code == 1
    assert "… and 3 more." in ran.stdout
    assert known(store, "x") == [False]


def test_codes_that_somebody_else_has_made(world: World, store: Codes) -> None:
    file = batch(world, "12345678", "gc-7k2m-9qxa")

    ran = world.run("codes", "import", file, "--foreign")

    assert ran.exit_code == 0
    assert known(store, "12345678", "GC-7K2M-9QXA") == [True, True]


def test_a_file_without_codes_is_a_finding(world: World, store: Codes) -> None:
    ran = world.run("codes", "import", batch(world, "", ""))

    assert ran.exit_code == 1
    assert "There is no code in" in ran.stderr
    assert store.closed == 0


def test_an_import_that_breaks_says_so_and_closes(world: World, store: Codes) -> None:
    store.away = True
    codes = world.run("codes", "generate", "--count", "2").stdout.split()

    ran = world.run("codes", "import", batch(world, *codes))

    assert ran.exit_code == 2
    assert "0 of 2 codes are there for certain: import the file again" in " ".join(ran.stderr.split())
    assert store.closed == 1


def test_without_a_ledger_nothing_is_imported(world: World) -> None:
    async def opened(_settings: StorageSettings) -> CodeStore:
        raise NoLedgerError("There is no ledger 'gl' on this Redis.")

    world.use(codes=opened)

    ran = world.run("codes", "import", batch(world, complete("GC", "7K2M9XT43WPH6VJ")))

    assert ran.exit_code == 2
    assert "There is no ledger" in ran.stderr


# --- check -----------------------------------------------------------------------------------------------------------


async def sell(world: World, code: str) -> None:
    (record,), _ = advance(Certificate(code=code), NOON, TILL, r.Reserved("SO-1", "1", NOON))
    stored, _ = codec.encode(codec.START, record)
    assert await world.log.append(Batch((Change(f"c:{code}", 0, (stored,)),))) is None


def test_certificates_that_a_check_would_shut_out_are_listed(filled: World) -> None:
    right = complete("GC", "7K2M9XT43WPH6VJ")
    shut = [right[:-1] + "2", "GC-AAAA-BBBB-CCCC-DDDD"]
    for code in (right, *shut, "NY-AAAA-BBBB-CCCC-DDDD"):
        asyncio.run(sell(filled, code))

    ran = filled.run("codes", "check")
    told = json.loads(filled.run("codes", "check", "--json").stdout)

    assert ran.exit_code == 1
    assert ran.stdout.split() == sorted(shut)
    assert "Certificates: 5. Those that checked or imported would shut out: 2." in ran.stderr
    assert told == {"certificates": 5, "shutOut": sorted(shut)}


def test_where_there_are_none_all_is_well(filled: World) -> None:
    ran = filled.run("codes", "check")

    assert (ran.exit_code, ran.stdout) == (0, "")
    assert "would shut out: 0" in ran.stderr


def test_a_prefix_of_its_own_helps(filled: World) -> None:
    asyncio.run(sell(filled, "GC-AAAA-BBBB-CCCC-DDDD"))
    filled.environ["GIFT_LEDGER_CODES_PREFIXES"] = "NY"

    assert filled.run("codes", "check").exit_code == 0
