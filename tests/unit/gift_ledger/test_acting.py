"""An administrative act is noted before it takes effect, and again with what came of it."""

import asyncio
import logging
import os
import pwd
import socket
from pathlib import Path

import pytest

from gift_ledger import acting
from gift_ledger.acting import Acting, who
from persistence import acts
from persistence.acts import Act
from persistence.codec import Position
from persistence.errors import StorageUnavailableError
from persistence.memory_acts import MemoryActStore


class Away(MemoryActStore):
    """A store that goes away after some entries."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    async def append(self, stored: bytes, before: Position, after: Position) -> bool:
        if not self._left:
            raise StorageUnavailableError("the log's server: away")
        self._left -= 1
        return await super().append(stored, before, after)


async def do(store: MemoryActStore, error: Exception, *, begun: bool = True) -> None:
    """An act that fails."""
    async with Acting(store, "forget") as act:
        if begun:
            await act.begin()
        raise error


def entries(store: MemoryActStore) -> list[Act]:
    return [acts.decode(one) for one in store.stored]


async def test_both_entries_say_who_what_and_with_which_arguments() -> None:
    store = MemoryActStore()

    async with Acting(store, "keys rotate", overlap="7d", expires=None) as act:
        assert entries(store) == []
        await act.begin(client="till")
        (begun,) = entries(store)
        await act.begin(client="other")
        act.came_to(keyId="k_2", codes=3)

    first, second = entries(store)
    assert first == begun
    assert (first.number, first.intent, first.outcome) == (1, 1, "begun")
    assert first.facts == {"overlap": "7d", "client": "till"}
    assert (second.number, second.intent, second.outcome) == (2, 1, "done")
    assert second.facts == {"overlap": "7d", "client": "till", "keyId": "k_2", "codes": "3"}
    assert {(one.user, one.host, one.command) for one in (first, second)} == {(*who(), "keys rotate")}


async def test_what_never_began_is_not_noted() -> None:
    store = MemoryActStore()

    async with Acting(store, "keys revoke"):
        pass
    with pytest.raises(KeyError):
        await do(store, KeyError(), begun=False)

    assert entries(store) == []


async def test_what_failed_says_so_and_not_with_the_words_of_the_error() -> None:
    store = MemoryActStore()

    with pytest.raises(OSError, match="79990000001"):
        await do(store, OSError("+79990000001 cannot be forgotten"))

    _, failed = entries(store)
    assert (failed.outcome, failed.facts) == ("failed", {"error": "OSError"})


async def test_what_was_broken_off_says_so() -> None:
    store = MemoryActStore()
    begun = asyncio.Event()

    async def work() -> None:
        async with Acting(store, "codes import") as act:
            await act.begin()
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert [(one.outcome, one.facts) for one in entries(store)] == [
        ("begun", {}),
        ("failed", {"error": "CancelledError"}),
    ]


async def test_what_cannot_be_noted_is_not_done() -> None:
    with pytest.raises(StorageUnavailableError):
        await do(Away(0), KeyError())


async def test_an_outcome_that_cannot_be_noted_is_told_and_leaves_the_intent(caplog: pytest.LogCaptureFixture) -> None:
    store = Away(1)

    with caplog.at_level(logging.WARNING):
        async with Acting(store, "keys create") as act:
            await act.begin()

    assert [one.outcome for one in entries(store)] == ["begun"]
    assert "What came of `keys create` could not be noted: the log's server: away" in caplog.text


async def test_the_error_of_the_act_comes_before_that_of_noting_it() -> None:
    with pytest.raises(KeyError):
        await do(Away(1), KeyError())


# --- who --------------------------------------------------------------------------------------------------------------


def test_the_user_is_that_of_the_process_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setattr(acting, "LOGIN", Path("/nowhere"))

    assert who() == (pwd.getpwuid(os.getuid()).pw_name, socket.gethostname())


@pytest.mark.parametrize("text", ["4294967295", "", "nobody", str(os.getuid())])
def test_nobody_else_has_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "loginuid").write_text(text)
    monkeypatch.setattr(acting, "LOGIN", tmp_path / "loginuid")

    assert who()[0] == pwd.getpwuid(os.getuid()).pw_name


def test_who_has_logged_in_and_become_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "loginuid").write_text("54321987")
    monkeypatch.setattr(acting, "LOGIN", tmp_path / "loginuid")

    assert who()[0] == f"uid 54321987 as {pwd.getpwuid(os.getuid()).pw_name}"
