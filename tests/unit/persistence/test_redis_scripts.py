"""How scripts are run: loaded once, and confirmed by replicas where that is asked for."""

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import pytest
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import NoScriptError

from persistence.errors import StorageRefusedError, StorageUnavailableError
from persistence.redis_client import Word
from persistence.redis_scripts import Script, Scripts

UNKNOWN = NoScriptError("NOSCRIPT No matching script.")


class Scripted:
    """A client, and its own pipeline, that gives one answer after the other."""

    def __init__(self, *answers: object) -> None:
        self.sent: list[Sequence[Word]] = []
        self._answers = deque(answers)
        self._queued: list[Sequence[Word]] = []

    async def execute_command(self, *words: Word) -> Any:  # noqa: ANN401 - as the command answers
        self.sent.append(words)
        return self._answer()

    def pipeline(self, transaction: bool) -> "_Piped":  # noqa: FBT001 - redis-py's own signature
        assert not transaction
        return _Piped(self)

    async def aclose(self) -> None:
        raise NotImplementedError

    def _answer(self) -> object:
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Piped:
    def __init__(self, client: Scripted) -> None:
        self._client = client
        self._queued: list[Sequence[Word]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queued.clear()

    def execute_command(self, *words: Word) -> object:
        self._queued.append(words)
        return self

    async def execute(self) -> list[Any]:
        self._client.sent += self._queued
        answer: Any = self._client._answer()
        return list(answer)


def scripts(client: Scripted, replicas: int = 0) -> Scripts:
    return Scripts(client, replicas=replicas, timeout_seconds=5.0)


def names(client: Scripted) -> list[Word]:
    return [words[0] for words in client.sent]


async def test_a_known_script_is_run_by_its_digest() -> None:
    client = Scripted(b"answer")
    run = scripts(client)

    assert await run.write(run.append, ("key",), (1, b"two")) == b"answer"

    assert client.sent == [("EVALSHA", run.append.digest, 1, "key", 1, b"two")]


async def test_a_script_that_the_server_does_not_know_is_loaded_and_run_again() -> None:
    client = Scripted(UNKNOWN, b"digest", b"answer")
    run = scripts(client)

    assert await run.read(run.load, ("key",)) == b"answer"

    assert names(client) == ["EVALSHA", "SCRIPT LOAD", "EVALSHA"]
    assert client.sent[1][1] == run.load.text


async def test_a_server_that_never_knows_it_wrote_nothing() -> None:
    run = scripts(Scripted(UNKNOWN, b"digest", UNKNOWN))

    with pytest.raises(StorageRefusedError):
        await run.write(run.append, ())


async def test_a_connection_lost_while_the_script_is_run_leaves_the_outcome_open() -> None:
    client = Scripted(NotConnectedError("gone"))
    run = scripts(client)

    with pytest.raises(StorageUnavailableError):
        await run.write(run.append, ())

    assert names(client) == ["EVALSHA"]  # never sent a second time


async def test_a_write_waits_for_replicas_on_its_own_connection() -> None:
    client = Scripted((b"answer", [1, 2]))
    run = scripts(client, replicas=2)

    assert await run.write(run.append, ("key",)) == b"answer"

    assert client.sent == [("EVALSHA", run.append.digest, 1, "key"), ("WAITAOF", 1, 2, 4_000)]


async def test_a_write_that_waits_loads_its_script_too() -> None:
    client = Scripted(UNKNOWN, b"digest", (None, [1, 1]))
    run = scripts(client, replicas=1)

    assert await run.write(run.append, ()) is None

    assert names(client) == ["EVALSHA", "WAITAOF", "SCRIPT LOAD", "EVALSHA", "WAITAOF"]


async def test_too_few_replicas_leave_the_outcome_open() -> None:
    run = scripts(Scripted((None, [1, 1])), replicas=2)

    with pytest.raises(StorageUnavailableError, match="1 of 2 replicas"):
        await run.write(run.append, ())


async def test_a_read_waits_for_nobody() -> None:
    client = Scripted([])
    run = scripts(client, replicas=2)

    assert await run.read(run.load, ()) == []

    assert names(client) == ["EVALSHA"]


@pytest.mark.parametrize("name", ["append", "load", "acknowledge", "message_retry", "message_settle", "writable"])
def test_every_script_declares_what_it_is(name: str) -> None:
    """With `#!lua` a server that is read-only or full refuses a script before it starts, and not in the middle."""
    assert Script(name).text.startswith("#!lua")
