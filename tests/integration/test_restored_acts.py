"""A backup carries the administrative acts, and a restore is noted behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gift_ledger.recovery.backup import backup
from gift_ledger.recovery.restore import restore
from gift_ledger.settings import Settings
from ledger.money import rfc3339
from persistence import acts
from persistence.acts import RedisActStore
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import verify
from tests.contract.histories import NOON, Writer
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

WAIT_SECONDS = 60.0
ANNA = ("anna", "desk-1")


def settings_of(server: RealServer, folder: Path) -> Settings:
    return Settings(redis_url=server.url, redis_timeout_seconds=WAIT_SECONDS, data_dir=str(folder))


@pytest.fixture
async def source(redis_server: RealServer) -> AsyncIterator[Client]:
    """A ledger with an order, and an act that has only begun."""
    log = await RedisLog.open(StorageSettings(redis_url=redis_server.url, timeout_seconds=WAIT_SECONDS))
    await Writer(log).sell("SO-1", "GC-00000001")
    await log.close()
    client = connect(redis_server.url, connections_max=2, timeout_seconds=WAIT_SECONDS)
    await acts.note(RedisActStore(client), NOON, ANNA, "keys revoke", "begun", {"keyId": "k_1"})
    yield client
    await client.aclose()


@pytest.fixture
async def target(own_redis: RealServer) -> AsyncIterator[Client]:
    client = connect(own_redis.url, connections_max=2, timeout_seconds=WAIT_SECONDS)
    yield client
    await client.aclose()


async def test_acts_come_back_and_the_restore_is_noted_behind_them(
    redis_server: RealServer, own_redis: RealServer, source: Client, target: Client, tmp_path: Path
) -> None:
    file = tmp_path / "monday.backup"
    await backup(settings_of(redis_server, tmp_path), file, lambda _: None)
    await acts.note(RedisActStore(source), NOON, ANNA, "forget", "begun", {"orderId": "SO-1"})

    restored = await restore(settings_of(own_redis, tmp_path), file, None, lambda *_: None, compare=False)

    assert restored.acts == 1
    store = RedisActStore(target)
    entries = [acts.decode(one) for one in await store.page(0)]
    assert [(one.command, one.outcome, one.intent) for one in entries] == [
        ("keys revoke", "begun", 1),
        ("restore", "begun", 2),
        ("restore", "done", 2),
    ]
    assert entries[1].facts == {"backupMadeAt": rfc3339(restored.manifest.made_at), "backupActs": "1"}
    assert await acts.problems(store) == []


async def test_damaged_acts_keep_nobody_from_having_his_ledger_back(
    redis_server: RealServer, own_redis: RealServer, source: Client, target: Client, tmp_path: Path
) -> None:
    await source.execute_command("SET", "gl:acts:end", "nonsense")
    file = tmp_path / "damaged.backup"
    await backup(settings_of(redis_server, tmp_path), file, lambda _: None)

    restored = await restore(settings_of(own_redis, tmp_path), file, None, lambda *_: None, compare=False)

    assert restored.acts is None
    log = await RedisLog.open(StorageSettings(redis_url=own_redis.url))
    report = await verify(log, None, lambda _: None, clock=lambda: NOON + 1)
    await log.close()
    assert (report.findings, report.certificates) == ((), 1)
    ((_, problem),) = await acts.problems(RedisActStore(target))
    assert "the end of the administrative acts" in problem
