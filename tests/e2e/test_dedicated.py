"""Each certificate in a Ray actor of its own, as the Ray command line shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.market import Market
from tests.real.stack import RunningStack, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

RAY = str(Path(sys.executable).with_name("ray"))
LIST_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    settings = {"PLACEMENT": "dedicated", "DEDICATED_MAX": "6"}
    yield from running(RunningStack(tmp_path_factory.mktemp("dedicated"), settings))


def listed(stack: RunningStack) -> dict[str, dict[str, Any]]:
    """What `ray list actors --detail` tells of the actors that live, by name."""
    ran = subprocess.run(  # noqa: S603 - the command is made here
        [RAY, "list", "actors", "--detail", "--format=json", f"--address={stack.endpoints.ray_dashboard}"],
        env={**stack.environment, "RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        timeout=LIST_SECONDS_MAX,
        check=True,
    )
    return {actor["name"]: actor for actor in json.loads(ran.stdout) if actor["state"] == "ALIVE"}


async def test_ray_lists_each_certificate_with_what_it_is(stack: RunningStack) -> None:
    async with Market(stack) as market:
        codes = await market.sell(2, 5_000)

    actors = listed(stack)

    assert {f"certificate:{code}" for code in codes} <= actors.keys()
    told = {name: actor["repr_name"] for name, actor in actors.items()}
    assert told[f"certificate:{codes[0]}"] == f"certificate:{codes[0]} (one certificate)"
    assert told["orders:00"].startswith("orders:00 (certificates and orders of 16 of 32 partitions)")
    assert told["bridge:relay"] == "bridge:relay (events from the log's outbox to Kafka)"
    assert {actor["pid"] for actor in actors.values()} <= set(stack.processes())


def test_the_demo_plays_on_it(stack: RunningStack) -> None:
    played = stack.run("demo")

    assert played.returncode == 0, played.stdout + played.stderr
    proof = stack.run("verify")
    assert proof.returncode == 0, proof.stdout
