"""The doors from the command line to what runs elsewhere, each opened only when a command needs it.

Tests put fakes in their place. The imports stand inside, because together they take seconds: ``--help`` has to answer
at once.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from actors.reports import ActorReport
from gateway.bridge_settings import BridgeSettings
from gift_ledger.bench.generator import Load
from gift_ledger.bench.look import Look
from gift_ledger.cli.probes import (
    FoundLedger,
    NoLedgerError,
    connect,
    find_ledger,
    kafka_topics,
    readiness,
    redis_time_ms,
)
from gift_ledger.cli.production_probes import RedisFacts, TopicFacts, redis_facts, topic_facts
from gift_ledger.endpoints import Endpoints
from gift_ledger.settings import Settings
from ledger.policy import Policy
from persistence.log import Log
from persistence.settings import StorageSettings

if TYPE_CHECKING:
    from gateway.dead_letter_desk import DeadLetterDesk
    from gateway.readiness import Readiness
    from gateway.reconciliation import ReconciliationReport
    from gift_ledger.recovery.copy import Copy
    from gift_ledger.recovery.restore import Restored
    from persistence.acts import ActStore
    from persistence.archive import Manifest
    from persistence.codes import CodeStore
    from persistence.keys import KeyStore
    from persistence.verification import OnProgress, VerificationReport

Ready = Callable[[Endpoints], Awaitable[int | None]]
"""Called once a stack is up. What it returns, if not ``None``, stops the stack and is the exit code."""

Role = Callable[[Settings], Awaitable[int]]
"""Runs until it is told to stop; returns the exit code."""


async def open_log(settings: StorageSettings) -> Log:
    """The log in Redis, to be looked at: none is made where there is none.

    Raises:
        NoLedgerError: there is none.
        StorageError: the server does not answer, or would lose data.
    """
    from persistence.redis_log import RedisLog

    if await find_ledger(settings) is None:
        raise NoLedgerError(
            f"There is no ledger {settings.prefix!r} on this Redis: start the service first, or correct redis_url or "
            "redis_prefix."
        )
    return await RedisLog.open(settings)


async def open_keys(settings: StorageSettings) -> KeyStore:
    """The clients' keys in Redis."""
    from persistence.keys import RedisKeyStore

    return RedisKeyStore(settings.redis_url, settings.prefix, timeout_seconds=settings.timeout_seconds)


async def open_codes(settings: StorageSettings) -> CodeStore:
    """The imported codes, beside a ledger that is there and open.

    Raises:
        NoLedgerError: there is none.
        StorageError: the server does not answer, would lose data, or a restore is under way.
    """
    from persistence.codes import RedisCodeStore

    log = await open_log(settings)
    await log.close()
    return RedisCodeStore.at(settings)


async def open_acts(settings: StorageSettings) -> ActStore:
    """The administrative acts in Redis."""
    from persistence.acts import RedisActStore

    return RedisActStore.at(settings.redis_url, settings.prefix, settings.timeout_seconds)


async def actor_reports(settings: Settings) -> list[ActorReport]:
    """What the running actors say of themselves."""
    _prepare_ray(settings)
    from gift_ledger.roles import actor_reports

    return await actor_reports(settings)


def open_dead_letters(settings: BridgeSettings) -> AbstractAsyncContextManager[DeadLetterDesk]:
    """The topic of dead letters."""
    from gateway.dead_letter_desk import DeadLetterDesk

    return DeadLetterDesk(settings)


async def run_up(settings: Settings, ready: Ready) -> int:
    """The whole stack."""
    _prepare_ray(settings)
    from gift_ledger.up import run_up

    return await run_up(settings, ready)


async def run_gateway(settings: Settings) -> int:
    """The HTTP gateway."""
    _prepare_ray(settings)
    from gift_ledger.roles import run_gateway

    return await run_gateway(settings)


async def run_shards(settings: Settings) -> int:
    """The shards of this machine."""
    _prepare_ray(settings)
    from gift_ledger.roles import run_shards

    return await run_shards(settings)


async def run_bridge(settings: Settings) -> int:
    """The bridge to Kafka and SMS."""
    _prepare_ray(settings)
    from gift_ledger.roles import run_bridge

    return await run_bridge(settings)


async def play_demo(data_dir: Path, *, expect_wrong: bool) -> int:
    """The scenarios against the stack that runs on ``data_dir``: a program of its own, as its counterparts are."""
    command = [sys.executable, "-m", "examples.demo", "--data-dir", str(data_dir)]
    process = await asyncio.create_subprocess_exec(*command, *(["--expect-wrong"] if expect_wrong else []))
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


