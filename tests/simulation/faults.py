"""What goes wrong, and when: drawn from the seed. Each run has some kinds of faults and not others."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulation.broker import Broker
    from tests.simulation.cluster import Cluster, Part, Shards
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.network import Network
    from tests.simulation.server import Server
    from tests.simulation.store import Store
    from tests.simulation.trace import Trace
    from tests.simulation.weather import Weather

FAULTS_MAX = 16
BAD_TIMES = 2
BAD_SECONDS = 2.0


class Faults:
    """Has things go wrong for some time, and then all be well.

    Args:
        ways: the weather between machines.
    """

    def __init__(
        self, cluster: Cluster, network: Network, store: Store, broker: Broker, ways: Weather, seed: int, trace: Trace
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.clocks_apart_ms = 100
        """How far the clocks of machines have been from the true time at most, and a little more."""
        self._cluster = cluster
        self._network = network
        self._store = store
        self._broker = broker
        self._ways = ways
        self._random = Random(f"{seed}/faults")
        self._trace = trace
        self._loop: VirtualLoop = network.loop
        self._calm = False
        self._kinds: dict[str, Callable[[], str | None]] = {
            "store hangs": lambda: self._hangs(store.server),
            "store restarts": lambda: self._restarts(store.server),
            "store refuses": lambda: self._refuses(store.server),
            "store loses": lambda: self._loses(store.server),
            "broker hangs": lambda: self._hangs(broker.server),
            "broker restarts": lambda: self._restarts(broker.server),
            "broker loses": lambda: self._loses(broker.server),
            "ways break": self._ways_break,
            "way is blocked": self._way_is_blocked,
            "shard is killed": self._shard_is_killed,
            "machine is paused": self._machine_is_paused,
            "shard is replaced": self._shard_is_replaced,
            "shard leaves": self._shard_leaves,
            "gateway is killed": self._gateway_is_killed,
            "bridge is killed": self._bridge_is_killed,
            "bridge leaves": self._bridge_leaves,
            "bridge falls with the store": self._bridge_falls_with_the_store,
            "bridge is doubled": self._bridge_is_doubled,
            "places differ": self._places_differ,
            "clock jumps": self._clock_jumps,
        }

    def begin(self, seconds: float) -> None:
        """Plan what goes wrong within so many seconds."""
        draw = self._random
        kinds = [kind for kind in self._kinds if draw.random() < 0.4]
        for server in (self._store.server, self._broker.server):
            if draw.random() < 0.5:
                # a little is lost all the time, until it is lost in heaps or all is well
                server.weather.lost, server.weather.unanswered, server.weather.belated = 0.01, 0.04, 0.01
                self._trace.note("faults", f"{server.name} loses a little")
        # misfortunes seldom come singly
        bad = [seconds * draw.random() for _ in range(BAD_TIMES)]
        for _ in range(draw.randrange(FAULTS_MAX + 1) if kinds else 0):
            at = draw.choice(bad) + draw.uniform(0.0, BAD_SECONDS) if draw.random() < 0.6 else seconds * draw.random()
            self._loop.call_at(at, self._go_wrong, draw.choice(kinds))

    def end(self) -> None:
        """All is well from now on: one of each shard, one bridge, everything reached and answering."""
        self._calm = True
        self._trace.note("faults", "end")
        self._ways.clear()
        for server in (self._store.server, self._broker.server):
            server.weather.clear()
            server.recover()
        self._network.heal()
        cluster = self._cluster
        for line in cluster.shards.values():
            self._leave_the_last(line)
        self._leave_the_last(cluster.bridges)
        for part in cluster.parts:
            part.machine.ahead_ms = 0
            part.machine.resume()
        cluster.bury()
        for number, line in enumerate(cluster.shards.values()):
            if line[-1].machine.dead or line[-1].leaves:
                cluster.start_shard(number)
        if not cluster.bridges or cluster.bridges[-1].stop.is_set():
            cluster.start_bridge()
        if not cluster.gates:
            cluster.start_gate()
        for part in cluster.parts:
            part.places.shards = len(cluster.shards)
            part.places.old.clear()

    def _go_wrong(self, kind: str) -> None:
        if self._calm:
            return
        what = self._kinds[kind]()
        if what is not None:
            self.counts[kind] += 1
            self._trace.note("faults", f"{kind}: {what}")

    def _later(self, low: float, high: float, function: Callable[[], object]) -> str:
        """Have something end after a while, unless all has ended by then."""
        seconds = self._random.uniform(low, high)

        def end() -> None:
            if not self._calm:
                function()

        self._loop.call_later(seconds, end)
        return f"for {seconds:.3f} s"

    def _long(self) -> float:
        """How long an outage may last: most are short."""
        return self._random.choice((1.0, 3.0, 8.0))

    def _hangs(self, server: Server) -> str:
        server.pause()
        return self._later(0.1, self._long(), server.resume)

    def _restarts(self, server: Server) -> str:
        server.stop()
        return self._later(0.1, self._long(), server.start)

    def _refuses(self, server: Server) -> str:
        server.refuse(writes=True)
        return self._later(0.1, 3.0, lambda: server.refuse(writes=False))

    def _loses(self, server: Server) -> str:
        weather, draw = server.weather, self._random
        weather.lost = draw.choice((0.0, 0.05, 0.2))
        weather.unanswered = draw.choice((0.05, 0.2))
        weather.belated = draw.choice((0.0, 0.1))
        weather.refused = draw.choice((0.0, 0.1))
        weather.late = draw.choice((0.0, 0.2))
        return self._later(1.0, 5.0, weather.clear)

    def _ways_break(self) -> str:
        weather, draw = self._ways, self._random
        weather.cut = draw.choice((0.0, 0.03, 0.1))
        weather.mute = draw.choice((0.0, 0.02))
        weather.twice = draw.choice((0.0, 0.1))
        weather.torn = draw.choice((0.0, 0.3))
        weather.late = draw.choice((0.0, 0.2))
        weather.lost = draw.choice((0.0, 0.1))
        weather.unanswered = draw.choice((0.0, 0.1))
        return self._later(1.0, 5.0, weather.clear)

    def _way_is_blocked(self) -> str | None:
        machines = [part.machine.name for part in self._cluster.parts]
        if len(machines) < 2:
            return None
        source, target = self._random.sample(machines, 2)
        seconds = self._random.uniform(0.2, 4.0)
        self._network.block(source, target, seconds)
        if self._random.random() < 0.5:
            self._network.block(target, source, seconds)
            return f"{source} and {target} for {seconds:.3f} s"
        return f"{source} to {target} for {seconds:.3f} s"

    def _shard_is_killed(self) -> str | None:
        number, line = self._shard()
        if line[-1].machine.dead:
            return None
        self._cluster.kill(line[-1])
        return self._later(0.05, 3.0, lambda: self._start_shard(number))

    def _machine_is_paused(self) -> str | None:
        machine = self._random.choice(self._cluster.parts).machine
        if not machine.runs:
            return None
        machine.pause()
        return f"{machine.name} {self._later(0.1, 5.0, machine.resume)}"

    def _shard_is_replaced(self) -> str | None:
        """It hangs, another is started in its place, and it goes on as if nothing had been, and some with it."""
        number, line = self._shard()
        old = line[-1]
        if old.machine.dead or not old.machine.runs or not old.host.address:
            return None
        for part in self._cluster.parts:
            if self._random.random() < 0.5:
                part.places.old[old.host.settings.name] = old
        old.machine.pause()
        self._cluster.start_shard(number)
        return f"{old.machine.name} {self._later(0.0, 4.0, old.machine.resume)}"

    def _shard_leaves(self) -> str | None:
        """It is stopped in good order, and another takes its place."""
        number, line = self._shard()
        if line[-1].machine.dead:
            return None
        line[-1].leaves = True
        line[-1].host.stop()
        return f"{line[-1].machine.name} {self._later(0.0, 2.0, lambda: self._cluster.start_shard(number))}"

    def _gateway_is_killed(self) -> str | None:
        gates = [gate for gate in self._cluster.gates if not gate.machine.dead]
        if not gates:
            return None
        gate = self._random.choice(gates)
        self._cluster.kill(gate)
        return f"{gate.machine.name} {self._later(0.1, 2.0, self._start_gate)}"

    def _bridge_is_killed(self) -> str | None:
        bridges = [bridge for bridge in self._cluster.bridges if not bridge.machine.dead]
        if not bridges:
            return None
        self._cluster.kill(self._random.choice(bridges))
        return self._later(0.1, 3.0, self._cluster.start_bridge)

    def _bridge_falls_with_the_store(self) -> str | None:
        """The log is away, and the bridge is killed when it has had the time to commit what is not in the log."""
        bridges = [bridge for bridge in self._cluster.bridges if not bridge.machine.dead]
        if not bridges:
            return None
        bridge, server = self._random.choice(bridges), self._store.server
        server.stop()

        def fall() -> None:
            if not bridge.machine.dead:
                self._cluster.kill(bridge)
            server.start()
            self._later(0.1, 1.0, self._cluster.start_bridge)

        return f"{bridge.machine.name} {self._later(0.3, 2.0, fall)}"

    def _bridge_leaves(self) -> str | None:
        """It is stopped in good order, and another takes its place."""
        bridges = [bridge for bridge in self._cluster.bridges if bridge.machine.runs and not bridge.stop.is_set()]
        if not bridges:
            return None
        bridge = self._random.choice(bridges)
        bridge.stop.set()
        return f"{bridge.machine.name} {self._later(0.0, 2.0, self._cluster.start_bridge)}"

    def _bridge_is_doubled(self) -> str:
        """Two relays and two inboxes run."""
        return self._cluster.start_bridge().machine.name

    def _places_differ(self) -> str:
        gates: list[Part] = [gate for gate in self._cluster.gates if not gate.machine.dead]
        part = self._random.choice([*self._cluster.parts, *gates, *gates])
        part.places.shards = self._random.choice((1, 2))
        return f"{part.machine.name} knows {part.places.shards}"

    def _clock_jumps(self) -> str:
        machine = self._random.choice(self._cluster.parts).machine
        machine.ahead_ms += self._random.choice((-2_500, -300, 400, 3_000, 12_000))
        self.clocks_apart_ms = max(self.clocks_apart_ms, 100 + abs(machine.ahead_ms))
        return f"{machine.name} is {machine.ahead_ms} ms ahead"

    def _shard(self) -> tuple[int, list[Shards]]:
        names = list(self._cluster.shards)
        number = self._random.randrange(len(names))
        return number, self._cluster.shards[names[number]]

    def _start_shard(self, number: int) -> None:
        line = self._cluster.shards[list(self._cluster.shards)[number]]
        if line[-1].machine.dead:
            self._cluster.start_shard(number)

    def _start_gate(self) -> None:
        self._cluster.bury()
        self._cluster.start_gate()

    def _leave_the_last(self, line: Sequence[Part]) -> None:
        for part in line[:-1]:
            if not part.machine.dead:
                self._cluster.kill(part)
