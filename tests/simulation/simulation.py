"""One run: things go wrong while people trade, then all is well and everything rests; then the account is taken."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ledger import certificate, order
from ledger.certificate import Certificate
from ledger.policy import Policy
from persistence.memory import MemoryLog
from tests.property.plain import YEAR_MS
from tests.simulation.auditor import Auditor, Wrong
from tests.simulation.broker import Broker
from tests.simulation.cluster import BRIDGE, GATES, SHARDS, Cluster
from tests.simulation.faults import Faults
from tests.simulation.loop import StalledError, VirtualLoop
from tests.simulation.machine import MIDNIGHT_MS
from tests.simulation.market import Orders, traders
from tests.simulation.network import Network
from tests.simulation.seams import simulated
from tests.simulation.store import Store, result
from tests.simulation.trace import Trace
from tests.simulation.verdict import put_aside, verdict
from tests.simulation.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable

TROUBLE_SECONDS = 14.0
REST_SECONDS_MAX = 60.0
"""How long everything may take to come to rest, once nothing goes wrong any more."""
REST_SECONDS = 0.5
"""Between two looks whether it has."""
MARKS = {"conflicts", "replayed", "loaded", "passivated", "storage_lost", "storage_refused", "errands_failed"}
"""Counts of shards that show whether a run has come into the corners that it is made for."""
SWEEPS_MAX = 5
"""Some tasks have to be cancelled twice: the first time they say goodbye."""
PARTITIONS = 4
TOPICS = (BRIDGE.sales_orders, BRIDGE.payments, BRIDGE.states, BRIDGE.transactions, BRIDGE.dead_letters)


class Report(Struct, frozen=True, kw_only=True):
    """What came of a run."""

    seed: int
    wrong: list[Wrong]
    digest: str
    lines: int
    steps: int
    seconds: float
    """Virtual."""
    appends: int
    records: int
    callers: int
    calls: int
    unknown: int
    """Calls whose callers gave up without an answer."""
    faults: dict[str, int]
    marks: dict[str, int]
    """What the faults have brought about in the service: conflicts, keys that came again, events sent twice."""


class Simulation:
    """A run of one seed.

    Args:
        show: gets each line of the trace.
    """

    def __init__(self, seed: int, show: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        draw = Random(f"{seed}/run")
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop.time, show)
        self.auditor = Auditor(self.loop.time)
        began_ms = MIDNIGHT_MS - draw.choice((7_000, 3_600_000))
        ways = Weather()
        self.network = Network(self.loop, seed, ways, self.trace)
        self.log = MemoryLog(PARTITIONS, lambda: self.clock(self.loop.time()))
        self.store = Store(self.log, self.auditor, self.loop, seed, Weather(), self.trace)
        self.broker = Broker(TOPICS, self.loop, seed, Weather(), self.trace)
        self.policy = Policy(
            reservation_ttl_ms=draw.choice((4_000, 15_000)),
            certificate_lifetime_ms=draw.choice((6_000, YEAR_MS, YEAR_MS)),
            hold_ttl_ms=draw.choice((2_000, 8_000)),
            cvc_lock_first_ms=500,
            cvc_lock_max_ms=2_000,
        )
        self.cluster = Cluster(self.loop, self.network, self.store, self.auditor, self.trace, began_ms, self.policy)
        self.orders = Orders(self.broker, self.loop, seed, TROUBLE_SECONDS, self.trace)
        self.traders = traders(self.cluster, self.loop, seed, ways, self.trace)
        self.faults = Faults(self.cluster, self.network, self.store, self.broker, ways, seed, self.trace)
        self._pause_seconds = draw.choice((0.1, 0.4, 1.0))
        self._began_ms = began_ms

    def run(self) -> Report:
        """Run to the end, and see what was wrong."""
        collects = gc.isenabled()
        gc.disable()
        try:
            with simulated(self.broker, self.seed, self.auditor.find):
                for stage in (self._play, self._sweep_up):
                    try:
                        self.loop.run_until_complete(stage())
                    except StalledError as error:
                        self.auditor.find("rest", str(error))
        finally:
            self.loop.close()
            if collects:
                gc.enable()
        wrong = self.auditor.wrong + verdict(self)
        calls = [called for trader in self.traders for called in trader.history]
        return Report(
            seed=self.seed,
            wrong=wrong,
            digest=self.trace.digest,
            lines=self.trace.lines,
            steps=self.loop.steps,
            seconds=self.loop.time(),
            appends=self.auditor.appends,
            records=len(self.auditor.journal),
            callers=len(self.traders),
            calls=len(calls),
            unknown=sum(not called.answered for called in calls),
            faults=dict(self.faults.counts),
            marks=self._marks(),
        )

    def clock(self, at: float) -> int:
        """The true time (milliseconds since the epoch) at a virtual second."""
        return self._began_ms + int(at * 1_000)

    async def _play(self) -> None:
        for number in range(SHARDS):
            self.cluster.start_shard(number)
        for _ in range(GATES):
            self.cluster.start_gate()
        self.cluster.start_bridge()
        self.orders.begin()
        self.faults.begin(TROUBLE_SECONDS)
        closing = asyncio.Event()
        trading = [asyncio.create_task(one.trade(closing, self._pause_seconds)) for one in self.traders]
        await asyncio.sleep(TROUBLE_SECONDS)
        closing.set()
        self.faults.end()
        for trader in self.traders:
            trader.persistent = True
        left = await self._rest(trading)
        for one in left:
            self.auditor.find("rest", one)
        self.trace.note("run", "ends")

    async def _rest(self, trading: list[asyncio.Task[None]]) -> list[str]:
        """Wait until nothing is left to be done; gives what still is."""
        end = self.loop.time() + REST_SECONDS_MAX
        left = ["everything"]
        while left and self.loop.time() < end and not self.auditor.wrong:
            await asyncio.sleep(REST_SECONDS)
            left = [f"{task.get_name()} waits for an answer" for task in trading if not task.done()] + self._left()
        return left

    def _left(self) -> list[str]:
        """What is still to be done, apart from what callers wait for."""
        now = self.clock(self.loop.time())
        sizes = result(self.log.outbox_sizes())
        left = [f"outbox {number} holds {size}" for number, size in enumerate(sizes) if size]
        late = result(self.log.due(range(PARTITIONS), now - 2_000))
        left += [f"the timer of {entity} is due" for entity in late]
        for entity, state in self.auditor.states.items():
            owed = certificate.errands(state, now) if isinstance(state, Certificate) else order.errands(state, now)
            left += [f"{entity} owes {errand.name} to {errand.target}" for errand in owed]
        for order_id, plan in self.orders.plans.items():
            state = self.auditor.order(order_id)
            if (state.order_version, state.cancelled) != plan:
                left.append(f"{order_id} has not heard of its version {plan}")
            paid = 0 if state.payment is None else state.payment.version
            if paid != self.orders.payments[order_id]:
                left.append(f"{order_id} has not heard of payment {self.orders.payments[order_id]}")
        aside = put_aside(self.broker)
        left += [
            f"{source} cannot be read, and was not put aside" for source in self.orders.junk if source not in aside
        ]
        return left

    def _marks(self) -> dict[str, int]:
        marks: Counter[str] = Counter()
        for shard in self.cluster.started:
            marks.update({name: int(value) for name, value in shard.host.report().facts.items() if name in MARKS})
        marks["frames twice"] = self.network.doubled
        for topic in (BRIDGE.states, BRIDGE.transactions):
            records = self.broker.topic(topic)
            marks["events twice"] += len(records) - len({dict(record.headers)["ce_id"] for record in records})
        return dict(marks)

    async def _sweep_up(self) -> None:
        """End all tasks, those of the dead as well, so that none is found unfinished later."""
        self.loop.ending = True
        self.trace.closed = True
        for server in (self.store.server, self.broker.server):
            server.stop()  # what is written from here on is no part of the account: nobody could publish it any more
        for machine in self.cluster.machines:
            machine.unwind()
        for _ in range(SWEEPS_MAX):
            for task in self._unfinished():
                task.cancel()
            if tasks := self._unfinished():
                await asyncio.wait(tasks, timeout=REST_SECONDS_MAX)
        if tasks := self._unfinished():
            raise StalledError(f"tasks do not end: {tasks}")

    def _unfinished(self) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def simulate(seed: int, show: Callable[[str], None] | None = None) -> Report:
    """Run one seed."""
    return Simulation(seed, show).run()
