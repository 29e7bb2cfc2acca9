"""CPU time of processes, as the kernel counts it."""

import os
import time
from typing import cast

import pytest

from benchmarks.cpu import GATEWAY, LOAD, RAY, SHARD, Cpu
from benchmarks.product import Product


class ThisProcess:
    """Stands for a stack: its gateway is this process, and its shard the one that began it."""

    pid = os.getpid()

    def actors(self) -> list[dict[str, object]]:
        return [{"pid": os.getppid(), "kind": "shard"}]

    def processes(self) -> list[int]:
        return [os.getpid(), os.getppid(), 1]


def burn(seconds: float) -> None:
    """Use up so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_a_process_spends_is_told_of_its_part_and_of_the_machine() -> None:
    cpu = Cpu(cast("Product", ThisProcess()))
    before = cpu.spent()

    burn(0.2)
    spent = cpu.spent().since(before)

    assert spent.parts[GATEWAY] == pytest.approx(0.2, abs=0.1)
    assert spent.parts[LOAD] == pytest.approx(spent.parts[GATEWAY], abs=0.1)
    assert spent.machine >= spent.parts[GATEWAY] - 0.1
    assert 0 <= spent.idle <= spent.machine
    assert {SHARD, RAY} <= spent.parts.keys()
