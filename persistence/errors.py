"""What can go wrong with storage, as the rooms above see it."""

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they have to be, not UTF-8, or nested too deeply."""


class StorageError(Exception):
    """Base. ``retryable``: whether the same call may succeed later."""

    retryable = False


class StorageUnavailableError(StorageError):
    """The log did not answer. Whether a write was made is unknown: read before anything is decided."""

    retryable = True


class StorageRefusedError(StorageError):
    """The log answered that it writes nothing (read-only, full, still loading). Nothing was changed."""

    retryable = True


class StorageUnsafeError(StorageError):
    """The server would lose data, or holds data of another ledger. The message says which setting to change."""


class DamagedLogError(StorageError):
    """What is stored cannot be what was written: the message says which entity and version."""


class SnapshotUnreadableError(StorageError):
    """A snapshot was written for another shape of states: load the entity without snapshots. Nothing is lost."""