async def bench(look: Look) -> Load:
    """A quick look at how fast a service is."""
    from gift_ledger.bench.session import bench

    return await bench(look)


def _prepare_ray(settings: Settings) -> None:
    from gift_ledger.ray_environment import prepare

    for name in ("ray._private.worker", "ray._private.authentication"):
        # they warn of what is as it should be: a token is asked for, and signals are ours
        logging.getLogger(name).setLevel(logging.ERROR)
    prepare(os.environ, settings.ray_address)


async def verify(
    log: Log,
    storage: StorageSettings,
    entities: Sequence[str] | None,
    on_progress: OnProgress,
    policy: Policy,
    processes: int | None,
) -> VerificationReport:
    """Proof of the log at ``storage``; of a whole one in several processes, where that is worth it."""
    from persistence.division import Task, processes_for, verify_divided
    from persistence.verification import verify

    if entities is None:
        processes = processes or processes_for(sum(await log.entity_counts()))
        if processes > 1:
            return await verify_divided(log, Task(storage=storage, policy=policy), processes, on_progress)
    return await verify(log, entities, on_progress, policy=policy)


def copy(backup: Path, server: Path | None) -> AbstractAsyncContextManager[Copy]:
    """A backup on a server of its own."""
    from gift_ledger.recovery.copy import opened

    return opened(backup, server)


def reconciliation(
    log: Log, settings: BridgeSettings, on_progress: Callable[[int, int], None], *, republish: bool
) -> Awaitable[ReconciliationReport]:
    """The log beside what Kafka's topics hold."""
    from gateway.reconciliation import reconcile

    return reconcile(log, settings, on_progress, republish=republish)


def backup(settings: Settings, file: Path, on_progress: Callable[[int], None]) -> Awaitable[Manifest]:
    """Writes a backup."""
    from gift_ledger.recovery.backup import backup

    return backup(settings, file, on_progress)


def restore(
    settings: Settings,
    file: Path,
    server: Path | None,
    on_step: Callable[[str, int, int | None], None],
    *,
    compare: bool,
) -> Awaitable[Restored]:
    """Puts a backup back."""
    from gift_ledger.recovery.restore import restore

    return restore(settings, file, server, on_step, compare=compare)


class Doors(Struct, frozen=True, kw_only=True):
    """All of them."""

    log: Callable[[StorageSettings], Awaitable[Log]] = open_log
    keys: Callable[[StorageSettings], Awaitable[KeyStore]] = open_keys
    codes: Callable[[StorageSettings], Awaitable[CodeStore]] = open_codes
    acts: Callable[[StorageSettings], Awaitable[ActStore]] = open_acts
    verify: Callable[..., Awaitable[VerificationReport]] = verify
    copy: Callable[[Path, Path | None], AbstractAsyncContextManager[Copy]] = copy
    reconcile: Callable[..., Awaitable[ReconciliationReport]] = reconciliation
    backup: Callable[[Settings, Path, Callable[[int], None]], Awaitable[Manifest]] = backup
    restore: Callable[..., Awaitable[Restored]] = restore
    reports: Callable[[Settings], Awaitable[list[ActorReport]]] = actor_reports
    dead_letters: Callable[[BridgeSettings], AbstractAsyncContextManager[DeadLetterDesk]] = open_dead_letters
    up: Callable[[Settings, Ready], Awaitable[int]] = run_up
    gateway: Role = run_gateway
    shards: Role = run_shards
    bridge: Role = run_bridge
    demo: Callable[..., Awaitable[int]] = play_demo
    ledger: Callable[[StorageSettings], Awaitable[FoundLedger | None]] = find_ledger
    ready: Callable[[str, str], Awaitable[Readiness]] = readiness
    connect: Callable[..., Awaitable[None]] = connect
    redis_time: Callable[[StorageSettings], Awaitable[int]] = redis_time_ms
    topics: Callable[[BridgeSettings], Awaitable[dict[str, int]]] = kafka_topics
    redis_facts: Callable[[StorageSettings], Awaitable[RedisFacts]] = redis_facts
    topic_facts: Callable[[BridgeSettings], Awaitable[dict[str, TopicFacts]]] = topic_facts
    bench: Callable[[Look], Awaitable[Load]] = bench
