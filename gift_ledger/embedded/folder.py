"""The data folder of a stack: locked for one stack at a time, with its secrets and the keys of its clients."""

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from gateway.access import Role
from gift_ledger.cli.keys import made_key
from gift_ledger.settings import Settings
from persistence.errors import UNDECODABLE
from persistence.keys import KeyStore, hash_key
from persistence.vault import Vault

LOCK_SECONDS_MAX: Final = 10.0
"""How long a stack that is just ending may take until the next one starts on its folder."""
TOKEN_BYTES: Final = 32

_POLL_SECONDS: Final = 0.05
"""Between two looks whether the folder is free."""

_logger = logging.getLogger(__name__)


class FolderBusyError(OSError):
    """Another stack runs on the folder."""


@asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[int]:
    """The folder, made if need be, for this stack alone; gives the lock's file descriptor.

    The lock holds until every process that has inherited the descriptor is gone: two servers on one append-only file
    would destroy it.

    Raises:
        FolderBusyError: another stack runs on it.
    """
    descriptor = _opened_lock(folder)
    try:
        await _lock(descriptor, folder)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened_lock(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


async def _lock(descriptor: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(LOCK_SECONDS_MAX):
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return
    except TimeoutError:
        raise FolderBusyError(
            f"another stack runs on {folder}: stop it, or give this one a folder of its own with GIFT_LEDGER_DATA_DIR"
        ) from None


def make_secrets(settings: Settings) -> Vault:
    """The vault of the stack; its file is made at the first start, as is the token of TCP channels where they are used.

    Raises:
        SecretsError: the file cannot be used.
    """
    path = settings.secrets_file
    vault = Vault.load(path) if path.exists() else Vault.create(path)
    token = Path(settings.actors().channel_token_path)
    if settings.channel == "tcp" and not token.exists():
        _write(token, secrets.token_hex(TOKEN_BYTES).encode())
    return vault


async def make_keys(store: KeyStore, path: Path, now: int) -> None:
    """See to it that ``path`` has one valid key for each role; those that are valid already stay, so clients go on.

    Args:
        store: keeps their hashes.
        path: of ``keys.json``, readable by the owner alone.
        now: milliseconds.
    """
    valid = {key.key_hash: key.role for key in await store.all() if not key.ended(now)}
    known = _read(path)
    keys = {}
    for role in Role:
        text = known.get(role.value, "")
        if valid.get(hash_key(text)) != role.value:
            text, key = made_key(f"local-{role.value}", role, None, now)
            await store.add(key)
        keys[role.value] = text
    if keys != known:
        _write(path, msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n")


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except UNDECODABLE:
        _logger.warning("%s cannot be read; all keys are made anew", path)
        return {}


def _write(path: Path, content: bytes) -> None:
    """Put a file there whole, for the owner alone."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)
