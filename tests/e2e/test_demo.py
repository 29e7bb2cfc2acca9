"""`gift-ledger demo`: what a newcomer runs first."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.real import sealed
from tests.real.fixtures import lacking
from tests.real.small_disk import small_disk_missing
from tests.real.stack import RunningStack, ended, run_program, stack_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.fixtures import ServerKind
    from tests.real.kafka import RealKafka
    from tests.real.redis import RealServer

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]

SYSTEMS = ("OnlineStore", "Orders", "Payments", "Till", "Support", "SMS", "BI Pipeline")
USUAL_PORTS = (8080, 8265)
CHECKS_MIN = 31


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty folder with a short name: Ray's sockets are below it."""
    with TemporaryDirectory(prefix="gl-") as folder:
        yield Path(folder)


def checks_that_held(output: str) -> int:
    found = re.search(r"All (\d+) checks held", output)
    return int(found[1]) if found else 0


def what_it_says_of_a_change(within: list[str]) -> str:
    """What a program is told that wants to change what runs."""
    tried = subprocess.run([*within, "touch", __file__], capture_output=True, text=True, check=False)  # noqa: S603
    return tried.stderr


def test_the_demo_runs_where_the_usual_ports_are_taken_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = stack_environment(tmp_path, {}, measured=True)
    for name in ("HTTP_PORT", "DASHBOARD_PORT"):
        del environment[f"GIFT_LEDGER_{name}"]
    with ExitStack() as taken:
        for port in USUAL_PORTS:
            with suppress(OSError):  # somebody else has it: just as well
                taken.enter_context(socket.create_server(("127.0.0.1", port)))

        played = run_program(environment, "demo")

    assert played.returncode == 0, played.stdout + played.stderr
    assert checks_that_held(played.stdout) >= CHECKS_MIN
    assert [system for system in SYSTEMS if system not in played.stdout] == []
    assert ended(tmp_path) == {}


def test_a_demo_that_expects_something_wrong_fails(shared_stack: RunningStack) -> None:
    played = shared_stack.run("demo", "--expect-wrong")

    assert played.returncode == 1, played.stdout + played.stderr
    assert checks_that_held(played.stdout) == 0


def test_the_demo_plays_again_and_again_on_a_stack_that_runs(shared_stack: RunningStack) -> None:
    before = shared_stack.processes()

    played = [shared_stack.run("demo") for _ in range(2)]

    failed = [one for one in played if one.returncode != 0 or checks_that_held(one.stdout) < CHECKS_MIN]
    assert failed == [], failed[0].stdout + failed[0].stderr
    assert shared_stack.processes() == before


async def test_the_demo_runs_on_apache_kafka_and_redis_where_nothing_can_be_changed(
    kafka: RealKafka, start_shared: Callable[[ServerKind], RealServer], kafka_prefix: str, tmp_path: Path, memory: Path
) -> None:
    """As in a container whose root is read-only: writable are its volume, and memory that goes with it."""
    if (missing := small_disk_missing()) is not None:
        lacking(missing)
    within = sealed.within(tmp_path, memory)
    environment = stack_environment(
        tmp_path,
        {
            "REDIS_URL": start_shared("redis").url,
            "REDIS_PREFIX": kafka_prefix.rstrip("."),
            "KAFKA_BOOTSTRAP": kafka.bootstrap,
            "KAFKA_GROUP": f"{kafka_prefix}group",
            "DASHBOARD_PORT": "0",
        },
    )
    environment |= sealed.environment(memory)
    await kafka.create_topics(
        "All_SalesOrder",
        "All_Payments",
        "GiftCertificateState",
        "GiftCertificateTransaction",
        "GiftCertificateProcessing.DeadLetter",
        partitions=3,
        compacted=("GiftCertificateState",),
    )

    played = run_program(environment, "demo", within=within)
    changed = what_it_says_of_a_change(within)

    assert played.returncode == 0, played.stdout + played.stderr
    assert checks_that_held(played.stdout) >= CHECKS_MIN
    assert ended(tmp_path) == {}
    assert "Read-only file system" in changed
