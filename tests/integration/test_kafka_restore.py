"""After a restore nothing that was published is rewound: what subscribers know more of is shut, and told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from msgspec.structs import replace

from actors.host import wall_clock
from gateway.inbox import Inbox
from gateway.offsets import TopicsError, read_again, read_so_far
from gateway.reconciliation import ReconciliationReport, reconcile
from gateway.relay import OutboxRelay
from gift_ledger.recovery import restore as module
from gift_ledger.recovery.backup import backup
from gift_ledger.recovery.lines import Kept
from gift_ledger.recovery.restore import COMPARING, COPYING, restore
from gift_ledger.settings import Settings
from ledger.commands import SYSTEM, Allocate
from ledger.identifiers import order_entity
from persistence.errors import StorageUnsafeError
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import verify
from tests.contract.histories import NOON, Writer
from tests.integration.kafka_stage import (
    MemoryLedger,
    is_empty,
    make_topics,
    order_event,
    payment_event,
    publish,
    read_topic,
    running,
    until,
)
from tests.real.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.bridge_settings import BridgeSettings
    from tests.real.kafka import RealKafka
    from tests.real.redis import RealServer

pytestmark = pytest.mark.real

USED, QUIET, SOLD_LATER = "GC-00000001", "GC-00000002", "GC-00000003"


@pytest.fixture
async def settings(kafka: RealKafka, kafka_prefix: str, redis_server: RealServer, tmp_path: Path) -> Settings:
    made = Settings(
        redis_url=redis_server.url,
        data_dir=str(tmp_path),
        partitions=1,  # so that all wait in one outbox
        kafka_bootstrap=kafka.bootstrap,
        kafka_group=f"{kafka_prefix}group",
        topic_sales_orders=f"{kafka_prefix}All_SalesOrder",
        topic_payments=f"{kafka_prefix}All_Payments",
        topic_states=f"{kafka_prefix}GiftCertificateState",
        topic_transactions=f"{kafka_prefix}GiftCertificateTransaction",
        topic_dead_letters=f"{kafka_prefix}DeadLetter",
    )
    await make_topics(kafka, made.bridge())
    return made


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[RedisLog]:
    opened = await RedisLog.open(settings.storage())
    yield opened
    await opened.close()


async def published(log: RedisLog, settings: Settings) -> None:
    """Have a relay publish all that waits."""
    async with running(OutboxRelay(log, settings.bridge(), wall_clock)):
        await is_empty(log)


async def states(settings: Settings) -> dict[str, int]:
    """What the compacted topic keeps: by code, the version of the last state."""
    records = await read_topic(settings.bridge().bootstrap, settings.topic_states, 1)
    return {record.key.decode(): json.loads(record.value)["version"] for record in records}


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["redis", "valkey"], indirect=True)
async def test_what_subscribers_know_more_of_is_shut_and_nothing_is_rewound(
    settings: Settings, log: RedisLog, own_redis: RealServer, tmp_path: Path
) -> None:
    bridge, file = settings.bridge(), tmp_path / "monday.backup"
    writer = Writer(log)
    await writer.sell("SO-1", USED, QUIET)
    await published(log, settings)
    await writer.spend(USED, 100, 2)
    await writer.spend(QUIET, 100, 1)
    await publish(bridge.bootstrap, bridge.payments, [("SO-1", b"{}")] * 3)
    await read_again(bridge, {bridge.payments: dict.fromkeys(range(3), 0), bridge.sales_orders: {0: 0, 1: 0, 2: 0}})
    manifest = await backup(settings, file, lambda _: None)  # the events of both wait
    waited = sum(await log.outbox_sizes())
    version = writer.certificates[USED][1].version
    await writer.spend(USED, 50, 1)
    await writer.sell("SO-2", SOLD_LATER)
    await published(log, settings)
    before = await states(settings)
    ends = {bridge.payments: {0: 1, 1: 1, 2: 1}}
    await read_again(bridge, ends)
    steps: list[str] = []

    restored = await restore(
        replace(settings, redis_url=own_redis.url),
        file,
        None,
        lambda step, _done, _total: steps.append(step),
        compare=True,
    )

    report = restored.reconciliation
    assert report is not None
    assert [(one.code, one.version, one.published) for one in report.lost] == [
        (USED, version, version + 2),
        (SOLD_LATER, 0, 3),
    ]
    lost = {(one.code, one.version, one.amount) for one in report.lost_events if one.topic == "transaction"}
    assert lost == {(USED, version + 2, 50), (SOLD_LATER, 3, 150_000)}
    assert [(one.order_id, one.order_line_id, one.code) for one in restored.lines] == [
        ("SO-1", "1", USED),
        ("SO-2", "1", SOLD_LATER),
    ]
    assert {COPYING, COMPARING} == set(steps)
    assert manifest.inbox is not None
    assert (await read_so_far(bridge))[bridge.payments] == manifest.inbox[bridge.payments] == {0: 0, 1: 0, 2: 0}
    back = await RedisLog.open(StorageSettings(redis_url=own_redis.url))
    proof = await verify(back, None, lambda _: None, clock=lambda: NOON + 1)
    assert {one.entity for one in proof.findings} == {f"c:{USED}", f"c:{SOLD_LATER}"}
    assert all("records were lost" in one.problem for one in proof.findings)
    assert 0 < proof.publications_waiting < waited
    (loaded,) = await back.load([f"c:{USED}"])
    assert loaded.damage is not None
    await published(back, settings)
    await back.close()
    assert await states(settings) == before


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
async def test_what_was_sold_after_the_backup_may_lie_where_that_has_nothing(
    settings: Settings, own_redis: RealServer, tmp_path: Path
) -> None:
    """One of few certificates: most partitions are empty."""
    few = replace(settings, partitions=32, redis_prefix="few")
    log = await RedisLog.open(few.storage())
    writer = Writer(log)
    await writer.sell("SO-1", USED)
    await published(log, few)
    await backup(few, tmp_path / "monday.backup", lambda _: None)
    await writer.sell("SO-2", SOLD_LATER)
    await published(log, few)
    await log.close()
    target = replace(few, redis_url=own_redis.url)

    restored = await restore(target, tmp_path / "monday.backup", None, lambda *_: None, compare=True)

    assert restored.reconciliation is not None
    assert [one.code for one in restored.reconciliation.lost] == [SOLD_LATER]
    back = await RedisLog.open(target.storage())
    (loaded,) = await back.load([f"c:{SOLD_LATER}"])
    await back.close()
    assert loaded.damage is not None


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["redis"], indirect=True)
async def test_a_line_that_was_sold_after_the_backup_is_not_sold_again(
    settings: Settings, log: RedisLog, own_redis: RealServer, tmp_path: Path
) -> None:
    bridge, file = settings.bridge(), tmp_path / "monday.backup"
    writer = Writer(log)
    await writer.sell("SO-1", USED)
    await backup(settings, file, lambda _: None)
    await writer.sell("SO-2", SOLD_LATER)
    await writer.spend(SOLD_LATER, 150_000)
    await published(log, settings)
    await publish(bridge.bootstrap, bridge.sales_orders, [("SO-2", order_event("SO-2"))])
    await publish(bridge.bootstrap, bridge.payments, [("SO-2", payment_event("SO-2"))])
    target = replace(settings, redis_url=own_redis.url)

    restored = await restore(target, file, None, lambda *_: None, compare=True)

    assert [(one.order_id, one.order_line_id, one.code, one.kept) for one in restored.lines] == [
        ("SO-2", "1", SOLD_LATER, Kept.ACTIVATED)
    ]
    back = await RedisLog.open(target.storage())
    try:
        async with MemoryLedger(back) as ledger, running(Inbox(ledger, ledger.vault, bridge, wall_clock)):
            await until(lambda: ledger.paid(1))
            answer = await ledger.ask(order_entity("SO-2"), Allocate("1", QUIET), SYSTEM)
            shown = await ledger.order("SO-2")
        proof = await verify(back, None, lambda _: None, clock=lambda: NOON + 1)
    finally:
        await back.close()
    assert answer.refused is not None
    assert answer.refused.code == "OrderLineAlreadyAllocated"
    assert shown["isOrderSettled"]
    (line,) = shown["certificateLines"]
    assert (line["certificateCode"], line["status"], line["plannedDenomination"]) == (SOLD_LATER, "Activated", 150_000)
    assert {one.entity for one in proof.findings} == {f"c:{SOLD_LATER}"}


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
async def test_partitions_that_were_added_after_the_backup_are_read_from_their_begin(
    settings: Settings, log: RedisLog, own_redis: RealServer, tmp_path: Path
) -> None:
    bridge, file = settings.bridge(), tmp_path / "monday.backup"
    await Writer(log).sell("SO-1", USED)
    await read_again(bridge, {bridge.payments: {0: 0, 1: 0, 2: 0}, bridge.sales_orders: {0: 0, 1: 0, 2: 0}})
    await backup(settings, file, lambda _: None)
    admin = AIOKafkaAdminClient(bootstrap_servers=bridge.bootstrap)
    await admin.start()
    await admin.create_partitions({bridge.payments: NewPartitions(total_count=4)})
    await admin.close()
    await publish(bridge.bootstrap, bridge.payments, [(f"SO-{number}", b"{}") for number in range(100)])
    await read_again(bridge, {bridge.payments: {0: 9, 1: 9, 2: 9, 3: 9}})

    await restore(replace(settings, redis_url=own_redis.url), file, None, lambda *_: None, compare=True)

    assert await read_so_far(bridge) == {
        bridge.payments: {0: 0, 1: 0, 2: 0, 3: 0},
        bridge.sales_orders: {0: 0, 1: 0, 2: 0},
    }


@pytest.mark.parametrize(
    ("kept", "places"),
    [
        ({}, {0: 0, 1: 0}),
        ({"All_Payments": {0: 5, 1: 6}}, {0: 5, 1: 6}),
        ({"All_Payments": {0: 5}}, {0: 5, 1: 0}),
        # made anew with fewer: what stands in its partitions now has nothing to do with what stood there
        ({"All_Payments": {0: 5, 1: 6, 2: 7}}, {0: 0, 1: 0}),
        ({"Of_Another_Name": {0: 5}}, {0: 0, 1: 0}),
    ],
)
def test_from_where_the_inputs_are_read_again(kept: dict[str, dict[int, int]], places: dict[int, int]) -> None:
    assert module._places(kept, {"All_Payments": {0: 100, 1: 200}}) == {"All_Payments": places}


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
async def test_a_restore_begins_only_when_kafka_answers(
    settings: Settings, log: RedisLog, own_redis: RealServer, tmp_path: Path
) -> None:
    file = tmp_path / "monday.backup"
    await Writer(log).sell("SO-1", USED)
    manifest = await backup(settings, file, lambda _: None)
    away = replace(settings, redis_url=own_redis.url, kafka_bootstrap=f"127.0.0.1:{free_port()}")

    with pytest.raises(TopicsError):
        await restore(away, file, None, lambda *_: None, compare=True)

    target = connect(own_redis.url, connections_max=1, timeout_seconds=60)
    assert await target.execute_command("DBSIZE") == 0
    await target.aclose()
    assert manifest.inbox is not None
    assert manifest.published == {
        settings.topic_states: dict.fromkeys(range(3), 0),
        settings.topic_transactions: dict.fromkeys(range(3), 0),
    }


@pytest.fixture
def kafka_away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why Kafka does not answer when the ledger is compared with it, each time that it does not."""
    reasons: list[str] = []

    async def compared(
        log: RedisLog, settings: BridgeSettings, on_progress: Callable[[int, int], None]
    ) -> ReconciliationReport:
        if reasons:
            raise TopicsError(reasons.pop())
        return await reconcile(log, settings, on_progress)

    monkeypatch.setattr(module, "reconcile", compared)
    return reasons


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
async def test_a_restore_that_has_begun_bears_with_a_kafka_that_is_away_for_a_while(
    settings: Settings, log: RedisLog, own_redis: RealServer, tmp_path: Path, kafka_away: list[str]
) -> None:
    file = tmp_path / "monday.backup"
    await Writer(log).sell("SO-1", USED)
    await published(log, settings)
    await backup(settings, file, lambda _: None)
    kafka_away += ["no answer", "no answer"]

    restored = await restore(replace(settings, redis_url=own_redis.url), file, None, lambda *_: None, compare=True)

    assert restored.reconciliation is not None
    assert restored.reconciliation.in_order
    assert kafka_away == []


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
async def test_a_restore_is_broken_off_if_kafka_stays_away_and_the_ledger_stays_closed(
    settings: Settings,
    log: RedisLog,
    own_redis: RealServer,
    tmp_path: Path,
    kafka_away: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, target = tmp_path / "monday.backup", replace(settings, redis_url=own_redis.url)
    await Writer(log).sell("SO-1", USED)
    await backup(settings, file, lambda _: None)
    monkeypatch.setattr(module, "KAFKA_SECONDS_MAX", 0.0)
    kafka_away += ["no answer"]

    with pytest.raises(TopicsError, match="no answer"):
        await restore(target, file, None, lambda *_: None, compare=True)

    with pytest.raises(StorageUnsafeError, match="broken off"):
        await RedisLog.open(target.storage())


@pytest.mark.parametrize("redis_server", ["valkey"], indirect=True)
async def test_a_backup_is_made_without_kafka_too(settings: Settings, log: RedisLog, tmp_path: Path) -> None:
    await Writer(log).sell("SO-1", USED)
    away = replace(settings, kafka_bootstrap=f"127.0.0.1:{free_port()}")

    manifest = await backup(away, tmp_path / "monday.backup", lambda _: None)

    assert (manifest.inbox, manifest.published) == (None, None)
