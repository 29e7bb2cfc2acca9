"""The machines of one run: shards, gateways and the bridge, and who believes that who lives where."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from actors.host import HostSettings, ShardHost
from actors.lane import NoSuchActorError
from actors.placement import partitions_of, shard_name, shard_of
from actors.router import Router
from actors.settings import ActorSettings
from gateway.bridge_settings import BridgeSettings
from gateway.inbox import Inbox
from gateway.relay import OutboxRelay
from ledger.policy import Policy
from persistence.secrets_file import KEY_BYTES
from persistence.vault import Vault
from tests.simulation.machine import Machine
from tests.simulation.store import StoreClient

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from persistence.log import Log
    from tests.simulation.auditor import Auditor
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.network import Network
    from tests.simulation.store import Store
    from tests.simulation.trace import Trace

SHARDS = 2
GATES = 2
TOKEN = b"opens all doors of a simulation"
ACTORS = ActorSettings(
    shards=SHARDS,
    channel="tcp",
    request_timeout_seconds=2.5,
    timer_poll_seconds=0.5,
    batch_max=8,
    mailbox_max=64,
    snapshot_every=6,
    passivation_tail=2,
    idle_seconds=3.0,
    residents_max=6,
)
BRIDGE = BridgeSettings(bootstrap="broker:9092", assign_partitions=True)


class PlainVault(Vault):
    """Seals without chance: two runs of one seed write the same bytes."""

    def __init__(self) -> None:
        super().__init__(bytes(KEY_BYTES), {1: bytes(KEY_BYTES)}, 1)

    def random(self, count: int) -> bytes:
        return bytes(count)


class Places:
    """A machine's belief where entities live; another machine may believe otherwise."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.shards = SHARDS
        self.old: dict[str, Shards] = {}
        """Shards that this machine goes on with, by the names that others have taken."""
        self._cluster = cluster
        self._partitions = partitions

    async def holder(self, entity: str, *, wake: bool) -> str:  # noqa: ARG002 - the protocol's own signature
        return shard_of(entity, "shared", self.shards, self._partitions)

    def holder_now(self, entity: str) -> str | None:
        return shard_of(entity, "shared", self.shards, self._partitions)

    async def address(self, name: str) -> str:
        await asyncio.sleep(0.002)
        old = self.old.get(name)
        if old is not None and not old.machine.dead:
            return old.host.address
        return self._cluster.address(name)


class Part:
    """A machine with what runs on it."""

    def __init__(self, machine: Machine, places: Places) -> None:
        self.machine = machine
        self.places = places
        self.stop = asyncio.Event()


class Shards(Part):
    """A machine that runs a shard."""

    host: ShardHost
    leaves = False
    """Whether it was asked to stop."""


class Gate(Part):
    """A machine that callers reach the ledger through."""

    router: Router | None = None

    async def run(self) -> None:
        async with Router(self.places, ACTORS, TOKEN) as self.router:
            await self.stop.wait()
        self.router = None


class Bridge(Part):
    """A machine that carries between the ledger and Kafka."""

    relay: OutboxRelay

    async def run(self, log: Log, vault: Vault) -> None:
        clock = self.machine.clock
        async with Router(self.places, ACTORS, TOKEN) as router, asyncio.TaskGroup() as tasks:
            self.relay = OutboxRelay(log, BRIDGE, clock)
            tasks.create_task(self.relay.run(self.stop), name="relay")
            tasks.create_task(Inbox(router, vault, BRIDGE, clock).run(self.stop), name="inbox")


class Cluster:
    """Starts machines, and finds them.

    Args:
        began_ms: what their clocks show when the run begins.
        policy: of the business.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        store: Store,
        auditor: Auditor,
        trace: Trace,
        began_ms: int,
        policy: Policy,
    ) -> None:
        self.vault = PlainVault()
        self.shards: dict[str, list[Shards]] = {}
        """By the name of the actor, the latest last: those before it may live on, and not know of it."""
        self.gates: list[Gate] = []
        self.bridges: list[Bridge] = []
        self.started: list[Shards] = []
        """All shards that ever were."""
        self.machines: list[Machine] = []
        """All that ever were."""
        self._loop = loop
        self._network = network
        self._store = store
        self._auditor = auditor
        self._trace = trace
        self._began_ms = began_ms
        self._policy = policy

    @property
    def parts(self) -> list[Part]:
        """All that live, or are paused."""
        shards = [one for line in self.shards.values() for one in line]
        return [part for part in (*shards, *self.gates, *self.bridges) if not part.machine.dead]

    def address(self, name: str) -> str:
        """Where the actor listens that was started last under a name."""
        line = self.shards.get(name, [])
        if not line or line[-1].machine.dead or not line[-1].host.address:
            raise NoSuchActorError(name)
        return line[-1].host.address

    def cvc(self, code: str) -> bytes | None:
        """What the recipient of a certificate has read in his message, as the ledger is told it."""
        return self._auditor.certificate(code).cvc

    def start_shard(self, number: int) -> Shards:
        """Start a shard; one of the same name that still lives becomes a zombie."""
        name = shard_name("shared", number)
        part = Shards(*self._machine(f"shard{number}"))
        partitions = tuple(partitions_of(number, SHARDS, self._store.log.partitions))
        settings = HostSettings(name=name, partitions=partitions, actors=ACTORS, policy=self._policy)
        log = StoreClient(self._store)

        async def open_log() -> Log:
            return cast("Log", log)

        part.host = ShardHost(settings, open_log, self.vault, part.places, TOKEN, part.machine.clock)
        self.shards.setdefault(name, []).append(part)
        self.started.append(part)
        self._start(part, part.host.run())
        return part

    def start_gate(self) -> Gate:
        """Start a gateway."""
        gate = Gate(*self._machine("gate"))
        self.gates.append(gate)
        self._start(gate, gate.run())
        return gate

    def start_bridge(self) -> Bridge:
        """Start a bridge; one that still lives goes on beside it."""
        bridge = Bridge(*self._machine("bridge"))
        self.bridges.append(bridge)
        self._start(bridge, bridge.run(cast("Log", StoreClient(self._store)), self.vault))
        return bridge

    def kill(self, part: Part) -> None:
        """Kill a machine; its peers see their connections end."""
        self._trace.note(part.machine.name, "is killed")
        part.machine.kill()
        self._network.drop(part.machine)

    def bury(self) -> None:
        """Take the dead out of the lists."""
        self.gates = [gate for gate in self.gates if not gate.machine.dead]
        self.bridges = [bridge for bridge in self.bridges if not bridge.machine.dead]
        self.shards = {
            name: [one for one in line if not one.machine.dead] or line[-1:] for name, line in self.shards.items()
        }

    def _machine(self, kind: str) -> tuple[Machine, Places]:
        machine = Machine(f"{kind}#{len(self.machines)}", self._loop, self._began_ms)
        self.machines.append(machine)
        return machine, Places(self, self._store.log.partitions)

    def _start(self, part: Part, coroutine: Coroutine[Any, Any, None]) -> None:
        self._trace.note(part.machine.name, "starts")
        part.machine.start(coroutine, part.machine.name).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._auditor.find("end of a part", f"{task.get_name()} died of {task.exception()!r}")
