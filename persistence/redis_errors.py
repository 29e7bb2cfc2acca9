"""The one place where the errors of redis-py become ours.

What matters is whether something may have been written. Where that is not certain the answer is
:class:`~persistence.errors.StorageUnavailableError`: the caller then reads again before it goes on, which is never
wrong.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import redis.exceptions as r

from persistence.errors import DamagedLogError, StorageError, StorageRefusedError, StorageUnavailableError

Answer = TypeVar("Answer")

OF_CLASS: Final[dict[type[BaseException], type[StorageError]]] = {
    # no answer, or one that says nothing about what was done
    r.RedisError: StorageUnavailableError,
    r.ConnectionError: StorageUnavailableError,
    r.TimeoutError: StorageUnavailableError,
    r.InvalidResponse: StorageUnavailableError,
    r.ResponseError: StorageUnavailableError,
    r.ClusterError: StorageUnavailableError,
    r.RedisClusterException: StorageUnavailableError,
    r.SlotNotCoveredError: StorageUnavailableError,
    r.ModuleError: StorageUnavailableError,
    r.NoSuchFieldsetError: StorageUnavailableError,
    r.ChildDeadlockedError: StorageUnavailableError,
    # a user who may not do everything that a script does is stopped in the middle of it
    r.NoPermissionError: StorageUnavailableError,
    OSError: StorageUnavailableError,
    asyncio.IncompleteReadError: StorageUnavailableError,
    # answered before anything was done
    r.AuthenticationError: StorageRefusedError,
    r.AuthenticationWrongNumberOfArgsError: StorageRefusedError,
    r.AuthorizationError: StorageRefusedError,
    r.ExternalAuthProviderError: StorageRefusedError,
    r.BusyLoadingError: StorageRefusedError,
    r.OutOfMemoryError: StorageRefusedError,
    r.ReadOnlyError: StorageRefusedError,
    r.NoScriptError: StorageRefusedError,
    r.ExecAbortError: StorageRefusedError,
    r.ClusterDownError: StorageRefusedError,
    r.MasterDownError: StorageRefusedError,
    r.ClusterCrossSlotError: StorageRefusedError,
    r.AskError: StorageRefusedError,
    r.MovedError: StorageRefusedError,
    r.TryAgainError: StorageRefusedError,
    # never sent
    r.MaxConnectionsError: StorageRefusedError,
    r.DataError: StorageRefusedError,
    r.WatchError: StorageRefusedError,
    r.PubSubError: StorageRefusedError,
    r.LockError: StorageRefusedError,
    r.LockNotOwnedError: StorageRefusedError,
    r.CrossSlotTransactionError: StorageRefusedError,
    r.InvalidPipelineStack: StorageUnavailableError,
    r.IncorrectPolicyType: StorageRefusedError,
}
"""By class, the nearest one in the order of inheritance."""

OF_WORD: Final[dict[str, type[StorageError]]] = {
    "WRONGTYPE": DamagedLogError,
    "READONLY": StorageRefusedError,
    "OOM": StorageRefusedError,
    "LOADING": StorageRefusedError,
    "MISCONF": StorageRefusedError,
    "NOREPLICAS": StorageRefusedError,
    "CLUSTERDOWN": StorageRefusedError,
    "MASTERDOWN": StorageRefusedError,
    "BUSY": StorageRefusedError,
    "NOAUTH": StorageRefusedError,
    "WRONGPASS": StorageRefusedError,
    "NOSCRIPT": StorageRefusedError,
    "EXECABORT": StorageRefusedError,
}
"""By the word with which a server begins its answer; goes before the class, which redis-py leaves general for most."""

FOREIGN: Final = tuple(OF_CLASS)


def translate(error: BaseException) -> StorageError:
    """Our error for one of redis-py's, with the server's own words in it."""
    text = str(error) or type(error).__name__
    ours = OF_WORD.get(text.split(" ", 1)[0]) if isinstance(error, r.ResponseError) else None
    if ours is None:
        ours = next(OF_CLASS[kind] for kind in type(error).__mro__ if kind in OF_CLASS)
    return ours(f"the log's server: {text}")


async def answered(call: Awaitable[Answer]) -> Answer:
    """What a call to Redis answers.

    Raises:
        StorageError: whichever fits redis-py's own error.
    """
    try:
        return await call
    except FOREIGN as error:
        raise translate(error) from error
