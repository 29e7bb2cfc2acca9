"""The ledger as its callers see it: a router over lanes to wherever the entities live."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import router as routers
from actors.channel import ChannelServer
from actors.errors import OutcomeUnknownError, OverloadedError
from actors.lane import Lane
from actors.router import PROBE, Router
from actors.settings import ActorSettings
from ledger.answers import Answer
from ledger.commands import SYSTEM, Look, Sell, Tick
from tests.unit.actors.actor import NAME, ScriptedActor, ScriptedDirectory
from tests.unit.actors.logs import Gate
from tests.unit.actors.stage import CERTIFICATE, ORDER, POS, authorize, body, issue, paid, placed, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.actors.stage import Stage


async def test_a_question_finds_its_actor_and_comes_back(directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        assert await router.ask("c:1", Look(), SYSTEM) == Answer(b"c:1")


async def test_an_actor_is_woken_for_what_exists_but_neither_by_a_guess_nor_by_a_timer(
    actor: ScriptedActor, directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routers, "SEEN_MAX", 1)
    directory.knows_at_once = False
    actor.versions = {"c:1": 3, "c:2": 1}

    async with Router(directory, ActorSettings()) as router:
        for entity in ("c:guess", "c:guess", "c:1", "c:1"):
            await router.ask(entity, Look(), SYSTEM)
        await router.ask("c:1", Tick(), SYSTEM)
        for entity in ("c:2", "c:1"):  # of more than are remembered the oldest is forgotten
            await router.ask(entity, Look(), SYSTEM)

    woken = [wake for _, wake in directory.awakened]
    assert woken == [False, False, False, True, False, False, False]


async def test_a_holder_that_cannot_be_found_means_that_nothing_happened(directory: ScriptedDirectory) -> None:
    directory.knows_at_once = False
    directory.lost = True

    async with Router(directory, ActorSettings()) as router:
        with pytest.raises(OverloadedError, match="cannot be found: Ray does not answer"):
            await router.ask("c:1", Look(), SYSTEM)


async def test_a_holder_that_is_not_told_in_time_means_that_nothing_happened(
    directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.knows_at_once = False
    gate = Gate()

    async def hangs(_entity: str, *, wake: bool) -> str:
        await gate.passed(wake)
        return NAME

    monkeypatch.setattr(directory, "holder", hangs)

    async with Router(directory, ActorSettings(request_timeout_seconds=0.01)) as router:
        with pytest.raises(OverloadedError, match="cannot be found"):
            await router.ask("c:1", Look(), SYSTEM)


async def test_deadlines_are_kept_without_anybody_looking(actor: ScriptedActor, directory: ScriptedDirectory) -> None:
    actor.holds = True

    async with Router(directory, ActorSettings(request_timeout_seconds=0.5)) as router:
        with pytest.raises(OutcomeUnknownError, match="in time"):
            await router.ask("c:1", Look(), SYSTEM)


async def test_a_lane_that_is_not_used_is_closed(
    actor: ScriptedActor, directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routers, "LANE_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(routers, "SWEEP_SECONDS", 0.001)

    async with Router(directory, ActorSettings()) as router:
        await router.ask("c:1", Look(), SYSTEM)
        await until(lambda: not actor.server._connections)

        assert await router.ask("c:2", Look(), SYSTEM) == Answer(b"c:2")


async def test_a_probe_is_a_read_of_what_never_exists(actor: ScriptedActor, directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        await router.probe(NAME)

    assert actor.entities == [PROBE]


async def test_a_probe_fails_when_nobody_sees_to_deadlines_any_more(
    directory: ScriptedDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_lane: Lane, _now: float) -> None:
        message = "a defect"
        raise ValueError(message)

    monkeypatch.setattr(routers, "SWEEP_SECONDS", 0.001)
    async with Router(directory, ActorSettings()) as router:
        await router.probe(NAME)

        monkeypatch.setattr(Lane, "sweep", fail)
        await until(lambda: "no longer kept" in caplog.text)

        with pytest.raises(OutcomeUnknownError, match="deadlines"):
            await router.probe(NAME)


async def test_a_router_that_has_closed_takes_nothing_more(directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        pass

    with pytest.raises(OverloadedError, match="stopping"):
        await router.ask("c:1", Look(), SYSTEM)


async def test_a_router_that_closes_fails_what_waits(actor: ScriptedActor, directory: ScriptedDirectory) -> None:
    actor.holds = True
    async with Router(directory, ActorSettings()) as router:
        asked = asyncio.create_task(router.ask("c:1", Look(), SYSTEM))
        await actor.came.wait()

    with pytest.raises(OutcomeUnknownError):
        await asked


async def test_a_whole_sale_and_redemption_through_channel_and_shard(stage: Stage, tmp_path: Path) -> None:
    shard = await stage.shard()
    server = ChannelServer(shard.submit)
    directory = ScriptedDirectory(await server.listen_unix(tmp_path / "s.sock"))

    async with Router(directory, ActorSettings()) as router:
        await router.ask(ORDER, placed("1"), SYSTEM)
        sold = await router.ask(CERTIFICATE, Sell("SO-1", "1"), POS)
        await router.ask(ORDER, paid("1"), SYSTEM)
        await until(lambda: shard.facts["errands"] == 0)
        holds = await asyncio.gather(*(router.ask(CERTIFICATE, authorize(), POS) for _ in range(100)))
        await issue(shard, "GC-0000-0002")
        await router.probe(NAME)

    assert body(sold)["status"] == "Reserved"
    assert {body(hold)["available"] for hold in holds} == {150_000 - 1_000 * number for number in range(1, 101)}
    await server.close()


async def test_a_question_whose_actor_is_known_is_on_its_way_at_once(directory: ScriptedDirectory) -> None:
    async with Router(directory, ActorSettings()) as router:
        asked = router.ask_now("c:1", Look(), SYSTEM)
        assert asked is not None
        assert await asked == Answer(b"c:1")

        directory.knows_at_once = False
        assert router.ask_now("c:1", Look(), SYSTEM) is None
        assert directory.awakened == []

    directory.knows_at_once = True
    with pytest.raises(OverloadedError, match="stopping"):
        router.ask_now("c:1", Look(), SYSTEM)
