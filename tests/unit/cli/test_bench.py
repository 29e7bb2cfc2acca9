"""``gift-ledger bench``."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from gift_ledger.bench.generator import Load
from gift_ledger.bench.latencies import Latencies
from gift_ledger.bench.look import Look
from gift_ledger.cli.context import Exit
from gift_ledger.endpoints import Endpoints
from tests.unit.cli.stage import ENDPOINTS, World

MS = 1_000_000


class Bench:
    """Stands for the load; notes what was wanted."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.looks: list[Look] = []

    async def __call__(self, look: Look) -> Load:
        self.looks.append(look)
        return self.load


@pytest.fixture
def stack(world: World) -> World:
    world.start_stack()
    (world.folder / "data" / "keys.json").write_text('{"pos": "p", "ops": "o", "support": "s"}')
    return world


def bench(world: World, load: Load | None = None) -> Bench:
    made = Bench(load or Load(latencies=Latencies([1 * MS, 2 * MS, 30 * MS]), seconds=0.5, requests=3))
    world.use(bench=made)
    return made


def test_the_running_stack_is_looked_at_with_what_was_asked_for(stack: World) -> None:
    made = bench(stack)

    ran = stack.run("bench", "--seconds", "2", "--rate", "500", "--connections", "4", "--certificates", "7")

    assert ran.exit_code == Exit.OK
    (look,) = made.looks
    assert (look.seconds, look.rate, look.connections, look.certificates) == (2.0, 500.0, 4, 7)
    assert (look.url, look.keys["pos"], look.settings.kafka_bootstrap) == (ENDPOINTS.http, "p", ENDPOINTS.kafka)


def test_rate_and_latencies_are_shown(stack: World) -> None:
    bench(stack)

    said = stack.run("bench").stdout.split()

    assert said[:2] == ["authorizations/s", "6"]
    assert said[said.index("p99") : said.index("p99") + 3] == ["p99", "ms", "30.00"]


def test_programs_get_json(stack: World) -> None:
    bench(stack)

    found = json.loads(stack.run("bench", "--json").stdout)

    assert (found["authorizationsPerSecond"], found["authorized"], found["p50Ms"]) == (6.0, 3, 2.0)


def test_refusals_are_a_finding_and_shown_as_they_came(stack: World) -> None:
    bench(stack, Load(latencies=Latencies(), seconds=1.0, refused=2, refusals=["409 [no markup]"]))

    ran = stack.run("bench")

    assert ran.exit_code == Exit.FOUND
    assert "409 [no markup]" in ran.stdout
    assert json.loads(stack.run("bench", "--json").stdout)["p50Ms"] is None


@pytest.mark.parametrize("variable", ["GIFT_LEDGER_REDIS_URL", "GIFT_LEDGER_KAFKA_BOOTSTRAP"])
def test_where_others_may_hear_of_it_it_wants_to_be_told(stack: World, variable: str) -> None:
    made = bench(stack)
    stack.environ |= {variable: "redis://127.0.0.1:1/0" if "REDIS" in variable else "kafka:9092"}

    refused = stack.run("bench")
    agreed = stack.run("bench", "--yes")

    assert refused.exit_code == Exit.NOT_RUN
    assert "add --yes" in refused.stderr
    assert agreed.exit_code == Exit.OK
    assert len(made.looks) == 1


def test_without_a_running_stack_it_says_so(world: World, tmp_path: Path) -> None:
    world.environ = {"GIFT_LEDGER_DATA_DIR": str(tmp_path / "nothing")}

    ran = world.run("bench")

    assert ran.exit_code == Exit.NOT_RUN
    assert "start it with `gift-ledger up`" in ran.stderr


def test_it_speaks_plain_http_alone(stack: World) -> None:
    made = bench(stack)
    folder = stack.folder / "data"
    replace(Endpoints.read(folder), http_certificate="/tls.crt").write(folder)

    ran = stack.run("bench")

    assert ran.exit_code == Exit.NOT_RUN
    assert "plain HTTP alone" in ran.stderr
    assert made.looks == []
