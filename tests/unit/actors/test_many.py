"""Calls that are asked together: an outcome for each, in order, and nobody else is held up by them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import lane as lanes
from actors import router as routers
from actors.errors import LeavingError, OutcomeUnknownError, OverloadedError
from actors.frames import Call
from actors.lane import Gathering, Lane, NoSuchActorError
from actors.router import Router
from actors.settings import ActorSettings
from ledger.answers import Answer
from ledger.commands import SYSTEM, Authorize, Look
from tests.unit.actors.actor import NAME, TIMEOUT, ScriptedActor, ScriptedDirectory, listening, look
from tests.unit.actors.stage import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from actors.ports import Ask


def put(lane: Lane, *calls: Call) -> Gathering:
    """Put calls into the lane together."""
    loop = asyncio.get_running_loop()
    gathering = Gathering(len(calls), loop.create_future())
    lane.put_many(enumerate(calls), gathering, loop.time() + TIMEOUT)
    return gathering


def asks(*entities: str) -> list[Ask]:
    return [(entity, Look(), SYSTEM) for entity in entities]


def kinds(outcomes: Sequence[object]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


# --- one lane --------------------------------------------------------------------------------------------------------


async def test_each_has_its_outcome_in_the_order_of_the_calls(lane: Lane) -> None:
    gathering = put(lane, *(look(f"c:{number}") for number in range(1_000)))

    await gathering.complete

    assert gathering.found == [Answer(b"c:%d" % number) for number in range(1_000)]
    assert lane.idle


async def test_calls_one_by_one_go_first_and_leave_the_others_a_share(
    make_lane: Callable[..., Lane], actor: ScriptedActor
) -> None:
    lane = make_lane(batch_max=lanes.BULK_SHARE)
    actor.holds = True
    first = lane.put(look("c:first"))
    await until(lambda: len(actor.taken) == 1)
    together = put(lane, *(look(f"c:bulk-{number}") for number in range(3)))
    alone = [lane.put(look(f"c:{number}")) for number in range(8)]

    frames = []
    for count in (lanes.BULK_SHARE, 2, 1):
        actor.answer()
        await until(lambda count=count: len(actor.taken) == count)  # type: ignore[misc]
        frames.append(actor.entities)
    actor.answer()
    await asyncio.gather(first, *alone, together.complete)

    assert frames == [
        [*(f"c:{number}" for number in range(7)), "c:bulk-0"],
        ["c:7", "c:bulk-1"],
        ["c:bulk-2"],
    ]


async def test_what_the_queue_has_no_room_for_is_turned_away_and_the_rest_is_not(
    make_lane: Callable[..., Lane], actor: ScriptedActor
) -> None:
    lane = make_lane(mailbox_max=3)
    alone = lane.put(look("c:alone"))

    gathering = put(lane, *(look(f"c:{number}") for number in range(4)))
    with pytest.raises(OverloadedError, match="Too many calls"):
        lane.put(look("c:late"))
    full = put(lane, look("c:later"))
    await asyncio.gather(alone, gathering.complete, full.complete)

    assert kinds(gathering.found) == [Answer, Answer, OverloadedError, OverloadedError]
    assert kinds(full.found) == [OverloadedError]
    assert actor.entities == ["c:alone", "c:0", "c:1"]


async def test_calls_that_nobody_waits_for_any_more_are_not_sent(lane: Lane, actor: ScriptedActor) -> None:
    gone = put(lane, look("c:1"), look("c:2"))
    stays = lane.put(look("c:3"))
    gone.complete.cancel()

    await stays

    assert actor.entities == ["c:3"]


async def test_an_outcome_that_nobody_waits_for_troubles_nobody(lane: Lane, actor: ScriptedActor) -> None:
    actor.holds = True
    gone, stays = put(lane, look("c:1")), lane.put(look("c:2"))
    await until(lambda: len(actor.taken) == 2)
    gone.complete.cancel()

    actor.answer()

    assert await stays == Answer(b"c:2")
    assert gone.found == [None]


async def test_calls_that_do_not_fit_into_one_frame_keep_their_order(
    lane: Lane, actor: ScriptedActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FRAME_BYTES_MAX", 3_000)
    long = [Call(f"c:{number}", Authorize(1, "RUB", reference="x" * 900), SYSTEM) for number in range(9)]

    gathering = put(lane, *long)
    await gathering.complete

    assert actor.entities == [f"c:{number}" for number in range(9)]


async def test_what_a_leaving_actor_does_not_take_keeps_its_order(
    make_lane: Callable[..., Lane], actor: ScriptedActor, directory: ScriptedDirectory, tmp_path: Path
) -> None:
    successor = ScriptedActor()
    lane = make_lane(batch_max=8)
    actor.refuses = lambda: LeavingError("stopping")
    place = await listening(successor, tmp_path)

    gathering = put(lane, *(look(f"c:{number}") for number in range(20)))
    await actor.came.wait()
    directory.place = place
    await gathering.complete

    assert kinds(gathering.found) == [Answer] * 20
    assert successor.entities == [f"c:{number}" for number in range(20)]
    await successor.server.close()


async def test_a_connection_that_breaks_leaves_unknown_what_was_sent_and_nothing_else(
    make_lane: Callable[..., Lane], actor: ScriptedActor
) -> None:
    lane = make_lane(batch_max=2)
    actor.holds = True
    gathering = put(lane, *(look(f"c:{number}") for number in range(3)))
    await until(lambda: len(actor.taken) == 2)
    actor.holds = False

    (connection,) = actor.server._connections
    connection.transport.abort()
    await gathering.complete

    assert kinds(gathering.found) == [OutcomeUnknownError, OutcomeUnknownError, Answer]
    assert actor.entities == ["c:0", "c:1", "c:2"]


async def test_what_was_never_sent_by_its_deadline_did_not_happen(
    lane: Lane, actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    directory.place = ""
    gathering = put(lane, look("c:1"))

    lane.sweep(asyncio.get_running_loop().time() + TIMEOUT)

    assert kinds(gathering.found) == [OverloadedError]
    assert actor.entities == []


async def test_a_lane_that_closes_turns_away_what_waits(lane: Lane) -> None:
    gathering = put(lane, look("c:1"), look("c:2"))

    await lane.close()

    assert kinds(gathering.found) == [OverloadedError, OverloadedError]


# --- the router ------------------------------------------------------------------------------------------------------


async def test_many_questions_come_back_in_their_order(directory: ScriptedDirectory) -> None:
    entities = [f"c:{number}" for number in range(1_000)]

    async with Router(directory, ActorSettings()) as router:
        outcomes = await router.ask_many(asks(*entities))

    assert outcomes == [Answer(entity.encode()) for entity in entities]


async def test_no_question_has_no_outcome(directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        assert await router.ask_many([]) == []


async def test_actors_that_are_not_known_at_once_are_found_once_for_each_entity(
    actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    directory.knows_at_once = False
    actor.versions = {"c:1": 3}

    async with Router(directory, ActorSettings()) as router:
        outcomes = await router.ask_many(asks("c:1", "c:guess", "c:1"))
        again = await router.ask_many(asks("c:1", "c:guess"))

    assert [outcome.body for outcome in outcomes if isinstance(outcome, Answer)] == [b"c:1", b"c:guess", b"c:1"]
    assert kinds(again) == [Answer, Answer]
    assert directory.awakened == [("c:1", False), ("c:guess", False), ("c:1", True), ("c:guess", False)]


async def test_an_actor_that_cannot_be_found_fails_its_own_questions_alone(
    directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def holder(entity: str, *, wake: bool) -> str:
        if entity == "c:lost":
            raise NoSuchActorError("Ray does not answer")
        return NAME

    monkeypatch.setattr(directory, "holder", holder)
    directory.knows_at_once = False

    async with Router(directory, ActorSettings()) as router:
        outcomes = await router.ask_many(asks("c:1", "c:lost", "c:2", "c:lost"))

    assert kinds(outcomes) == [Answer, OverloadedError, Answer, OverloadedError]


async def test_the_outcomes_that_are_there_are_told_when_others_do_not_come(
    actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    actor.holds = True

    async with Router(directory, ActorSettings(batch_max=1)) as router:
        asked = asyncio.create_task(router.ask_many(asks("c:1", "c:2", "c:3")))
        await until(lambda: actor.entities == ["c:1"])
        actor.answer()
        await until(lambda: actor.entities == ["c:2"])
        await router._sweep_lanes(asyncio.get_running_loop().time() + TIMEOUT)
        outcomes = await asked

    assert kinds(outcomes) == [Answer, OutcomeUnknownError, OverloadedError]


async def test_it_ends_by_itself_even_if_nobody_keeps_the_deadlines(
    actor: ScriptedActor, directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(_router: Router, _now: float) -> None:
        return

    monkeypatch.setattr(routers, "SWEEP_SECONDS", 0.001)
    monkeypatch.setattr(Router, "_sweep_lanes", idle)
    actor.holds = True

    async with Router(directory, ActorSettings(request_timeout_seconds=0.5)) as router:
        outcomes = await router.ask_many(asks("c:1", "c:2"))

    assert kinds(outcomes) == [OutcomeUnknownError, OutcomeUnknownError]


async def test_a_caller_that_goes_away_leaves_nothing_behind(
    actor: ScriptedActor, directory: ScriptedDirectory
) -> None:
    actor.holds = True

    async with Router(directory, ActorSettings(batch_max=1)) as router:
        asked = asyncio.create_task(router.ask_many(asks("c:1", "c:2")))
        await actor.came.wait()
        asked.cancel()
        await asyncio.wait({asked})
        actor.holds = False
        actor.taken[0].done(Answer(b"c:1"))

        assert await router.ask("c:3", Look(), SYSTEM) == Answer(b"c:3")

    assert asked.cancelled()
    assert actor.entities == ["c:1", "c:3"]


async def test_a_router_that_has_closed_takes_nothing_more(directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        pass

    assert kinds(await router.ask_many(asks("c:1", "c:2"))) == [OverloadedError, OverloadedError]
