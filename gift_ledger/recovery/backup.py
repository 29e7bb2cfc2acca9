"""Writes a backup while everything runs."""

import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import time_ns

from gateway.offsets import Offsets, TopicsError, published_so_far, read_so_far
from gift_ledger.cli.probes import NoLedgerError
from gift_ledger.settings import Settings
from persistence.archive import Manifest, write_archive
from persistence.checks import require_safe
from persistence.errors import StorageUnsafeError
from persistence.pepper_prints import PepperPrints
from persistence.redis_client import Client, connect
from persistence.redis_errors import answered
from persistence.redis_keys import meta_key
from persistence.redis_meta import CLOSED
from persistence.replication import dump

_logger = logging.getLogger(__name__)


async def backup(settings: Settings, file: Path, on_progress: Callable[[int], None]) -> Manifest:
    """Write all that the ledger is, as it was at one moment.

    Args:
        settings: where the ledger and Kafka are.
        file: is made; nothing is overwritten.
        on_progress: is told how many bytes have come.

    Raises:
        NoLedgerError: there is no ledger.
        StorageError: the server does not answer, or gives no copy of its data.
        OSError: the file cannot be written, or is there already.
    """
    storage = settings.storage()
    client = connect(storage.redis_url, connections_max=1, timeout_seconds=storage.timeout_seconds)
    try:
        await require_safe(client, storage.replicas, allow_unsafe=storage.allow_unsafe)
        manifest = await _manifest(client, settings)
    finally:
        await client.aclose()
    data = dump(storage.redis_url, timeout_seconds=storage.timeout_seconds)
    return await write_archive(file, data, manifest, on_progress)


async def _manifest(client: Client, settings: Settings) -> Manifest:
    """What is known before the data come. Offsets are read first: what they count is then in the data for certain."""
    inbox, published = await _offsets(settings)
    prefix = settings.storage().prefix
    meta = await answered(client.execute_command("HGETALL", meta_key(prefix)))
    partitions, vault, closed = (meta.get(name.encode()) for name in ("partitions", "vault", CLOSED))
    if closed is not None:
        raise StorageUnsafeError(f"the ledger is closed: {closed.decode()}")
    if partitions is None:
        raise NoLedgerError(f"There is no ledger {prefix!r} on this Redis: correct redis_url or redis_prefix.")
    info = await answered(client.execute_command("INFO", "server"))
    named = await answered(client.execute_command("CLIENT INFO"))
    return Manifest(
        program=_program(),
        server=f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version', '?'))}",
        made_at=time_ns() // 1_000_000,
        prefix=prefix,
        database=int(_field(named, "db")),
        partitions=int(partitions),
        vault=None if vault is None else vault.decode(),
        peppers=PepperPrints.of(meta).used,
        inbox=inbox,
        published=published,
    )


async def _offsets(settings: Settings) -> tuple[Offsets | None, Offsets | None]:
    if settings.kafka_bootstrap is None:
        return None, None
    try:
        return await read_so_far(settings.bridge()), await published_so_far(settings.bridge())
    except TopicsError as error:
        # a backup must not depend on Kafka: a restore then has orders and payments read from their beginning
        _logger.warning("the backup does not say how far Kafka was: %s", error)
        return None, None


def _field(told: object, name: str) -> str:
    """One field of ``CLIENT INFO``, which redis-py parses or leaves as it is."""
    if isinstance(told, dict):
        return str(told[name])
    text = told.decode() if isinstance(told, bytes) else str(told)
    return dict(word.partition("=")[::2] for word in text.split())[name]


def _program() -> str:
    try:
        return f"gift-ledger {version('gift-ledger')}"
    except PackageNotFoundError:
        return "gift-ledger"
