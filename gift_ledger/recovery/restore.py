"""Puts a backup back into an empty place, and compares it with what subscribers know before anybody may open it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from actors.host import wall_clock
from gateway.bridge_settings import BridgeSettings
from gateway.offsets import AGAIN_SECONDS, TopicsError, read_again, read_so_far
from gateway.reconciliation import ReconciliationReport, reconcile
from gift_ledger.acting import Acting
from gift_ledger.embedded.folder import locked
from gift_ledger.embedded.valkey import EmbeddedValkey
from gift_ledger.recovery.copy import TIMEOUT_SECONDS, Copy, opened
from gift_ledger.recovery.lines import LostLine, keep_lines
from gift_ledger.settings import Settings
from ledger.identifiers import order_entity
from ledger.money import rfc3339
from persistence.acts import ActStore, RedisActStore
from persistence.archive import Manifest
from persistence.checks import require_safe
from persistence.copying import claim, copy_keys, open_copy, require_ours
from persistence.errors import DamagedLogError, StorageUnsafeError
from persistence.fence import shut
from persistence.forgetting import Forgotten, Journal, forget
from persistence.pepper_prints import require_used
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from persistence.rotation import tried
from persistence.vault import Vault

CONNECTIONS_MAX: Final = 2
"""To each of the two servers: one reads while the other writes."""
COPYING: Final = "copying"
COMPARING: Final = "comparing"

KAFKA_SECONDS_MAX: Final = 60.0
"""How long a restore that has begun bears with a Kafka that does not answer: one that is broken off begins anew."""

_logger = logging.getLogger(__name__)
T = TypeVar("T")
OnStep = Callable[[str, int, int | None], None]
"""Is told what is done, how much of it, and of how much if that is known."""


class Restored(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was put back."""

    manifest: Manifest
    keys: int
    """Keys that were written."""
    secrets: bool
    """Whether the secrets file that belongs to the ledger is in its place."""
    forgotten: int | None
    """Orders of which recipients were forgotten again; ``None`` if the data folder has no list of them."""
    reconciliation: ReconciliationReport | None
    """How it compares with Kafka; ``None`` if that was not asked for. Certificates that are lost in part are shut."""
    lines: tuple[LostLine, ...] = ()
    """Order lines that lost certificates are on: their orders know it, and nobody sells them again."""
    acts: int | None = None
    """Entries of administrative acts that the backup had; ``None`` if they are damaged. Later ones are not in it."""


async def restore(settings: Settings, file: Path, program: Path | None, on_step: OnStep, *, compare: bool) -> Restored:
    """Put a backup back. Until all is done nobody can open the ledger.

    Args:
        settings: where to: a server, or without one the embedded server's folder; and where Kafka is.
        file: the backup.
        program: the server that reads it; by default the Valkey that comes with us.
        on_step: is told how far it is.
        compare: with what Kafka holds; and have orders and payments read again from where the backup had them.

    Raises:
        ArchiveError: it is no backup, or it was changed.
        TargetInUseError: there is something in the place.
        FolderBusyError: a stack runs on the data folder.
        StorageUnsafeError: the backup belongs to other secrets or another prefix, the secrets file does not open its
            data keys, or the server would lose data.
        TopicsError: Kafka does not answer, or the inbox runs.
    """
    journal = Journal.of(settings.data_path)
    forgotten = journal.read() if journal.path.exists() else None
    bridge = settings.bridge() if compare else None
    if bridge is not None:
        await read_so_far(bridge)  # whether it answers, before anything is written
    async with opened(file, program) as copy, _target(settings) as url:
        secrets = _secrets(settings, copy.manifest)
        source = connect(copy.storage.redis_url, connections_max=CONNECTIONS_MAX, timeout_seconds=TIMEOUT_SECONDS)
        target = connect(url, connections_max=CONNECTIONS_MAX, timeout_seconds=TIMEOUT_SECONDS)
        try:
            await require_safe(target, 0, allow_unsafe=settings.redis_allow_unsafe)
            if secrets:
                await _require_opened(source, copy.manifest, settings.secrets_file, forgotten or ())
            return await _restore(source, target, copy, bridge, on_step, secrets=secrets, forgotten=forgotten)
        finally:
            await source.aclose()
            await target.aclose()


