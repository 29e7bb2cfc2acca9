"""Every error of redis-py becomes one of ours; what may have been written is never called refused."""

import asyncio
import inspect

import pytest
import redis.exceptions

from persistence.errors import DamagedLogError, StorageError, StorageRefusedError, StorageUnavailableError
from persistence.redis_errors import FOREIGN, OF_CLASS, OF_WORD, answered, translate

CLASSES = sorted(
    (one for _, one in inspect.getmembers(redis.exceptions, inspect.isclass) if issubclass(one, Exception)),
    key=lambda one: one.__name__,
)


def made(kind: type[Exception], text: str = "what the server said") -> Exception:
    error = kind.__new__(kind)
    error.args = (text,)
    return error


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_decided_about(kind: type[Exception]) -> None:
    """A new version of redis-py may bring a new one: decide whether something may have been written by then."""
    assert kind in OF_CLASS


@pytest.mark.parametrize("kind", [*CLASSES, OSError, ConnectionResetError, asyncio.IncompleteReadError])
async def test_no_error_comes_through_untranslated(kind: type[Exception]) -> None:
    async def fails() -> None:
        raise made(kind)

    with pytest.raises(StorageError) as caught:
        await answered(fails())

    assert isinstance(caught.value.__cause__, kind)


async def test_what_is_answered_comes_through() -> None:
    async def succeeds() -> int:
        return 7

    assert await answered(succeeds()) == 7


async def test_what_is_not_of_redis_is_left_alone() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await answered(fails())


@pytest.mark.parametrize(
    "kind",
    [
        redis.exceptions.ConnectionError,
        redis.exceptions.TimeoutError,
        ConnectionResetError,
        redis.exceptions.ResponseError,
    ],
)
def test_where_no_answer_came_the_outcome_is_unknown(kind: type[Exception]) -> None:
    assert type(translate(made(kind))) is StorageUnavailableError


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("WRONGTYPE Operation against a key", DamagedLogError),
        ("READONLY You can't write against a read only replica.", StorageRefusedError),
        ("OOM command not allowed", StorageRefusedError),
        ("MISCONF Errors writing to the AOF file", StorageRefusedError),
        ("NOREPLICAS Not enough good replicas to write.", StorageRefusedError),
        ("BUSY Redis is busy running a script", StorageRefusedError),
        ("ERR something", StorageUnavailableError),
    ],
)
def test_the_first_word_of_a_servers_answer_decides(word: str, ours: type[StorageError]) -> None:
    error = translate(redis.exceptions.ResponseError(word))

    assert type(error) is ours
    assert word in str(error)


def test_an_error_without_words_is_named() -> None:
    assert "TimeoutError" in str(translate(redis.exceptions.TimeoutError()))


def test_a_word_counts_only_from_a_server() -> None:
    assert type(translate(redis.exceptions.ConnectionError("OOM"))) is StorageUnavailableError


def test_only_what_may_be_tried_again_is_retryable() -> None:
    for kind in {*OF_CLASS.values(), *OF_WORD.values()}:
        assert kind.retryable is (kind is not DamagedLogError)
    assert OSError in FOREIGN
