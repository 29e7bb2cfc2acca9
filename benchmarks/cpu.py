"""Where CPU time goes: which part of the product has had how much of it, and how much nobody wanted."""

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.product import Product

GATEWAY: Final = "gateway"
SHARD: Final = "shard"
VALKEY: Final = "Valkey"
BRIDGE: Final = "relay, inbox and SMS sender"
RAY: Final = "Ray's own processes"
LOAD: Final = "load generator"
PARTS: Final = (GATEWAY, SHARD, VALKEY, BRIDGE, RAY, LOAD)

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Fields of ``/proc/PID/stat`` behind the name of the program, from 0."""
_IDLE: Final = (3, 4)
"""Columns of the first line of ``/proc/stat``, from 0: idle, and idle while a disk is waited for."""
_ALL: Final = 8
"""Columns that add up to all time; those behind are parts of these."""


class Spent(Struct, frozen=True):
    """CPU seconds up to now: of each part, of nobody, and of the whole machine."""

    parts: dict[str, float]
    idle: float
    machine: float

    def since(self, before: "Spent") -> "Spent":
        """What was spent since then."""
        parts = {part: seconds - before.parts[part] for part, seconds in self.parts.items()}
        return Spent(parts, self.idle - before.idle, self.machine - before.machine)


class Cpu:
    """Looks at the processes of a stack, and at ourselves, who make the load.

    Args:
        product: runs, and starts no actor any more.
    """

    def __init__(self, product: Product) -> None:
        kinds = {int(actor["pid"]): SHARD if actor["kind"] == "shard" else BRIDGE for actor in product.actors()}
        self._parts = {pid: kinds.get(pid) or _part(pid, product.pid) for pid in product.processes()}

    def spent(self) -> Spent:
        """Now."""
        parts = dict.fromkeys(PARTS, 0.0)
        for pid, part in self._parts.items():
            parts[part] += _seconds(Path(f"/proc/{pid}/stat").read_text())
        own = os.times()
        # wrk is a child that was waited for
        parts[LOAD] = own.user + own.system + own.children_user + own.children_system
        idle, machine = _machine(Path("/proc/stat").read_text())
        return Spent(parts, idle, machine)


def _part(pid: int, gateway: int) -> str:
    if pid == gateway:
        return GATEWAY
    program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    return VALKEY if b"valkey" in program else RAY


def _seconds(stat: str) -> float:
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def _machine(stat: str) -> tuple[float, float]:
    columns = [int(column) / _TICKS for column in stat.splitlines()[0].split()[1:]]
    return sum(columns[column] for column in _IDLE), sum(columns[:_ALL])
