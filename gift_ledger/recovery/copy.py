"""A backup on a server of its own, to be read: nobody else knows of it, and it is gone afterwards."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct

from gift_ledger.embedded.folder import locked
from gift_ledger.embedded.valkey import EmbeddedValkey, ValkeyError
from persistence.archive import ArchiveError, Manifest, extract
from persistence.settings import StorageSettings

TIMEOUT_SECONDS: Final = 60.0
"""Nobody waits for this server but us; the first answers may come while it is still at work."""
_BASE: Final = "appendonly.aof.1.base.rdb"
_NEXT: Final = "appendonly.aof.1.incr.aof"
_LAST_WORDS: Final = 3


class Copy(Struct, frozen=True, kw_only=True):
    """A backup that can be asked."""

    manifest: Manifest
    storage: StorageSettings


@asynccontextmanager
async def opened(backup: Path, program: Path | None) -> AsyncIterator[Copy]:
    """Start a server on the data of a backup; it needs as much memory as the ledger did.

    Args:
        backup: the file.
        program: the server; by default the Valkey that comes with us.

    Raises:
        ArchiveError: it is no backup, it was changed, or the server cannot read its data.
        OSError: the file cannot be read, or there is no room for its data in the folder of temporary files.
    """
    with TemporaryDirectory(prefix="gift-ledger-copy-") as name:
        folder = Path(name)
        data = folder / "valkey"
        files = data / "appendonlydir"
        files.mkdir(mode=0o700, parents=True)
        manifest = extract(backup, files / _BASE)
        # as the server itself leaves it after it has rewritten its append-only file
        (files / _NEXT).touch(mode=0o600)
        (files / "appendonly.aof.manifest").write_text(
            f"file {_BASE} seq 1 type b\nfile {_NEXT} seq 1 type i\n", encoding="ascii"
        )
        async with AsyncExitStack() as stack:
            lock = await stack.enter_async_context(locked(folder))
            server = EmbeddedValkey(data, folder / "run", lock, program)
            try:
                await stack.enter_async_context(server)
            except ValkeyError as error:
                raise ArchiveError(f"the server cannot read the data of {backup}: {_last_words(data)}") from error
            yield Copy(manifest=manifest, storage=_storage(server, manifest))


def _storage(server: EmbeddedValkey, manifest: Manifest) -> StorageSettings:
    return StorageSettings(
        redis_url=server.fast_url.removesuffix("0") + str(manifest.database),
        prefix=manifest.prefix,
        partitions=manifest.partitions,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def _last_words(data: Path) -> str:
    log = data / "valkey.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " ".join(lines[-_LAST_WORDS:]) or "it says nothing"
