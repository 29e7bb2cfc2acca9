import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gift_ledger.recovery.copy import Copy
from ledger.identifiers import certificate_entity, order_entity
from ledger.policy import Policy
from persistence import envelope
from persistence.archive import Manifest
from persistence.errors import DamagedLogError
from persistence.log import Batch, DataKey, Log
from persistence.settings import StorageSettings
from persistence.vault import RECIPIENT, Vault
from persistence.verification import Finding, OnProgress, Progress, VerificationReport
from tests.unit.cli.stage import CODE, World


def proof(*findings: Finding, **facts: object) -> VerificationReport:
    given: dict[str, Any] = {
        "findings": findings,
        "records": 12_000,
        "entities": 3,
        "certificates": 2,
        "orders": 1,
        "balances": {"RUB": 290_000},
        "held": {"RUB": 20_000},
        "publications_waiting": 4,
        "messages_waiting": 1,
    }
    return VerificationReport(**given | facts)


class Verifier:
    def __init__(self, report: VerificationReport) -> None:
        self.report = report
        self.asked: list[Sequence[str] | None] = []
        self.policy: Policy | None = None
        self.processes: list[int | None] = []
        self.storage: StorageSettings | None = None

    async def __call__(
        self,
        _log: Log,
        storage: StorageSettings,
        entities: Sequence[str] | None,
        on_progress: OnProgress,
        policy: Policy,
        processes: int | None,
    ) -> VerificationReport:
        self.asked.append(entities)
        self.storage = storage
        self.policy = policy
        self.processes.append(processes)
        on_progress(Progress(entities=1, records=3, total=2))
        return self.report


def test_a_ledger_in_order(filled: World) -> None:
    verifier = Verifier(proof())
    filled.use(verify=verifier)

    ran = filled.run("verify")

    assert ran.exit_code == 0
    assert "Records: 12,000. Certificates: 2. Orders: 1. " in ran.stdout
    assert "Events that wait for Kafka: 4. SMS that wait: 1.\n" in ran.stdout
    assert re.search(r"^RUB +290,000 +20,000$", ran.stdout, re.MULTILINE)
    assert ran.stdout.endswith("All is proved.\n")
    assert ran.stderr == ""
    assert verifier.asked == [None]


def test_what_is_found_is_shown_and_is_exit_code_1(filled: World) -> None:
    filled.use(verify=Verifier(proof(Finding("c:GC-7K2M-9QXA", 4, "the chain is broken [here]"))))

    ran = filled.run("verify")

    assert ran.exit_code == 1
    assert "c:GC-7K2M-9QXA" in ran.stdout
    assert "the chain is broken [here]" in ran.stdout
    assert ran.stdout.endswith("Findings: 1.\n")


def test_the_report_as_json(filled: World) -> None:
    filled.use(verify=Verifier(proof(Finding("c:X", None, "broken"))))

    ran = filled.run("verify", "--json")

    assert ran.exit_code == 1
    told = json.loads(ran.stdout)
    assert told["findings"] == [{"entity": "c:X", "version": None, "problem": "broken"}]
    assert told["records"] == 12_000


def test_an_empty_ledger_has_no_sums(filled: World) -> None:
    filled.use(verify=Verifier(proof(balances={}, held={})))

    assert "CURRENCY" not in filled.run("verify").stdout


@pytest.mark.parametrize(
    ("undecided", "advice"),
    [
        (
            (certificate_entity(CODE), order_entity("SO-1")),
            f"in a quieter moment: gift-ledger verify {CODE}.",
        ),
        ((order_entity("SO-1"),), "in a quieter moment."),
    ],
)
def test_what_could_not_be_decided_is_told_and_is_no_finding(
    filled: World, undecided: tuple[str, ...], advice: str
) -> None:
    filled.use(verify=Verifier(proof(undecided=undecided)))

    ran = filled.run("verify")

    assert ran.exit_code == 0
    assert f"written to all the time: {', '.join(undecided)}. Look again {advice}" in ran.stdout
    assert ran.stdout.endswith("All else is proved.\n")


def test_the_real_proof_of_a_real_history(filled: World) -> None:
    ran = filled.run("verify", CODE)

    assert ran.exit_code == 0, ran.output
    assert "Records: 6. Certificates: 1. Orders: 0." in ran.stdout


def test_some_certificates_alone(filled: World) -> None:
    verifier = Verifier(proof())
    filled.use(verify=verifier)

    filled.run("verify", CODE.lower(), "GC-OTHER-01")

    assert verifier.asked == [[certificate_entity(CODE), certificate_entity("GC-OTHER-01")]]


@pytest.mark.parametrize("wrong", ["short", "GC 7K2M", "x" * 33])
def test_what_is_no_code_is_said_before_anything_is_read(world: World, wrong: str) -> None:
    ran = world.run("verify", wrong)

    assert ran.exit_code == 2
    assert "is no certificate code: it has 8 to 32 characters of A-Z 0-9 -" in ran.stderr


