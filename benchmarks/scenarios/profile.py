"""Which process spends how much CPU time on an authorization: what stands in the way of more of them."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from benchmarks.cpu import PARTS, Cpu, Spent
from benchmarks.rounds import figure, middle
from benchmarks.scenarios.bulk import ITEMS, bulk_round
from benchmarks.section import Section, Table
from benchmarks.stage import Stage
from benchmarks.wrk import load

CONNECTIONS: Final = (16, 64, 256)
ROUNDS: Final = 3
_MICRO: Final = 1e6


class Profile(Struct, frozen=True):
    """One measurement: authorizations, how long they took, and what they cost."""

    count: float
    seconds: float
    spent: Spent

    def micros(self, part: str) -> float:
        """CPU time that the part spent on one, in microseconds."""
        return self.spent.parts[part] / self.count * _MICRO

    @property
    def bound(self) -> float:
        """Authorizations a second that the machine could do at this price if nobody ever waited."""
        cores = self.spent.machine / self.seconds
        return cores * self.count / sum(self.spent.parts.values())

    @property
    def idle(self) -> float:
        """Share of the machine's time that nobody wanted."""
        return self.spent.idle / self.spent.machine


def profile(stage: Stage) -> Section:
    """Measure."""
    cpu = Cpu(stage.product)
    seconds = stage.options.seconds
    loads: dict[str, Callable[[], tuple[float, float]]] = {}
    for connections in CONNECTIONS:

        def closed(connections: int = connections) -> tuple[float, float]:
            certificates = stage.options.certificates
            address = stage.product.address
            found = load(address, "authorize", certificates=certificates, connections=connections, seconds=seconds)
            return found.requests, found.seconds

        loads[f"{connections} connections"] = closed
    loads[f"bulk, {ITEMS} items"] = lambda: bulk_round(stage)
    found: dict[str, list[Profile]] = {name: [] for name in loads}
    for _ in range(ROUNDS):
        for name, one in loads.items():
            before = cpu.spent()
            count, took = one()
            found[name].append(Profile(count, took, cpu.spent().since(before)))
    stage.say("profile: done")
    return section(found, seconds)


def section(found: dict[str, list[Profile]], seconds: float) -> Section:
    """What was measured, as the report tells it."""
    rows = [
        (part, *(figure(middle([one.micros(part) for one in rounds])) for rounds in found.values())) for part in PARTS
    ]
    all_of_it = [middle([sum(one.micros(part) for part in PARTS) for one in rounds]) for rounds in found.values()]
    idle = [f"{middle([one.idle for one in rounds]):.0%}" for rounds in found.values()]
    rates = [figure(middle([one.count / one.seconds for one in rounds])) for rounds in found.values()]
    bounds = [figure(middle([one.bound for one in rounds])) for rounds in found.values()]
    rows += [("all", *map(figure, all_of_it)), ("idle", *idle), ("authorizations/s", *rates)]
    rows.append(("authorizations/s at this price, never idle", *bounds))
    return Section(
        title="Where the CPU time goes",
        how=(
            "CPU time of the product's processes and of the load generator, in microseconds for each authorization, "
            "and the share of the machine's time that nobody wanted. What they add up to bounds what the machine can "
            f"do, which is the last line: its cores, divided by all. Medians of {ROUNDS} rounds of {seconds:g} s. "
            "`docs/performance.md` says what the time is spent on, and what was tried to save it."
        ),
        tables=[Table(headings=("µs of CPU", *found), rows=rows)],
    )