async def _restore(
    source: Client,
    target: Client,
    copy: Copy,
    bridge: BridgeSettings | None,
    on_step: OnStep,
    *,
    secrets: bool,
    forgotten: Sequence[Forgotten] | None,
) -> Restored:
    manifest = copy.manifest
    await claim(target, manifest.prefix)
    keys = await copy_keys(source, target, manifest.prefix, lambda done: on_step(COPYING, done, None))
    log, report = RedisLog(target, partitions=manifest.partitions, prefix=manifest.prefix), None
    if bridge is not None:
        offsets = _places(manifest.inbox or {}, await _patiently(lambda: read_so_far(bridge)))
        await _patiently(lambda: read_again(bridge, offsets))
        report = await _patiently(lambda: reconcile(log, bridge, lambda done, total: on_step(COMPARING, done, total)))
    await require_ours(target, manifest.prefix, keys)
    store = RedisActStore(target, manifest.prefix)
    async with Acting(store, "restore", backupMadeAt=rfc3339(manifest.made_at)) as acting:
        acts = await _noted(store, acting)
        lines: list[LostLine] = []
        if report is not None:
            lines = await keep_lines(log, report.lost, wall_clock())
            await shut(target, manifest.prefix, log, {one.code: one.published for one in report.lost})
            acting.came_to(shut=len(report.lost), lines=len(lines))
        for one in forgotten or ():
            # also of orders that the backup has not heard of: they are read again from Kafka
            await forget(log, one)
        await open_copy(source, target, manifest.prefix)
    return Restored(
        manifest=manifest,
        keys=keys,
        secrets=secrets,
        forgotten=None if forgotten is None else len({one.order_id for one in forgotten}),
        reconciliation=report,
        lines=tuple(lines),
        acts=acts,
    )


async def _noted(store: ActStore, acting: Acting) -> int | None:
    """Note the restore behind the administrative acts of the backup; gives how many those are.

    ``None``: they are damaged, which keeps nobody from having his ledger back; ``verify`` finds it.
    """
    try:
        acts = (await store.end()).version
        await acting.begin(backupActs=acts)
    except DamagedLogError as error:
        _logger.warning("The restore is not noted: %s", error)
        return None
    return acts


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Do something that needs Kafka, and can be done twice, until Kafka has answered.

    Raises:
        TopicsError: it has not for too long.
    """
    deadline = asyncio.get_running_loop().time() + KAFKA_SECONDS_MAX
    while True:
        try:
            return await step()
        except TopicsError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _logger.warning("%s It is tried again.", error)
            await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def _target(settings: Settings) -> AsyncIterator[str]:
    """Where the ledger goes: its server, or the embedded one, which nobody else runs meanwhile."""
    if settings.redis_url is not None:
        yield settings.storage().redis_url
        return
    async with (
        locked(settings.data_path) as lock,
        EmbeddedValkey(settings.data_path / "valkey", settings.run_path, lock) as server,
    ):
        yield server.fast_url


def _secrets(settings: Settings, manifest: Manifest) -> bool:
    """Whether the secrets file is there; it must not be another ledger's."""
    if manifest.prefix != settings.redis_prefix:
        raise StorageUnsafeError(
            f"the backup is of {manifest.prefix!r}, and redis_prefix is {settings.redis_prefix!r}: correct it."
        )
    if not settings.secrets_file.exists():
        return False
    vault = Vault.load(settings.secrets_file)
    fingerprint = vault.fingerprint
    if manifest.vault not in {None, fingerprint}:
        raise StorageUnsafeError(
            f"the backup was made with the pepper {manifest.vault}, and {settings.secrets_file} has {fingerprint}: put "
            "the secrets file back that belongs to it, or no CVC would ever be right."
        )
    require_used(manifest.peppers, vault.pepper_prints)
    return True


async def _require_opened(source: Client, manifest: Manifest, path: Path, forgotten: Sequence[Forgotten]) -> None:
    """See that the secrets file opens the data keys of the backup: its pepper may be right and its sealing keys not.

    Those that will be forgotten again need not be opened.
    """
    log = RedisLog(source, partitions=manifest.partitions, prefix=manifest.prefix)
    passed = {(order_entity(one.order_id), name) for one in forgotten for name in one.names}
    found = await tried(log, Vault.load(path), passed=passed)
    if found.unopened:
        raise StorageUnsafeError(
            f"with {path} there are {found}: no SMS could be sent, and no line of these issued. Put the file back as "
            "it was when the backup was made. If it is lost for good, move this one away meanwhile."
        )


def _places(kept: Mapping[str, Mapping[int, int]], now: Mapping[str, Mapping[int, int]]) -> dict[str, dict[int, int]]:
    """From where the inputs are read again: where the backup had them, and partitions that it has not from their begin.

    A topic that lacks one of the backup's partitions was made anew, and is read whole.
    """
    places = {}
    for topic, partitions in now.items():
        had = kept.get(topic, {})
        places[topic] = {one: had.get(one, 0) if had.keys() <= partitions.keys() else 0 for one in partitions}
    return places
