"""An actor that stops: what it has taken is answered, and what comes then goes to its successor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.errors import LeavingError, OutcomeUnknownError
from actors.frames import Call
from actors.lane import Lane
from ledger.answers import Answer
from ledger.commands import SYSTEM
from tests.unit.actors.actor import SALE, ScriptedActor, ScriptedDirectory, listening, look
from tests.unit.actors.stage import until

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_a_leaving_actor_did_not_take_goes_to_its_successor(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    actor.holds = True
    sale = lane.put(Call("c:sale", SALE, SYSTEM))
    await until(lambda: len(actor.taken) == 1)
    actor.refuses = lambda: LeavingError("stopping")
    await actor.server.leave()
    successor = ScriptedActor()
    directory.place = await listening(successor, tmp_path)

    answers = await asyncio.gather(*(lane.put(look(f"c:{number}")) for number in range(3)))
    actor.taken[0].done(Answer(b"sold"))

    assert [answer.body for answer in answers] == [b"c:0", b"c:1", b"c:2"]
    assert successor.entities == ["c:0", "c:1", "c:2"]
    assert await sale == Answer(b"sold")
    await until(lambda: not actor.server._connections)  # nothing is left to be said
    await lane.close()
    await successor.server.close()


async def test_an_idle_lane_takes_its_leave_of_an_actor_that_is_stopping(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    await lane.put(look("c:1"))

    await actor.server.leave()

    await until(lambda: not actor.server._connections)
    assert directory.asked == 1


async def test_what_was_sent_before_the_goodbye_is_answered_by_the_old_actor_and_what_comes_after_by_the_new(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    actor.holds = True
    before = lane.put(look("c:1"))
    await until(lambda: len(actor.taken) == 1)
    successor = ScriptedActor()
    directory.place = await listening(successor, tmp_path)

    await actor.server.leave()
    after = lane.put(look("c:2"))
    answered_by_the_new = await after
    actor.answer()

    assert answered_by_the_new == Answer(b"c:2")
    assert successor.entities == ["c:2"]
    assert await before == Answer(b"c:1")
    await until(lambda: not actor.server._connections)
    await lane.close()
    await successor.server.close()


async def test_a_leaving_actor_that_dies_leaves_unknown_what_it_had_taken(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    actor.holds = True
    sale = lane.put(Call("c:sale", SALE, SYSTEM))
    await until(lambda: len(actor.taken) == 1)
    actor.refuses = lambda: LeavingError("stopping")
    successor = ScriptedActor()
    directory.place = await listening(successor, tmp_path)
    await lane.put(look("c:1"))

    for connection in list(actor.server._connections):
        connection.transport.abort()

    with pytest.raises(OutcomeUnknownError):
        await sale
    assert await lane.put(look("c:2")) == Answer(b"c:2")
    await lane.close()
    await successor.server.close()
