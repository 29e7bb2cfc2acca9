"""`PLACEMENT=dedicated`: each certificate that is in use has a Ray actor of its own, up to a bound."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from actors.settings import ActorSettings
from ledger.commands import SYSTEM, Authorize, Look, Place, PlannedLine, RecordPayment, Sell, Tick
from tests.integration.ray_traffic import DENOMINATION, RUB, Till, body, history_of, insist, issue, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.ray import RayLedger

pytestmark = [pytest.mark.real, pytest.mark.ray]

CODE = "GC-7K2M-9QXA"
CERTIFICATE = f"c:{CODE}"
ACTOR = f"certificate:{CODE}"
PATIENT_SECONDS = 30.0
"""For answers that have to come, whatever else the machine has to do."""


def dedicated(dedicated_max: int = 8, idle_seconds: float = 600.0) -> ActorSettings:
    return ActorSettings(
        placement="dedicated",
        shards=1,
        dedicated_max=dedicated_max,
        idle_seconds=idle_seconds,
        request_timeout_seconds=PATIENT_SECONDS,
    )


async def test_a_certificate_has_an_actor_of_its_own_and_its_order_does_not(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(dedicated())
    await ledger.start()
    recipient = ledger.vault.seal(b'{"phone":"+79990000001"}', "recipient")
    order = Place(1, False, "OnlineStore", RUB, (PlannedLine("1", 500, recipient),))

    await insist(ledger.router, "o:SO-1", order)
    await insist(ledger.router, CERTIFICATE, Sell("SO-1", "1"))
    await insist(ledger.router, "o:SO-1", RecordPayment(1, RUB, 500, 0, True, {"1": 500}))
    await until(partial(issued, ledger))
    await insist(ledger.router, CERTIFICATE, Look())

    assert ledger.names == [ACTOR, "orders:00"]
    report = await ledger.answer(ACTOR)
    assert (report.kind, report.facts["residents"]) == ("certificate", 1)
    # the shard served the sale, as it serves every code of which nothing is known yet
    assert (await ledger.answer("orders:00")).facts["residents"] == 2


async def test_two_gateways_share_the_actor_of_a_certificate(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated())
    await ledger.start()
    await issue(ledger.router, CODE)
    other = await ledger.open_router()

    answers = await asyncio.gather(
        *(router.ask(CERTIFICATE, Authorize(1, RUB), SYSTEM) for router in (ledger.router, other) * 10)
    )

    assert {body(answer)["available"] for answer in answers} == set(range(DENOMINATION - 20, DENOMINATION))
    assert ledger.names == [ACTOR, "orders:00"]
    assert "conflicts" not in (await ledger.answer(ACTOR)).facts


async def test_those_beyond_the_bound_live_in_the_shards(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated(dedicated_max=1))
    await ledger.start()
    await issue(ledger.router, CODE)

    await issue(ledger.router, "GC-0000-0002")

    assert ledger.names == [ACTOR, "orders:00"]
    shown = await insist(ledger.router, "c:GC-0000-0002", Look())
    assert body(shown)["balance"] == DENOMINATION


async def test_an_idle_one_leaves_and_comes_back_when_it_is_asked(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated(idle_seconds=1.0))
    await ledger.start()
    await issue(ledger.router, CODE)
    first = (await ledger.report(ACTOR)).pid

    await until(lambda: ledger.names == ["orders:00"])
    answer = await insist(ledger.router, CERTIFICATE, Look())

    assert body(answer)["balance"] == DENOMINATION
    await until(partial(replaced, ledger, first))  # it is woken again if it has left once more


async def test_guesses_at_codes_wake_no_actor(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated(dedicated_max=1))
    await ledger.start()

    for _ in range(2):
        await insist(ledger.router, "c:GC-0000-0000", Look())
    await issue(ledger.router, CODE)

    assert ledger.names == [ACTOR, "orders:00"]


async def test_a_timer_wakes_no_actor(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated())
    await ledger.start()

    await insist(ledger.router, CERTIFICATE, Tick())

    assert ledger.names == ["orders:00"]


async def test_traffic_goes_on_while_its_actor_leaves_again_and_again(
    make_ray_ledger: Callable[..., RayLedger],
) -> None:
    ledger = make_ray_ledger(dedicated())
    await ledger.start()
    await issue(ledger.router, CODE)
    tills = [Till(number, ledger.router, [CODE]) for number in range(4)]
    running = [asyncio.create_task(till.run()) for till in tills]

    for _ in range(2):
        pid = (await ledger.answer(ACTOR)).pid
        ledger.actor(ACTOR).stop.remote()
        await until(partial(replaced, ledger, pid))
        for till in tills:
            till.answered.clear()
        await asyncio.gather(*(till.answered.wait() for till in tills))
    for till in tills:
        till.stop()
    await asyncio.gather(*running)

    kept = await history_of(ledger.log, [CODE])
    assert sorted(kept) == sorted(key.encode() for till in tills for key in till.approved.values())
    assert sum(till.unknown for till in tills) == 0


async def test_a_killed_one_comes_back(make_ray_ledger: Callable[..., RayLedger]) -> None:
    ledger = make_ray_ledger(dedicated())
    await ledger.start()
    await issue(ledger.router, CODE)

    pid = await ledger.signal(ACTOR, signal.SIGKILL)
    await until(partial(replaced, ledger, pid))

    assert body(await insist(ledger.router, CERTIFICATE, Look()))["balance"] == DENOMINATION


async def issued(ledger: RayLedger) -> bool:
    return await ledger.log.messages_waiting() == 1


async def replaced(ledger: RayLedger, pid: int) -> bool:
    """Whether the certificate is served by another process."""
    await insist(ledger.router, CERTIFICATE, Look())
    return (await ledger.report(ACTOR)).pid not in {0, pid}
