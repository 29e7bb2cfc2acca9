"""Shards as Ray actors: found by name, shown to operators, killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ray
from msgspec.structs import replace
from ray.util.state import list_actors

from actors import cluster
from actors.errors import ActorError, OutcomeUnknownError
from actors.host import wall_clock
from actors.issuer import Issuer
from actors.settings import ActorSettings
from actors.shard import Shard
from ledger.commands import SYSTEM, Authorize, Look, Place, PlannedLine, RecordPayment, Sell
from ledger.policy import Policy
from tests.integration.ray_traffic import RUB, Till, body, history_of, insist, issue, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors.router import Router
    from tests.real.ray import RayLedger

pytestmark = [pytest.mark.real, pytest.mark.ray]

CODES = [f"GC-{number:08}" for number in range(16)]
SERVED_AGAIN_SECONDS_MAX = 60.0


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_sale_crosses_shards_and_comes_to_its_end(make_ray_ledger: Callable[..., RayLedger], kind: str) -> None:
    ledger = make_ray_ledger(kind=kind)
    await ledger.start()
    codes, lines = CODES[:4], ["1", "2", "3", "4"]
    recipient = ledger.vault.seal(b'{"phone":"+79990000001"}', "recipient")
    order = Place(1, False, "OnlineStore", RUB, tuple(PlannedLine(line, 500, recipient) for line in lines))
    payment = RecordPayment(1, RUB, 2_000, 0, True, dict.fromkeys(lines, 500))

    await insist(ledger.router, "o:SO-1", order)
    sold = [
        await insist(ledger.router, f"c:{code}", Sell("SO-1", line)) for code, line in zip(codes, lines, strict=True)
    ]
    await insist(ledger.router, "o:SO-1", payment)
    await until(lambda: all_issued(ledger, codes))

    assert [body(answer)["status"] for answer in sold] == ["Reserved"] * 4
    shown = [body(await insist(ledger.router, f"c:{code}", Look())) for code in codes]
    assert [one["balance"] for one in shown] == [500] * 4


async def test_operators_see_what_each_actor_is(ray_cluster: str, make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=2))
    await ledger.start()
    await asyncio.gather(*(issue(ledger.router, code) for code in CODES))
    await until(partial(all_resident, ledger, 2 * len(CODES)))  # orders come in by messages that nobody waits for

    reports = [await ledger.answer(report.name) for report in await cluster.reports(ledger.settings)]
    listed = await asyncio.to_thread(
        list_actors, ray_cluster, [("ray_namespace", "=", ledger.settings.namespace)], timeout=60, detail=True
    )

    assert [report.name for report in reports] == ["certificates:00", "certificates:01"]
    assert {report.kind for report in reports} == {"shard"}
    assert {report.state for report in reports} == {"ALIVE"}
    assert sum(int(report.facts["residents"]) for report in reports) == 2 * len(CODES)
    by_name = {actor.name: actor for actor in listed}
    assert {report.name: report.pid for report in reports} == {name: actor.pid for name, actor in by_name.items()}
    assert {actor.state for actor in listed} == {"ALIVE"}
    assert {actor.class_name for actor in listed} == {"ShardActor"}
    assert by_name["certificates:00"].repr_name == "certificates:00 (certificates and orders of 16 of 32 partitions)"


async def test_whoever_starts_them_at_once_starts_each_once(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=2))
    start = [cluster.start_shards(ledger.settings, Policy(), ledger.storage, 32) for _ in range(3)]

    first, second, third = await asyncio.gather(*start)

    assert first == second == third
    assert ledger.names == ["certificates:00", "certificates:01"]
    await ledger.end()


async def test_a_killed_shard_comes_back_and_nothing_is_lost_or_doubled(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=2))
    await ledger.start()
    await asyncio.gather(*(issue(ledger.router, code) for code in CODES))
    tills = [Till(number, ledger.router, CODES) for number in range(16)]
    running = [asyncio.create_task(till.run()) for till in tills]
    await asyncio.gather(*(till.answered.wait() for till in tills))

    killed = await ledger.signal("certificates:00", signal.SIGKILL)
    async with asyncio.timeout(SERVED_AGAIN_SECONDS_MAX):
        for code in CODES:
            await until(partial(served, ledger.router, code))
        await until(partial(replaced, ledger, killed))
    for till in tills:
        till.stop()
    await asyncio.gather(*running)

    approved = {key: identifier for till in tills for identifier, key in till.approved.items()}
    kept = await history_of(ledger.log, CODES)
    assert len(approved) == sum(len(till.approved) for till in tills)
    assert sorted(kept) == sorted(key.encode() for key in approved)
    balances = [body(await insist(ledger.router, f"c:{code}", Look())) for code in CODES]
    assert sum(one["held"] for one in balances) == len(approved)


async def test_a_shard_that_slept_does_not_tell_what_it_believes(make_ray_ledger: Callable[..., RayLedger]) -> None:
    """While a shard was stopped another one has served its certificates: it wakes up as a zombie."""
    ledger = make_ray_ledger(ActorSettings(shards=1, request_timeout_seconds=30.0))
    await ledger.start()
    await issue(ledger.router, CODES[0])
    entity = f"c:{CODES[0]}"
    await ledger.router.ask(entity, Authorize(100, RUB), SYSTEM)

    pid = await ledger.signal("certificates:00", signal.SIGSTOP)
    try:
        stale = asyncio.create_task(ledger.router.ask(entity, Authorize(10, RUB), SYSTEM))
        async with another_writer(ledger) as other:
            await other.ask(entity, Authorize(1_000, RUB), SYSTEM)
    finally:
        os.kill(pid, signal.SIGCONT)
    answer = await stale
    shown = body(await insist(ledger.router, entity, Look()))

    assert body(answer)["available"] == 1_000_000 - 1_110
    assert shown["held"] == 1_110
    report = await ledger.answer("certificates:00")
    assert report.pid == pid
    assert report.facts["conflicts"] == 1


async def test_a_shard_that_hangs_leaves_its_callers_with_an_answer(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=1, request_timeout_seconds=0.5))
    await ledger.start()
    await issue(ledger.router, CODES[0])
    till = Till(1, ledger.router, CODES[:1])

    pid = await ledger.signal("certificates:00", signal.SIGSTOP)
    running = asyncio.create_task(till.run())
    try:
        await until(lambda: bool(till.unknown))
    finally:
        os.kill(pid, signal.SIGCONT)
    await till.answered.wait()
    till.stop()
    await running

    assert sorted(await history_of(ledger.log, CODES[:1])) == sorted(key.encode() for key in till.approved.values())


async def test_shards_that_are_stopped_finish_first_and_are_gone(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=2))
    await ledger.start()
    await asyncio.gather(*(issue(ledger.router, code) for code in CODES))
    asked = [asyncio.create_task(ledger.router.ask(f"c:{code}", Authorize(1, RUB), SYSTEM)) for code in CODES]
    await asyncio.sleep(0)

    await cluster.stop_actors(ledger.settings)

    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    approved = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    unknown = [outcome for outcome in outcomes if isinstance(outcome, OutcomeUnknownError)]
    held = [len(await ledger.log.history(f"c:{code}")) - 3 for code in CODES]
    assert len(approved) <= sum(held) <= len(approved) + len(unknown)
    await until(lambda: not ledger.names)  # Ray ends an actor after it has been told to
    assert await cluster.reports(ledger.settings) == []
    (report,) = await cluster.reports(ledger.settings, ["certificates:00"])
    assert (report.state, report.facts["error"]) == ("UNREACHABLE", "ValueError")


async def test_a_shard_that_hangs_is_ended_all_the_same(
    make_ray_ledger: Callable[..., RayLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "STOP_SECONDS_MAX", 0.2)
    ledger = make_ray_ledger(ActorSettings(shards=1))
    await ledger.start()
    pid = await ledger.signal("certificates:00", signal.SIGSTOP)

    try:
        await cluster.stop_actors(ledger.settings)

        await until(lambda: not ledger.names)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_between_machines_commands_travel_over_tcp(
    make_ray_ledger: Callable[..., RayLedger], tmp_path: Path
) -> None:
    token = tmp_path / "channel.token"
    token.write_text("a token of more than sixteen bytes\n")
    ledger = make_ray_ledger(ActorSettings(shards=1, channel="tcp", channel_host="auto", channel_token_path=str(token)))
    await ledger.start()

    await issue(ledger.router, CODES[0])

    report = await ledger.answer("certificates:00")
    assert report.node == ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    assert report.address.startswith(f"tcp:{report.node}:")


async def test_a_shard_with_another_pepper_does_not_serve(
    make_ray_ledger: Callable[..., RayLedger], tmp_path: Path
) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=1))
    await ledger.start()
    await ledger.log.close()
    other = make_ray_ledger(ActorSettings(shards=1))
    other.storage = replace(other.storage, prefix=ledger.storage.prefix)

    with pytest.raises(TimeoutError):
        await cluster.start_shards(other.settings, Policy(), other.storage, 32, seconds_max=3.0)

    assert (await other.answer("certificates:00")).state == "STARTING"
    await other.end()


async def test_a_shard_without_a_pepper_in_use_does_not_serve(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=1))
    await ledger.start()
    await ledger.log.bind_peppers({2: "print"}, 2)
    await ledger.log.close()
    other = make_ray_ledger(ActorSettings(shards=1))
    other.storage = ledger.storage

    with pytest.raises(TimeoutError):
        await cluster.start_shards(other.settings, Policy(), other.storage, 32, seconds_max=3.0)

    assert (await other.answer("certificates:00")).state == "STARTING"
    await other.end()


async def test_a_shard_that_cannot_serve_is_started_anew_until_it_can(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(ActorSettings(shards=1))
    run_dir = Path(ledger.settings.run_dir)
    await asyncio.to_thread(run_dir.chmod, 0o777)  # others could put sockets of theirs into it
    starting = asyncio.create_task(ledger.start())
    pids: set[int] = set()

    async def was_started_twice() -> bool:
        if ledger.names:
            pids.add((await ledger.report("certificates:00")).pid)
        return len(pids - {0}) > 1

    await until(was_started_twice)
    await asyncio.to_thread(run_dir.chmod, 0o700)
    await starting

    assert (await ledger.answer("certificates:00")).state == "ALIVE"


async def all_issued(ledger: RayLedger, codes: list[str]) -> bool:
    return await ledger.log.messages_waiting() == len(codes)


async def all_resident(ledger: RayLedger, count: int) -> bool:
    return sum(int(report.facts.get("residents", 0)) for report in await cluster.reports(ledger.settings)) == count


async def replaced(ledger: RayLedger, killed: int) -> bool:
    """Whether the shard is another process. Calls need not have failed for that: those not sent yet wait for it."""
    return (await ledger.report("certificates:00")).pid not in {0, killed}


async def served(router: Router, code: str) -> bool:
    try:
        return (await router.ask(f"c:{code}", Look(), SYSTEM)).refused is None
    except ActorError:
        return False


@asynccontextmanager
async def another_writer(ledger: RayLedger) -> AsyncIterator[Shard]:
    """Run a shard in this process that believes to be the only writer as well."""
    shard = Shard("elsewhere", ledger.log, Issuer(ledger.vault), ledger.router, wall_clock, Policy(), ledger.settings)
    running = asyncio.create_task(shard.run())
    yield shard
    await shard.close()
    await running
