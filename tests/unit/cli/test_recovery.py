"""What operators are told of backups, restores and comparisons, and with which exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.bridge_settings import BridgeSettings
from gateway.lost import LostCertificate, LostEvent, LostSale
from gateway.reconciliation import Difference, ReconciliationReport
from gift_ledger.cli.reconciling import SHOWN_MAX
from gift_ledger.recovery.lines import Kept, LostLine
from gift_ledger.recovery.restore import COPYING, Restored
from gift_ledger.settings import Settings
from persistence.archive import Manifest
from persistence.log import Log
from tests.unit.cli.stage import CODE, NOON, World

MANIFEST = Manifest(
    program="gift-ledger 0.1.0",
    server="valkey 9.1.0",
    made_at=NOON,
    prefix="gl",
    database=0,
    partitions=32,
    vault="abc",
    inbox={"All_Payments": {0: 17}},
    published={"GiftCertificateState": {0: 20}},
    data_bytes=12_345_678,
    data_sha256="0" * 64,
)
SALE = LostSale(order_id="SO-7", order_line_id="2", activated=True, denomination=60_000, currency="RUB", balance=40_000)
LOST = LostCertificate(code=CODE, version=5, published=7, sale=SALE)
LOST_EVENT = LostEvent(
    code=CODE,
    topic="transaction",
    version=7,
    event_id="et_7_x",
    type="Capture",
    amount=12_500,
    balance=40_000,
    occurred_at="2026-11-24T06:00:00.000Z",
)


def differing(kind: str, version: int = 3) -> Difference:
    return Difference(code=CODE, kind=kind, topic="transaction", version=version, detail="as it is")


def report(**facts: object) -> ReconciliationReport:
    given: dict[str, Any] = {
        "certificates": 2,
        "events": 1_700,
        "waiting": 1,
        "foreign": 0,
        "counts": {},
        "differences": (),
        "lost": (),
        "lost_events": (),
        "republished": 0,
        "mended": True,
    }
    return ReconciliationReport(**given | facts)


class Desk:
    """Behind all doors of recovery: notes what is asked for."""

    def __init__(self) -> None:
        self.manifest = MANIFEST
        self.report = report()
        self.restored = Restored(manifest=MANIFEST, keys=1_234, secrets=True, forgotten=None, reconciliation=report())
        self.asked: list[tuple[object, ...]] = []

    async def backup(self, settings: Settings, file: Path, on_progress: Callable[[int], None]) -> Manifest:
        on_progress(1_000_000)
        self.asked.append((settings.redis_url, file))
        return self.manifest

    async def restore(
        self,
        settings: Settings,
        file: Path,
        server: Path | None,
        on_step: Callable[[str, int, int | None], None],
        *,
        compare: bool,
    ) -> Restored:
        on_step(COPYING, 1, None)
        self.asked.append((settings.redis_url, file, server, compare))
        return self.restored

    async def reconcile(
        self, _log: Log, settings: BridgeSettings, on_progress: Callable[[int, int], None], *, republish: bool
    ) -> ReconciliationReport:
        on_progress(1, 2)
        self.asked.append((settings.bootstrap, republish))
        return self.report


@pytest.fixture
def desk(filled: World) -> Desk:
    made = Desk()
    filled.use(backup=made.backup, restore=made.restore, reconcile=made.reconcile)
    filled.environ["GIFT_LEDGER_KAFKA_BOOTSTRAP"] = "127.0.0.1:9"
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "monday.backup"
    made.touch()
    return made


# --- backup -----------------------------------------------------------------------------------------------------------


def test_a_backup_says_how_to_prove_it(filled: World, desk: Desk) -> None:
    ran = filled.run("backup", "monday.backup")

    assert ran.exit_code == 0
    assert ran.stdout == (
        "monday.backup: 12.3 MB, as it was at 2026-11-24T06:00:00.000Z.\n"
        "Prove it with `gift-ledger verify --backup monday.backup`.\n"
    )
    assert desk.asked == [("redis://:hidden@127.0.0.1:1/0", Path("monday.backup"))]


def test_a_backup_without_kafka_says_what_follows(filled: World, desk: Desk) -> None:
    desk.manifest = replace(MANIFEST, inbox=None)

    ran = filled.run("backup", "monday.backup")

    assert ran.exit_code == 0
    assert "Kafka did not answer: a restore will read orders and payments from their beginning." in ran.stdout


def test_the_manifest_as_json(filled: World, desk: Desk) -> None:
    told = json.loads(filled.run("backup", "monday.backup", "--json").stdout)

    assert (told["madeAt"], told["vault"], told["inbox"]) == (NOON, "abc", {"All_Payments": {"0": 17}})


# --- restore ----------------------------------------------------------------------------------------------------------


def test_a_restore_that_lost_nothing(filled: World, desk: Desk, file: Path) -> None:
    ran = filled.run("restore", str(file))

    assert ran.exit_code == 0
    assert ran.stdout.startswith("The ledger is back as it was at 2026-11-24T06:00:00.000Z. Keys: 1,234.\n")
    assert ran.stdout.endswith("Subscribers know nothing that is not in it.\n")
    assert desk.asked == [("redis://:hidden@127.0.0.1:1/0", file, None, True)]


def test_what_is_lost_is_listed_and_is_exit_code_1(filled: World, desk: Desk, file: Path) -> None:
    lost = report(lost=(LOST,), lost_events=(LOST_EVENT,), counts={"lost": 1})
    line = LostLine(order_id="SO-7", order_line_id="2", code=CODE, kept=Kept.ACTIVATED)
    desk.restored = replace(desk.restored, reconciliation=lost, lines=(line,))

    ran = filled.run("restore", str(file))

    assert ran.exit_code == 1
    assert re.search(rf"^{CODE} +5 +7 +SO-7 +2 +activated +40 000 RUB$", ran.stdout, re.MULTILINE)
    assert re.search(rf"^{CODE} +transaction +7 +Capture +12,500 +40,000 +2026", ran.stdout, re.MULTILINE)
    assert "Certificates that are shut: 1." in ran.stdout
    assert json.loads(filled.run("restore", str(file), "--json").stdout)["reconciliation"]["lost"] == [
        {
            "code": CODE,
            "version": 5,
            "published": 7,
            "released": False,
            "sale": {
                "orderId": "SO-7",
                "orderLineId": "2",
                "activated": True,
                "denomination": 60_000,
                "currency": "RUB",
                "balance": 40_000,
            },
        }
    ]


def test_lines_whose_orders_cannot_be_told_are_said(filled: World, desk: Desk, file: Path) -> None:
    lost = report(lost=(LOST,), counts={"lost": 1})
    line = LostLine(order_id="SO-7", order_line_id="2", code=CODE, kept=Kept.CONTRADICTED)
    desk.restored = replace(desk.restored, reconciliation=lost, lines=(line,))

    said = filled.run("restore", str(file)).stdout

    assert re.search(rf"^{CODE} +5 +7 +SO-7 +2 +contradicted +40 000 RUB$", said, re.MULTILINE)
    assert "look at these orders before anything is sold on them: SO-7" in " ".join(said.split())


def test_secrets_that_are_missing_are_asked_for(filled: World, desk: Desk, file: Path) -> None:
    desk.restored = replace(desk.restored, secrets=False)

    assert "The secrets file with the pepper abc is missing: put it back" in filled.run("restore", str(file)).stdout


@pytest.mark.parametrize(
    ("options", "kafka", "said"),
    [(["--without-kafka"], "127.0.0.1:9", "You said so: it was not compared"), ([], "", "No Kafka is set, and")],
)
def test_without_kafka_nothing_is_compared(
    filled: World, desk: Desk, file: Path, options: list[str], kafka: str, said: str
) -> None:
    desk.restored = replace(desk.restored, reconciliation=None)
    filled.environ["GIFT_LEDGER_KAFKA_BOOTSTRAP"] = kafka
    if not kafka:
        del filled.environ["GIFT_LEDGER_KAFKA_BOOTSTRAP"]

    ran = filled.run("restore", str(file), *options)

    assert ran.exit_code == 0
    assert said in ran.stdout
    assert desk.asked[0][-1] is False


def test_a_backup_that_is_not_there_is_exit_code_2(filled: World, desk: Desk) -> None:
    assert filled.run("restore", "nowhere.backup").exit_code == 2
    assert desk.asked == []


# --- reconcile --------------------------------------------------------------------------------------------------------


def test_topics_in_order(filled: World, desk: Desk) -> None:
    ran = filled.run("reconcile")

    assert ran.exit_code == 0
    assert ran.stdout == (
        "Certificates: 2. Events on Kafka: 1,700. Certificates with events that wait: 1.\n"
        "Kafka has all that it ought to have.\n"
    )
    assert ran.stderr == ""
    assert desk.asked == [("127.0.0.1:9", False)]


@pytest.mark.parametrize(
    ("facts", "code", "said"),
    [
        ({"counts": {"missing": 1}, "mended": False}, 1, "Kafka lacks events. `gift-ledger reconcile --republish`"),
        ({"counts": {"missing": 1, "stale": 2}, "republished": 3}, 0, "Events that were published once more: 3."),
        ({"counts": {"missing": 1}, "mended": False, "republished": 9}, 1, "Kafka lacks events."),
        ({"counts": {"lost": 1}}, 1, "Log and topics differ."),
        ({"counts": {"missing": 1, "disorder": 1}}, 1, "Found: missing 1, disorder 1."),
        ({"foreign": 4}, 1, "Records on our topics that are not ours: 4."),
    ],
)
def test_what_is_found_decides_the_exit_code(
    filled: World, desk: Desk, facts: dict[str, object], code: int, said: str
) -> None:
    kinds = facts.get("counts", {})
    assert isinstance(kinds, dict)
    desk.report = report(differences=tuple(differing(kind) for kind in kinds), **facts)

    ran = filled.run("reconcile", "--republish")

    assert ran.exit_code == code
    assert said in ran.stdout
    assert all(re.search(rf"^{CODE} +{kind} +transaction +3 +as it is$", ran.stdout, re.MULTILINE) for kind in kinds)
    assert desk.asked == [("127.0.0.1:9", True)]


def test_a_long_list_is_cut_and_says_so(filled: World, desk: Desk) -> None:
    many = tuple(differing("missing", version) for version in range(SHOWN_MAX + 50))
    desk.report = report(differences=many, counts={"missing": len(many)}, mended=False)

    ran = filled.run("reconcile")

    assert f" {SHOWN_MAX - 1} " in ran.stdout
    assert f" {SHOWN_MAX} " not in ran.stdout
    assert "And 50 differences and 0 events more: --json lists them." in ran.stdout
    assert len(json.loads(filled.run("reconcile", "--json").stdout)["differences"]) == len(many)
