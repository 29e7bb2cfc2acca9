"""A backup as a file: a tar archive that any tool opens.

============== =====================================================================================================
``ledger.rdb`` the server's data at one moment, as any Redis or Valkey of its version or a newer one loads them
``manifest.json`` what they are (:class:`Manifest`)
``SHA256SUMS`` digests of both, for ``sha256sum -c`` and for us
============== =====================================================================================================

It holds what the server holds: hashes of CVCs and of API keys, sealed phone numbers. The keys to them, pepper and data
keys, are not in it.
"""

import errno
import hashlib
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from persistence.errors import UNDECODABLE

FORMAT: Final = 1
"""Raised when this version could not read what an older one has written."""
DATA: Final = "ledger.rdb"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
NAMES: Final = [DATA, MANIFEST, SUMS]
"""What is in a backup, in this order."""
MANIFEST_BYTES_MAX: Final = 4 * 1024 * 1024
"""It grows with the partitions of the topics: 100 000 of them fit in."""
_NO_TAR: Final = (ValueError, OverflowError, RecursionError)
"""What the standard library raises for some headers that make no sense, beside its own errors."""
_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK_BYTES: Final = 1024 * 1024
"""Read and written at once: large enough for a disk, and small beside what we are."""


class ArchiveError(OSError):
    """The file is no backup, or is not what was written. The message says what is wrong."""


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a backup holds.

    ``made_at``: milliseconds, when the server was asked; what it acknowledged before is in it. ``vault``: the print of
    the first pepper that belongs to it; ``peppers``: those of the later ones that are in use, by number.
    """

    format: int = FORMAT
    program: str
    server: str
    made_at: int
    prefix: str
    database: int
    partitions: int
    vault: str | None
    inbox: dict[str, dict[int, int]] | None
    """By topic and partition, up to where orders and payments are in it for certain; ``None`` if Kafka was away."""
    published: dict[str, dict[int, int]] | None
    """By topic and partition, where our topics ended shortly before."""
    data_bytes: int = 0
    data_sha256: str = ""
    peppers: dict[int, str] = {}


async def write_archive(
    path: Path, data: AsyncIterator[bytes], manifest: Manifest, on_progress: Callable[[int], None]
) -> Manifest:
    """Write a backup. The file is there once it is whole and on disk; nothing is overwritten.

    Args:
        path: of the file.
        data: what the server sends.
        manifest: without size and digest of the data.
        on_progress: is told how many bytes have come.

    Returns:
        The manifest as it is in the file.

    Raises:
        FileExistsError: there is a file of this name.
    """
    _require_new(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            whole = await _write(file, data, manifest, on_progress)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # a link fails where a rename would overwrite
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return whole


def _require_new(path: Path) -> None:
    """Say so before hours of work, if the name is taken."""
    if path.exists():
        raise FileExistsError(f"{path} exists already; a backup never overwrites another one")


async def _write(
    file: IO[bytes], data: AsyncIterator[bytes], manifest: Manifest, on_progress: Callable[[int], None]
) -> Manifest:
    file.write(bytes(_BLOCK))  # the header has to tell the size, which is not known yet
    digest, size = hashlib.sha256(), 0
    async for piece in data:
        file.write(piece)
        digest.update(piece)
        size += len(piece)
        on_progress(size)
    file.write(_filling(size))
    whole = replace(manifest, data_bytes=size, data_sha256=digest.hexdigest())
    text = msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"
    sums = f"{whole.data_sha256}  {DATA}\n{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()
    for name, content in ((MANIFEST, text), (SUMS, sums)):
        file.write(_header(name, len(content), manifest.made_at) + content + _filling(len(content)))
    file.write(bytes(2 * _BLOCK))
    file.seek(0)
    file.write(_header(DATA, size, manifest.made_at))
    return whole


def extract(path: Path, target: Path) -> Manifest:
    """Write the data of a backup to ``target``, and return what they are.

    Raises:
        ArchiveError: it is no backup, or it was changed; ``target`` is then of no use.
        FileExistsError: there is a file ``target``.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            data, text, sums = _members(path, archive)
            digest = _copy(_opened(archive, data), target)
            manifest = _small(archive, text)
            expected = f"{digest}  {DATA}\n{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
            if _small(archive, sums) != expected:
                raise ArchiveError(f"{path} is not what was written: its digests differ. Take another backup.")
    except (tarfile.TarError, *_NO_TAR) as error:
        raise ArchiveError(f"{path} is no backup of gift-ledger, or it is cut off: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # a header that names a place where no file can have anything
        raise ArchiveError(f"{path} is no backup of gift-ledger: its headers make no sense") from error
    return _manifest(path, manifest)


def _members(path: Path, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The three files. No more headers than theirs are looked at, and none may stand for more bytes than are there."""
    found = list(islice(archive, len(NAMES) + 1))
    if [one.name for one in found] != NAMES or not all(one.isreg() and not one.issparse() for one in found):
        raise ArchiveError(f"{path} is no backup of gift-ledger")
    return found


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except UNDECODABLE as error:
        raise ArchiveError(f"{path} says nothing of itself that can be read: {error}") from error
    if manifest.format != FORMAT:
        raise ArchiveError(f"{path} has format {manifest.format}, and this version reads {FORMAT}")
    return manifest


def _copy(source: IO[bytes], target: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while piece := source.read(_CHUNK_BYTES):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _small(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return _opened(archive, member).read(MANIFEST_BYTES_MAX)


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = archive.extractfile(member)
    if opened is None:
        raise ArchiveError(f"{archive.name!r} is no backup of gift-ledger")
    return opened


def _header(name: str, size: int, made_at: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, made_at // 1_000, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def _filling(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
