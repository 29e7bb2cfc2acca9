import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

import gift_ledger.health
from actors.errors import ActorError, OutcomeUnknownError
from actors.reports import ActorReport
from actors.router import Router
from gateway.services import Condition
from gift_ledger.health import READY, Probe, bridge_part, worst
from persistence.errors import StorageRefusedError
from persistence.memory import MemoryLog

SHARDS = ("certificates:00", "certificates:01")
WELL = ActorReport(name="bridge:relay", kind="relay", state="ALIVE", pid=1, node="n", facts={READY: 1})
BRIDGE = tuple(replace(WELL, name=name) for name in ("bridge:relay", "bridge:inbox", "bridge:sms"))


class Shards:
    """Answers probes as a router does, but for those of some shards."""

    def __init__(self, **silent: Exception) -> None:
        self.silent = {name.replace("_", ":"): error for name, error in silent.items()}

    async def probe(self, name: str) -> None:
        if name in self.silent:
            raise self.silent[name]


class Hanging(Shards):
    """One shard never answers."""

    async def probe(self, name: str) -> None:
        if name == SHARDS[0]:
            await asyncio.Event().wait()


class HangingLog(MemoryLog):
    async def check(self) -> None:
        await asyncio.Event().wait()


class ReadOnlyLog(MemoryLog):
    async def check(self) -> None:
        raise StorageRefusedError("READONLY the server at redis:6379 takes no writes")


def probe(
    *, log: MemoryLog | None = None, shards: Shards | None = None, reports: tuple[ActorReport, ...] = BRIDGE
) -> Probe:
    async def told() -> list[ActorReport]:
        return list(reports)

    return Probe(log or MemoryLog(), cast("Router", shards or Shards()), SHARDS, told)


async def test_when_all_answer_all_is_well() -> None:
    health = await probe().health()

    assert [part.status for part in (health.storage, health.shards, health.kafka, health.sms)] == [Condition.OK] * 4
    assert health.shards.detail == "2 answer"


async def test_a_log_that_takes_no_writes_is_down_and_its_address_is_not_told() -> None:
    health = await probe(log=ReadOnlyLog()).health()

    assert health.storage.status is Condition.DOWN
    assert health.storage.detail == "The log cannot be written durably: StorageRefusedError."


async def test_a_shard_that_does_not_answer_is_named() -> None:
    silent = Shards(certificates_01=OutcomeUnknownError("no answer"))

    health = await probe(shards=silent).health()

    assert health.shards.status is Condition.DOWN
    assert health.shards.detail == "No answer from certificates:01."
    assert health.storage.status is Condition.OK


async def test_a_defect_in_a_probe_is_no_silent_shard() -> None:
    with pytest.raises(ZeroDivisionError):
        await probe(shards=Shards(certificates_00=ActorError("away"), certificates_01=ZeroDivisionError())).health()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gift_ledger.health, "PART_SECONDS_MAX", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_shard_that_hangs_is_named_and_does_not_hide_the_others() -> None:
    health = await probe(shards=Hanging()).health()

    assert health.shards.detail == "No answer from certificates:00."
    assert health.storage.status is health.kafka.status is Condition.OK


@pytest.mark.usefixtures("impatient")
async def test_a_log_that_hangs_is_down() -> None:
    health = await probe(log=HangingLog()).health()

    assert health.storage.detail == "The log cannot be written durably: TimeoutError."
    assert health.shards.status is Condition.OK


@pytest.mark.usefixtures("impatient")
async def test_a_bridge_that_cannot_be_asked_only_degrades() -> None:
    async def hang() -> list[ActorReport]:
        await asyncio.Event().wait()
        return []

    health = await Probe(MemoryLog(), cast("Router", Shards()), SHARDS, hang).health()

    assert health.kafka.status is health.sms.status is Condition.DEGRADED
    assert health.shards.status is Condition.OK


@pytest.mark.parametrize(
    ("ill", "kafka", "sms"),
    [
        ("bridge:relay", Condition.DEGRADED, Condition.OK),
        ("bridge:inbox", Condition.DEGRADED, Condition.OK),
        ("bridge:sms", Condition.OK, Condition.DEGRADED),
    ],
)
async def test_an_actor_of_the_bridge_that_does_not_run_degrades_what_it_carries(
    ill: str, kafka: Condition, sms: Condition
) -> None:
    health = await probe(reports=tuple(report for report in BRIDGE if report.name != ill)).health()

    assert (health.kafka.status, health.sms.status) == (kafka, sms)
    assert f"{ill} does not run" in health.kafka.detail + health.sms.detail


@pytest.mark.parametrize(
    ("report", "detail"),
    [
        (None, "bridge:sms does not run; what it carries waits."),
        (replace(WELL, state="UNREACHABLE"), "bridge:sms is unreachable; what it carries waits."),
        (replace(WELL, facts={READY: 0}), "bridge:sms reaches nobody; what it carries waits."),
        (replace(WELL, facts={}), "bridge:sms reaches nobody; what it carries waits."),
    ],
)
def test_why_a_part_of_the_bridge_is_not_well(report: ActorReport | None, detail: str) -> None:
    part = bridge_part(report, "bridge:sms")

    assert (part.status, part.detail) == (Condition.DEGRADED, detail)


def test_the_worst_of_several_counts() -> None:
    well, ill = bridge_part(WELL, "a"), bridge_part(None, "b")

    assert worst([well, ill]) is ill
    assert worst([well, well]) is well
