"""A proof beside a service that goes on: writers and a relay do not rest while the log is read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from persistence.log import partition_of
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import VerificationReport, verify
from tests.contract.histories import NOON, Writer, acknowledge_all
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

PROOFS = 3
CERTIFICATES = 30


@pytest.fixture
async def log(redis_server: RealServer) -> AsyncIterator[RedisLog]:
    opened = await RedisLog.open(StorageSettings(redis_url=redis_server.url, partitions=8, timeout_seconds=60.0))
    yield opened
    await opened.close()


async def proof(log: RedisLog) -> VerificationReport:
    return await verify(log, None, lambda _: None, clock=lambda: NOON)


async def serve(log: RedisLog, name: str) -> None:
    """Sell, spend and save snapshots until cancelled."""
    writer = Writer(log)
    turn = 0
    while True:
        turn += 1
        code = f"GC-{name}-{turn % CERTIFICATES:05d}"
        if code not in writer.certificates:
            await writer.sell(f"SO-{name}-{turn}", code, snapshot=turn % 2 == 0)
        elif writer.certificates[code][0].available:
            await writer.spend(code, 1, 3, snapshot=turn % 4 == 0)


async def relay(log: RedisLog) -> None:
    """Take publications away until cancelled."""
    while True:
        for partition in range(log.partitions):
            page = await log.outbox(partition, 7)
            await log.acknowledge(partition, page.head, len(page.entries))


async def test_nothing_is_found_beside_a_service_that_writes(log: RedisLog) -> None:
    tasks = [asyncio.create_task(serve(log, name)) for name in ("ONE", "TWO")] + [asyncio.create_task(relay(log))]

    reports = [await proof(log) for _ in range(PROOFS)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [report.findings for report in reports] == [()] * PROOFS
    assert [report.undecided for report in reports] == [()] * PROOFS
    assert reports[0].records < reports[-1].records
    assert (await proof(log)).findings == ()


async def test_what_is_wrong_is_found_beside_a_service_that_writes(log: RedisLog) -> None:
    writer = Writer(log)
    await writer.sell("SO-1", "GC-00000001")
    await acknowledge_all(log)
    entity, partition = "c:GC-00000001", partition_of("c:GC-00000001", log.partitions)
    await log._client.execute_command("ZREM", log._keys.timers[partition], entity)
    await log._client.execute_command("RPOP", log._keys.logs[partition_of("o:SO-1", log.partitions)] + "o:SO-1")
    tasks = [asyncio.create_task(serve(log, "ONE")), asyncio.create_task(relay(log))]

    report = await proof(log)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert {finding.entity for finding in report.findings} == {entity, "o:SO-1"}