def test_timers_are_judged_by_the_settings_of_the_service(filled: World) -> None:
    verifier = Verifier(proof())
    filled.use(verify=verifier)
    filled.environ["GIFT_LEDGER_ERRAND_RETRY_SECONDS"] = "86400"

    filled.run("verify")

    assert verifier.policy == Policy(errand_retry_ms=86_400_000)


def test_a_damaged_log_points_to_itself(filled: World) -> None:
    async def verify(*_given: object) -> VerificationReport:
        raise DamagedLogError("c:X: record 3 cannot be read")

    filled.use(verify=verify)

    ran = filled.run("verify")

    assert ran.exit_code == 2
    assert ran.stderr == (
        "gift-ledger: c:X: record 3 cannot be read. `gift-ledger verify` tells how far the damage goes.\n"
    )


def test_how_many_processes_read_may_be_said(filled: World) -> None:
    verifier = Verifier(proof())
    filled.use(verify=verifier)

    assert filled.run("verify", "--processes", "3").exit_code == 0
    assert filled.run("verify").exit_code == 0
    assert verifier.processes == [3, None]
    assert filled.run("verify", "--processes", "0").exit_code == 2


def test_a_backup_is_verified_on_its_own_server(filled: World, tmp_path: Path) -> None:
    verifier = Verifier(proof())
    storage = StorageSettings(redis_url="unix:///private.sock")
    asked: list[tuple[Path, Path | None]] = []

    @asynccontextmanager
    async def copy(backup: Path, server: Path | None) -> AsyncIterator[Copy]:
        asked.append((backup, server))
        manifest = Manifest(
            program="p", server="s", made_at=1, prefix="gl", database=0, partitions=4, vault=None,
            inbox=None, published=None,
        )  # fmt: skip
        yield Copy(manifest=manifest, storage=storage)

    filled.use(verify=verifier, copy=copy)
    program = tmp_path / "redis-server"
    program.touch()

    assert filled.run("verify", "--backup", "monday.backup", "--server", str(program)).exit_code == 0
    assert asked == [(Path("monday.backup"), program)]
    assert verifier.storage == storage


def test_on_a_terminal_a_bar_shows_how_far_it_is(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.use(verify=Verifier(proof()))
    monkeypatch.setenv("FORCE_COLOR", "1")  # for rich as good as a terminal

    ran = filled.run("verify", "--json")

    assert "3 records" in ran.stderr
    assert json.loads(ran.stdout)["records"] == 12_000


# --- data keys --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(filled: World) -> Path:
    """A ledger with a data key; gives where the secrets file belongs."""
    name = envelope.key_name("SO-1", 1, "1")
    _, kept = envelope.seal_new(Vault.generate(), b"+79990000001", RECIPIENT, name)
    assert asyncio.run(filled.log.append(Batch(data_keys=(DataKey(*name, kept),)))) is None
    filled.environ["GIFT_LEDGER_DATA_DIR"] = str(filled.folder / "data")
    filled.use(verify=Verifier(proof()))
    return filled.folder / "data/secrets.json"


def test_data_keys_that_the_secrets_file_does_not_open_are_a_finding(filled: World, sealed: Path) -> None:
    Vault.create(sealed)

    ran = filled.run("verify", "--json")

    assert ran.exit_code == 1
    (finding,) = json.loads(ran.stdout)["findings"]
    assert finding["entity"] == "data keys"
    assert finding["problem"].startswith("data keys that cannot be opened: 1 of 1, sealed with 1, as o:SO-1 1/1 (with ")
    assert filled.run("verify", CODE).exit_code == 0, "only of a whole proof"


def test_peppers_that_the_secrets_file_lacks_are_a_finding(filled: World) -> None:
    filled.environ["GIFT_LEDGER_DATA_DIR"] = str(filled.folder / "data")
    filled.use(verify=Verifier(proof()))
    Vault.create(filled.folder / "data/secrets.json")
    asyncio.run(filled.log.bind_peppers({2: "used", 3: "prepared"}, 2))

    ran = filled.run("verify", "--json")

    assert ran.exit_code == 1
    (finding,) = json.loads(ran.stdout)["findings"]
    assert finding["entity"] == "peppers"
    assert finding["problem"].startswith("CVCs are kept with peppers that ")
    assert finding["problem"].endswith("lacks: 2")


def test_without_a_secrets_file_nobody_can_tell(filled: World, sealed: Path) -> None:
    absent = filled.run("verify")
    sealed.parent.mkdir()
    sealed.write_text("{}")
    sealed.chmod(0o600)
    useless = filled.run("verify")

    assert (absent.exit_code, absent.stderr) == (0, "")
    assert useless.exit_code == 0
    assert "Whether the data keys can be opened was not tried" in useless.stderr


def test_a_folder_that_hides_the_secrets_file_ends_no_proof(
    filled: World, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path.exists

    def hidden(path: Path) -> bool:
        if path == sealed:
            raise PermissionError(13, "Permission denied")
        return there(path)

    monkeypatch.setattr(Path, "exists", hidden)

    ran = filled.run("verify")

    assert ran.exit_code == 0
    assert "was not tried: [Errno 13] Permission denied" in ran.stderr
