"""Streams between machines, in memory: ordered, cut, torn, slow, or silent one way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import MACHINE
from tests.simulation.weather import Chance, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.loop import VirtualLoop
    from tests.simulation.machine import Machine
    from tests.simulation.trace import Trace


class Listener:
    """A port that is listened on; as much of `asyncio.Server` as is asked of it."""

    def __init__(self, network: Network, machine: Machine, factory: Callable[[], asyncio.Protocol], port: int) -> None:
        self.machine = machine
        self.factory = factory
        self.sockets = [self]
        self._network = network
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return self.machine.name, self._port

    def close(self) -> None:
        self._network.deaf(self._port)


class End(asyncio.Transport):
    """One end of a stream."""

    def __init__(self, network: Network, machine: Machine, protocol: asyncio.Protocol, chance: Chance) -> None:
        super().__init__()
        self.machine = machine
        self.protocol = protocol
        self.peer: End
        self.open = True
        self._network = network
        self._chance = chance
        self._mute = False
        self._arrives = 0.0
        """When the last piece that was sent arrives: none comes before it."""

    def get_extra_info(self, _name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's own signature
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """What is sent is on its way at once."""

    def is_closing(self) -> bool:
        return not self.open

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.open:
            return
        chance, weather = self._chance, self._chance.weather
        if chance.happens(weather.mute):
            self._mute = True
        if chance.happens(weather.cut):
            self._network.note(self.machine, f"the way to {self.peer.machine.name} breaks")
            self._send(bytes(data[: chance.part(len(data))]))
            self.abort()
        elif chance.happens(weather.torn):
            part = chance.part(len(data))
            self._send(bytes(data[:part]))
            self._send(bytes(data[part:]))
        else:
            self._send(bytes(data))
            if chance.happens(weather.twice):
                self._network.doubled += 1
                self._network.note(self.machine, f"a frame to {self.peer.machine.name} comes twice")
                self._send(bytes(data))

    def close(self) -> None:
        self._hang_up()

    def abort(self) -> None:
        self._hang_up()

    def drop(self) -> None:
        """Its machine has died: the peer is told, unless this end was mute."""
        if self.open:
            self.open = False
            self._network.gone(self)
            self._tell_the_end()

    def _hang_up(self) -> None:
        if self.open:
            self.open = False
            self._network.gone(self)
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
            self._tell_the_end()

    def lost(self) -> None:
        """The other end is gone."""
        if self.open:
            self.open = False
            self._network.gone(self)
            self.protocol.connection_lost(None)

    def arrive(self, data: bytes) -> None:
        """A piece has come."""
        if self.open:
            self.protocol.data_received(data)

    def _tell_the_end(self) -> None:
        if not self._mute:
            self._later(self.peer.lost)

    def _send(self, data: bytes) -> None:
        if not self._mute:
            self._later(self.peer.arrive, data)

    def _later(self, function: Callable[..., None], *args: bytes) -> None:
        at = self._network.arrival(self.machine, self.peer.machine, self._chance.latency())
        self._arrives = max(at, self._arrives + 1e-7)
        self._network.loop.call_at(self._arrives, function, *args, context=self.peer.machine.context)


class Network:
    """Connects machines.

    Args:
        seed: decides, with `weather`, what becomes of each piece.
    """

    def __init__(self, loop: VirtualLoop, seed: int, weather: Weather, trace: Trace) -> None:
        self.loop = loop
        self.loop.network = self
        self.doubled = 0
        """Frames that came twice."""
        self._seed = seed
        self._weather = weather
        self._trace = trace
        self._ports: dict[int, Listener] = {}
        self._port = 0
        self._made = 0
        self._ends: dict[End, None] = {}
        self._held: dict[tuple[str, str], float] = {}

    def listen(self, factory: Callable[[], asyncio.Protocol], _host: str) -> Listener:
        machine = MACHINE.get()
        assert machine is not None
        self._port += 1
        self._ports[self._port] = listener = Listener(self, machine, factory, self._port)
        return listener

    def deaf(self, port: int) -> None:
        """Nobody listens there any more."""
        self._ports.pop(port, None)

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        machine = MACHINE.get()
        assert machine is not None
        self._made += 1
        chance = Chance(f"{self._seed}/connection {self._made}", self._weather)
        listener = self._ports.get(port)
        there = machine if listener is None else listener.machine
        await asyncio.sleep(self.arrival(machine, there, chance.latency()) - self.loop.time())
        listener = self._ports.get(port)
        if listener is None or listener.machine.dead:
            raise ConnectionRefusedError(f"nobody listens on {port}")
        own, other = factory(), listener.factory()
        near = End(self, machine, own, chance)
        far = End(self, listener.machine, other, Chance(f"{self._seed}/answers {self._made}", self._weather))
        near.peer, far.peer = far, near
        self._ends |= {near: None, far: None}
        self.loop.call_soon(other.connection_made, far, context=listener.machine.context)
        own.connection_made(near)
        self.note(machine, f"connects to {listener.machine.name}")
        return near, own

    def arrival(self, source: Machine, target: Machine, latency: float) -> float:
        """When what is sent now arrives: a way that is blocked delivers when it is open again."""
        return max(self.loop.time(), self._held.get((source.name, target.name), 0.0)) + latency

    def block(self, source: str, target: str, seconds: float) -> None:
        """Nothing gets from one machine to another for a while, one way."""
        self._held[source, target] = self.loop.time() + seconds

    def heal(self) -> None:
        """All ways are open, for what is sent from now on."""
        self._held.clear()

    def drop(self, machine: Machine) -> None:
        """A machine has died: its ports and connections are gone."""
        self._ports = {port: one for port, one in self._ports.items() if one.machine is not machine}
        for end in [end for end in self._ends if end.machine is machine]:
            end.drop()

    def gone(self, end: End) -> None:
        """A connection has ended here."""
        self._ends.pop(end, None)

    def note(self, machine: Machine, what: str) -> None:
        self._trace.note(machine.name, what)
