"""What shards and bridge say of themselves is told to Prometheus."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

import gateway.actor_metrics
from actors.reports import ActorReport
from gateway.actor_metrics import FIGURES, ActorMetrics
from gateway.metrics import Exposition, Metrics
from gateway.services import Services
from tests.unit.gateway.house import VAULT, House, OneShard

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
SHARD = ActorReport(
    name="certificates:00",
    kind="shard",
    state="ALIVE",
    pid=1,
    node="",
    facts={"residents": 7, "queued": 2, "commands": 40, "coverageShort": 3, "coverageMended": 1, "lastError": "?"},
)
RELAY = replace(SHARD, name="bridge:relay", kind="relay", facts={"waiting": 5, "waitingSeconds": 1.5})
INBOX = replace(SHARD, name="bridge:inbox", kind="inbox", facts={"lag": 9, "deadLetters": 4})
SMS = replace(SHARD, name="bridge:sms", kind="sms", facts={"waiting": 6, "givenUp": 2})
UNREACHABLE = replace(SHARD, kind="", state="UNREACHABLE", facts={"error": "TimeoutError"})


class Actors:
    """Answers as the actors would; an exception is raised, and `None` never answers."""

    def __init__(self, *reports: ActorReport) -> None:
        self.now: dict[str, ActorReport | Exception | None] = {report.name: report for report in reports}
        self.metrics = ActorMetrics(list(self.now), self.ask)

    async def ask(self, name: str) -> ActorReport:
        report = self.now[name]
        if report is None:
            await asyncio.Event().wait()
        if isinstance(report, Exception):
            raise report
        assert report is not None
        return report

    def numbers(self) -> dict[str, float]:
        registry = CollectorRegistry()
        registry.register(self.metrics)
        return samples(generate_latest(registry))


def samples(content: bytes) -> dict[str, float]:
    return {
        name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*?\})?) (\S+)$", content.decode(), re.MULTILINE)
    }


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    monkeypatch.setattr(gateway.actor_metrics, "ANSWER_SECONDS_MAX", 0.2)
    return Actors(SHARD, RELAY, INBOX, SMS)


async def test_facts_become_metrics_by_actor(actors: Actors) -> None:
    await actors.metrics.refresh()

    found = actors.numbers()

    shard, relay = '{actor="certificates:00"}', '{actor="bridge:relay"}'
    inbox, sms = '{actor="bridge:inbox"}', '{actor="bridge:sms"}'
    assert found["gift_ledger_shard_residents" + shard] == 7
    assert found["gift_ledger_shard_queued" + shard] == 2
    assert found["gift_ledger_shard_commands_total" + shard] == 40
    assert found["gift_ledger_lines_coverage_short_total" + shard] == 3
    assert found["gift_ledger_lines_coverage_mended_total" + shard] == 1
    assert found["gift_ledger_outbox_waiting" + relay] == 5
    assert found["gift_ledger_outbox_waiting_seconds" + relay] == 1.5
    assert found["gift_ledger_inbox_lag" + inbox] == 9
    assert found["gift_ledger_dead_letters_total" + inbox] == 4
    assert found["gift_ledger_sms_waiting" + sms] == 6
    assert found["gift_ledger_sms_given_up_total" + sms] == 2
    assert all(found["gift_ledger_actor_up" + actor] == 1 for actor in (shard, relay, inbox, sms))


async def test_a_counter_is_there_before_it_counts_so_that_its_growth_is_seen(actors: Actors) -> None:
    await actors.metrics.refresh()

    assert actors.numbers()['gift_ledger_shard_defects_total{actor="certificates:00"}'] == 0


@pytest.mark.parametrize("trouble", [None, RuntimeError("no cluster"), UNREACHABLE])
async def test_the_last_figures_of_an_actor_that_does_not_answer_stand_and_it_is_down(
    actors: Actors, trouble: ActorReport | Exception | None
) -> None:
    await actors.metrics.refresh()
    actors.now["certificates:00"] = trouble
    actors.now["bridge:sms"] = replace(SMS, facts={"waiting": 8})

    await actors.metrics.refresh()

    found = actors.numbers()
    assert found['gift_ledger_actor_up{actor="certificates:00"}'] == 0
    assert found['gift_ledger_shard_residents{actor="certificates:00"}'] == 7
    assert found['gift_ledger_actor_up{actor="bridge:sms"}'] == 1
    assert found['gift_ledger_sms_waiting{actor="bridge:sms"}'] == 8


async def test_before_the_first_answer_an_actor_is_down_and_has_no_figures(actors: Actors) -> None:
    found = actors.numbers()

    assert found == {f'gift_ledger_actor_up{{actor="{name}"}}': 0 for name in actors.now}


async def test_an_actor_that_is_starting_is_not_up(actors: Actors) -> None:
    actors.now["bridge:relay"] = replace(RELAY, state="STARTING", facts={"ready": 0})

    await actors.metrics.refresh()

    assert actors.numbers()['gift_ledger_actor_up{actor="bridge:relay"}'] == 0


def exposition(house: House, actors: ActorMetrics | None, seconds_max: float = 5.0) -> Exposition:
    known = house.services
    services = Services(
        ledger=OneShard(), log=known.log, vault=VAULT, keys=known.keys, windows=known.windows,
        clock=known.clock, health=known.health, actors=actors,
    )  # fmt: skip
    services.metrics.register(Metrics())
    return Exposition(services, seconds_max)


async def test_the_actors_are_asked_when_the_metrics_are(house: House, actors: Actors) -> None:
    page = exposition(house, actors.metrics)

    reply = await page.reply()

    found = samples(reply.body)
    assert found['gift_ledger_shard_residents{actor="certificates:00"}'] == 7
    assert found["gift_ledger_http_requests_in_flight"] == 0


async def test_actors_that_hang_keep_nobody_from_the_gateways_own_figures(
    house: House, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.actor_metrics, "ANSWER_SECONDS_MAX", 60.0)
    actors.now["certificates:00"] = None

    reply = await exposition(house, actors.metrics, seconds_max=0.2).reply()

    found = samples(reply.body)
    assert found["gift_ledger_http_requests_in_flight"] == 0
    assert found['gift_ledger_actor_up{actor="certificates:00"}'] == 0
    assert found['gift_ledger_actor_up{actor="bridge:sms"}'] == 1


def test_every_figure_is_in_the_table_for_operators() -> None:
    rows = [line for line in OPERATIONS.read_text(encoding="utf-8").splitlines() if line.startswith("| `gift_ledger_")]
    told: set[str] = set()
    for row in rows:
        names = re.findall(r"`([a-z_]+)", row.split("|")[1])
        area = "_".join(names[0].split("_")[:3])
        told |= {area + name if name.startswith("_") else name for name in names}

    made = {figure.name + ("_total" if figure.counts else "") for figure in FIGURES}

    assert made <= told
