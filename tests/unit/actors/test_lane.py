"""A lane: the calls of one caller to one actor, whatever becomes of the way between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import lane as lanes
from actors.errors import OutcomeUnknownError, OverloadedError
from actors.frames import Call
from actors.lane import Lane
from ledger.answers import Answer
from ledger.commands import SYSTEM, Authorize
from tests.unit.actors.actor import SALE, TIMEOUT, ScriptedActor, ScriptedDirectory, listening, look
from tests.unit.actors.stage import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def later(seconds: float = TIMEOUT) -> float:
    """Return the loop's time after so many seconds more."""
    return asyncio.get_running_loop().time() + seconds


async def test_a_single_call_goes_at_once_and_its_answer_comes_back(lane: Lane) -> None:
    assert await lane.put(look("c:1")) == Answer(b"c:1")
    assert lane.idle


async def test_what_comes_while_a_frame_is_out_makes_up_the_next_one(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    first = lane.put(look("c:0"))
    await until(lambda: len(actor.taken) == 1)

    rest = [lane.put(look(f"c:{number}")) for number in range(1, 6)]
    await asyncio.sleep(0)
    while_out = (actor.entities, lane.queued)
    actor.answer()
    await until(lambda: len(actor.taken) == 5)
    actor.answer()

    assert while_out == (["c:0"], 5)
    assert [answer.body for answer in await asyncio.gather(first, *rest)] == [b"c:%d" % number for number in range(6)]


async def test_a_frame_holds_no_more_calls_than_its_bound(make_lane: Callable[..., Lane], actor: ScriptedActor) -> None:
    actor.holds = True
    lane = make_lane(batch_max=2)

    calls = [lane.put(look(f"c:{number}")) for number in range(3)]
    await until(lambda: len(actor.taken) == 2)

    assert lane.queued == 1
    actor.holds = False
    actor.answer()
    assert len(await asyncio.gather(*calls)) == 3


async def test_a_frame_is_no_longer_than_the_channel_takes(
    lane: Lane, actor: ScriptedActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FRAME_BYTES_MAX", 3_000)

    def call(number: int, size: int) -> Call:
        return Call(f"c:{number}", Authorize(1, "RUB", reference="x" * size), SYSTEM)

    calls = [lane.put(call(number, 1_000)) for number in range(5)]
    too_long = lane.put(call(9, 4_000))
    after = lane.put(call(5, 1_000))

    answers = await asyncio.gather(*calls, after)
    assert [answer.body for answer in answers] == [b"c:%d" % number for number in range(6)]
    with pytest.raises(OverloadedError, match="too long"):
        await too_long


async def test_a_sale_does_not_hold_up_what_comes_after_it(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    sale = lane.put(Call("c:sale", SALE, SYSTEM))
    await until(lambda: len(actor.taken) == 1)
    actor.holds = False

    assert await lane.put(look("c:1")) == Answer(b"c:1")

    actor.answer()
    assert await sale == Answer(b"c:sale")


async def test_a_late_answer_of_a_sale_sends_no_second_frame_beside_the_one_that_is_out(
    lane: Lane, actor: ScriptedActor
) -> None:
    actor.holds = True
    calls = [lane.put(Call("c:sale", SALE, SYSTEM)), lane.put(look("c:1"))]
    await until(lambda: len(actor.taken) == 2)
    calls.append(lane.put(look("c:2")))

    actor.taken[0].done(Answer(b"sold"))
    await calls[0]
    still_out = actor.entities
    actor.taken[1].done(Answer())
    await until(lambda: len(actor.taken) == 3)
    actor.taken[2].done(Answer())

    assert still_out == ["c:sale", "c:1"]
    await asyncio.gather(*calls)


async def test_a_full_queue_turns_callers_away_at_once(make_lane: Callable[..., Lane], actor: ScriptedActor) -> None:
    lane = make_lane(mailbox_max=2)
    calls = [lane.put(look("c:1")), lane.put(look("c:2"))]

    with pytest.raises(OverloadedError, match="Too many calls"):
        lane.put(look("c:3"))

    await asyncio.gather(*calls)


async def test_a_call_whose_caller_went_away_is_not_sent(lane: Lane, actor: ScriptedActor) -> None:
    gone, stays = lane.put(look("c:1")), lane.put(look("c:2"))
    gone.cancel()

    await stays

    assert actor.entities == ["c:2"]


async def test_if_all_callers_went_away_nothing_is_sent(lane: Lane, actor: ScriptedActor) -> None:
    await lane.put(look("c:0"))
    gone = lane.put(look("c:1"))
    gone.cancel()
    await asyncio.sleep(0)

    assert await lane.put(look("c:2")) == Answer(b"c:2")
    assert actor.entities == ["c:0", "c:2"]


async def test_a_caller_that_goes_away_later_does_not_trouble_the_others(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    gone, stays = lane.put(look("c:1")), lane.put(look("c:2"))
    await until(lambda: len(actor.taken) == 2)
    gone.cancel()

    actor.answer()

    assert await stays == Answer(b"c:2")


async def test_a_connection_that_breaks_leaves_unknown_what_was_sent_and_sends_the_rest_again(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    actor.holds = True
    out = lane.put(look("c:1"))
    await until(lambda: len(actor.taken) == 1)
    queued = lane.put(look("c:2"))
    actor.holds = False

    (connection,) = actor.server._connections
    connection.transport.abort()

    with pytest.raises(OutcomeUnknownError, match="went away"):
        await out
    assert await queued == Answer(b"c:2")
    assert directory.asked == 2


async def test_an_actor_that_moved_is_found_at_its_new_address(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    await lane.put(look("c:1"))
    await actor.server.close()
    successor = ScriptedActor()
    directory.place = await listening(successor, tmp_path)
    await until(lambda: lane._connection is None)

    assert await lane.put(look("c:2")) == Answer(b"c:2")
    assert successor.entities == ["c:2"]
    await lane.close()
    await successor.server.close()


async def test_a_call_waits_for_an_actor_that_is_not_there_yet(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    address, directory.place = directory.place, ""
    call = lane.put(look("c:1"))
    await until(lambda: directory.asked > 1)

    directory.place = address

    assert await call == Answer(b"c:1")


async def test_an_old_address_at_which_nobody_listens_is_asked_for_again(
    lane: Lane, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    address, directory.place = directory.place, f"unix:{tmp_path / 'old.sock'}"
    call = lane.put(look("c:1"))
    await until(lambda: directory.asked > 1)

    directory.place = address

    assert await call == Answer(b"c:1")


async def test_what_was_never_sent_by_its_deadline_did_not_happen(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    directory.place = ""
    call = lane.put(look("c:1"))
    await until(lambda: directory.asked > 0)

    lane.sweep(later())

    with pytest.raises(OverloadedError, match="did not take"):
        await call
    assert actor.taken == []


async def test_what_was_sent_and_not_answered_by_its_deadline_is_unknown(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    call = lane.put(look("c:1"))
    await until(lambda: len(actor.taken) == 1)

    lane.sweep(later())

    with pytest.raises(OutcomeUnknownError, match="in time"):
        await call
    assert lane.idle


async def test_only_what_has_waited_too_long_is_given_up(lane: Lane, actor: ScriptedActor) -> None:
    """Calls of one frame have waited for different times: the frame is not given up with the oldest."""
    actor.holds = True
    out = lane.put(look("c:0"))
    await until(lambda: len(actor.taken) == 1)
    old = lane.put(look("c:1"))
    old_deadline = later()
    await until(lambda: later() > old_deadline)
    young = lane.put(look("c:2"))
    actor.answer()
    await out
    await until(lambda: len(actor.taken) == 2)

    lane.sweep(old_deadline)
    (connection,) = actor.server._connections
    hung_up = connection.transport.is_closing()
    actor.answer()

    assert not hung_up
    with pytest.raises(OutcomeUnknownError):
        await old
    assert await young == Answer(b"c:2")


async def test_an_actor_that_hangs_is_connected_to_anew(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    actor.holds = True
    hung = lane.put(look("c:1"))
    await until(lambda: len(actor.taken) == 1)
    lane.sweep(later())
    actor.holds = False

    answer = await lane.put(look("c:2"))
    actor.taken[0].done(Answer(b"much too late"))

    assert answer == Answer(b"c:2")
    assert directory.asked == 2
    with pytest.raises(OutcomeUnknownError):
        await hung


async def test_a_late_answer_goes_to_nobody_else(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    sale = lane.put(Call("c:sale", SALE, SYSTEM))
    await until(lambda: len(actor.taken) == 1)
    lane.sweep(later())
    waiting = lane.put(look("c:2"))
    await until(lambda: len(actor.taken) == 2)

    actor.taken[0].done(Answer(b"much too late"))
    actor.taken[1].done(Answer(b"in time"))

    assert await waiting == Answer(b"in time")
    with pytest.raises(OutcomeUnknownError):
        await sale


async def test_a_lane_that_closes_fails_what_waits(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    out = lane.put(look("c:1"))
    await until(lambda: len(actor.taken) == 1)
    queued = lane.put(look("c:2"))

    await lane.close()

    with pytest.raises(OutcomeUnknownError):
        await out
    with pytest.raises(OverloadedError, match="stopping"):
        await queued
    await until(lambda: not actor.server._connections)


async def test_a_lane_that_closes_while_it_connects_stops_that(lane: Lane, directory: ScriptedDirectory) -> None:
    directory.place = ""
    call = lane.put(look("c:1"))
    await until(lambda: directory.asked > 0)

    await lane.close()

    with pytest.raises(OverloadedError):
        await call
    assert lane._connecting is None
