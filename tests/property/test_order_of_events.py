"""Orders, payments and sales may come in any order, and more than once: the end is the same."""

from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.commands import Origin, Place, PlannedLine, RecordPayment
from ledger.identifiers import order_entity
from tests.property.world import World

ORDER = "SO-1"
SHOP = Origin("shop", "OnlineStore", own_only=True)
Step = Callable[[World], object]


def place(version: int, plan: dict[str, int], *, cancelled: bool = False) -> Step:
    lines = tuple(PlannedLine(*line) for line in plan.items())
    command = Place(version, cancelled, "OnlineStore", "RUB", lines)
    return lambda world: world.tell(order_entity(ORDER), command)


def pay(version: int, collected: dict[str, int], *, outstanding: int, currency: str = "RUB") -> Step:
    settled = outstanding == 0
    command = RecordPayment(version, currency, sum(collected.values()), outstanding, settled, collected)
    return lambda world: world.tell(order_entity(ORDER), command)


def sell(line: str) -> Step:
    return lambda world: world.sell(f"GC-LINE-{line}", ORDER, line, SHOP)


# Each is a story with the statuses that its two certificates come to, however it is told.
STORIES: dict[str, tuple[Sequence[Step], list[tuple[str, int]]]] = {
    "paid in two parts": (
        [
            place(1, {"1": 100, "2": 200}),
            sell("1"),
            sell("2"),
            pay(1, {"1": 100}, outstanding=200),
            pay(2, {"1": 100, "2": 200}, outstanding=0),
        ],
        [("Active", 100), ("Active", 200)],
    ),
    "a plan that changes": (
        [
            place(1, {"1": 100, "2": 100}),
            place(2, {"1": 150, "2": 100}),
            sell("1"),
            sell("2"),
            pay(3, {"1": 150, "2": 50}, outstanding=0),
        ],
        [("Active", 150), ("Reserved", 0)],
    ),
    "cancelled": (
        [place(1, {"1": 100, "2": 100}), place(1, {"1": 100, "2": 100}, cancelled=True), sell("1"), sell("2")],
        [("", 0), ("", 0)],
    ),
    "a line that is taken out": (
        [
            place(1, {"1": 100, "2": 100}),
            place(2, {"2": 100}),
            sell("1"),
            sell("2"),
            pay(1, {"2": 100}, outstanding=0),
        ],
        [("", 0), ("Active", 100)],
    ),
    "a payment in another currency": (
        [
            place(1, {"1": 100, "2": 100}),
            sell("1"),
            sell("2"),
            pay(1, {"1": 100, "2": 100}, outstanding=0),
            pay(2, {"1": 500}, outstanding=1, currency="USD"),
        ],
        [("Active", 100), ("Active", 100)],
    ),
}


@given(data=st.data(), name=st.sampled_from(sorted(STORIES)))
@settings(max_examples=400)
def test_a_story_ends_the_same_however_it_is_told(data: st.DataObject, name: str) -> None:
    steps, end = STORIES[name]
    order = data.draw(st.permutations([*steps, *data.draw(st.lists(st.sampled_from(steps), max_size=3))]))
    pauses = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    world = World()

    for step, pause in zip(order, pauses, strict=True):
        step(world)
        if pause:
            world.rest()
    world.rest()

    # what was activated before a later version took it back stays: a story in which that can happen ends in it as well
    assert shown(world) in [end, *also_possible(name)]


def also_possible(name: str) -> list[list[tuple[str, int]]]:
    """Nothing that is issued is ever taken back, so a plan that counts only for a while may have been carried out."""
    return {"a plan that changes": [[("Active", 100), ("Reserved", 0)]]}.get(name, [])


def shown(world: World) -> list[tuple[str, int]]:
    states = [world.certificate("GC-LINE-1"), world.certificate("GC-LINE-2")]
    return [(state.status.value, state.balance) for state in states]
