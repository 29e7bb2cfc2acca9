"""A proof in several processes finds what it finds in one."""

import os
import signal
from collections.abc import AsyncIterator
from multiprocessing import active_children

import pytest

from persistence.division import ENTITIES_EACH_MIN, PROCESSES_MAX, ProcessLostError, Task, processes_for, verify_divided
from persistence.errors import StorageUnavailableError
from persistence.log import partition_of
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import Progress, VerificationReport, verify
from tests.contract.histories import NOON, Writer
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

PARTITIONS = 8
CERTIFICATES = 300


def noon() -> int:
    """Shortly after everything was written; a function that other processes find."""
    return NOON + 1


@pytest.fixture
def task(redis_server: RealServer) -> Task:
    storage = StorageSettings(redis_url=redis_server.url, partitions=PARTITIONS, timeout_seconds=60.0)
    return Task(storage=storage, clock=noon)


@pytest.fixture
async def log(task: Task) -> AsyncIterator[RedisLog]:
    opened = await RedisLog.open(task.storage)
    writer = Writer(opened)
    codes = [f"GC-{number:08d}" for number in range(CERTIFICATES)]
    for start in range(0, CERTIFICATES, 10):
        await writer.sell(f"SO-{start}", *codes[start : start + 10], snapshot=start % 20 == 0)
    for code in codes[::3]:
        await writer.spend(code, 100, 2)
    yield opened
    await opened.close()


async def damage(log: RedisLog) -> None:
    """Of every kind that shows in one partition, between two, or only in the whole."""
    do, keys = log._client.execute_command, log._keys
    broken, orphan, strange, late = "c:GC-00000003", "o:SO-20", "c:GC-STRANGER", "c:GC-00000007"
    await do("LPOP", keys.logs[partition_of(broken, PARTITIONS)] + broken)
    for names in (keys.logs, keys.snapshots):
        await do("DEL", names[partition_of(orphan, PARTITIONS)] + orphan)
    await do("HDEL", keys.entities[partition_of(orphan, PARTITIONS)], orphan)
    await do("RPUSH", keys.logs[partition_of(strange, PARTITIONS)] + strange, "x")
    await do("RPUSH", f"gl:{(partition_of('o:SO-9', PARTITIONS) + 1) % PARTITIONS}:w:o:SO-9", "x")
    await do("ZREM", keys.timers[partition_of(late, PARTITIONS)], late)
    await do("LPOP", keys.outboxes[2])


async def proof(log: RedisLog) -> VerificationReport:
    return await verify(log, None, lambda _: None, clock=noon)


@pytest.mark.parametrize("processes", [1, 2, 3])
async def test_a_sound_log_is_proved_alike_in_any_number_of_processes(
    log: RedisLog, task: Task, processes: int
) -> None:
    told: list[Progress] = []

    report = await verify_divided(log, task, processes, told.append)

    assert report == await proof(log)
    assert report.findings == ()
    assert report.certificates == CERTIFICATES
    assert [one.records for one in told] == sorted(one.records for one in told)
    assert told[-1] == Progress(report.entities, report.records, report.entities)
    assert active_children() == []


async def test_what_is_wrong_is_found_alike_in_any_number_of_processes(log: RedisLog, task: Task) -> None:
    await damage(log)
    alone = await proof(log)

    reports = [await verify_divided(log, task, processes, lambda _: None) for processes in (1, 2, 3, 20)]

    assert reports == [alone] * 4
    found = {finding.entity for finding in alone.findings}
    assert {"c:GC-00000003", "c:GC-00000007", "c:GC-STRANGER", "o:SO-9", "outbox 2"} <= found
    assert {f"c:GC-{number:08d}" for number in range(20, 30)} <= found, "their order is gone"


async def test_a_process_that_is_killed_ends_the_proof_with_an_error(log: RedisLog, task: Task) -> None:
    def kill(_progress: Progress) -> None:
        for child in active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    with pytest.raises(ProcessLostError, match="ended before it had done its part"):
        await verify_divided(log, task, 2, kill)

    assert active_children() == []


async def test_a_server_that_goes_away_is_one_error(log: RedisLog, task: Task, redis_server: RealServer) -> None:
    def kill(_progress: Progress) -> None:
        redis_server.kill()

    with pytest.raises(StorageUnavailableError):
        await verify_divided(log, task, 2, kill)

    assert active_children() == []


def test_a_small_ledger_is_not_worth_a_second_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))

    assert processes_for(0) == processes_for(ENTITIES_EACH_MIN) == 1
    assert processes_for(3 * ENTITIES_EACH_MIN) == 3
    assert processes_for(10**9) == PROCESSES_MAX
