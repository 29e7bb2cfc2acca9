"""The doors themselves: what is behind them is imported only when they are opened."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest

from gift_ledger.cli import doors
from gift_ledger.settings import Settings

HEAVY = ("ray", "uvicorn", "aiokafka")


class Behind(ModuleType):
    """A module that notes what is called in it, and how the environment of Ray was then."""

    def __init__(self, name: str, *functions: str) -> None:
        super().__init__(name)
        self.called: list[tuple[object, ...]] = []
        for function in functions:
            setattr(self, function, self._note(function))

    def _note(self, function: str) -> Callable[..., Awaitable[int]]:
        async def note(*given: object) -> int:
            loopback = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
            self.called.append((function, *given, os.environ.get("RAY_USAGE_STATS_ENABLED"), loopback))
            return 3

        return note


@pytest.fixture(autouse=True)
def environment_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.mark.parametrize("role", ["run_gateway", "run_shards", "run_bridge", "actor_reports"])
@pytest.mark.parametrize(("address", "loopback"), [("127.0.0.1:6379", "0"), ("10.0.0.6:6379", None)])
async def test_a_role_is_run_with_the_environment_that_its_ray_needs(
    role: str, address: str, loopback: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Behind("gift_ledger.roles", role)
    monkeypatch.setitem(sys.modules, "gift_ledger.roles", behind)
    settings = Settings(ray_address=address)

    assert await getattr(doors, role)(settings) == 3

    assert behind.called == [(role, settings, "0", loopback)]


@pytest.mark.parametrize(("address", "loopback"), [("", "0"), ("10.0.0.6:6379", None)])
async def test_a_stack_with_a_ray_of_its_own_keeps_it_on_this_machine(
    address: str, loopback: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Behind("gift_ledger.up", "run_up")
    monkeypatch.setitem(sys.modules, "gift_ledger.up", behind)
    settings = Settings(ray_address=address)

    async def ready(_endpoints: object) -> None:
        return None

    assert await doors.run_up(settings, ready) == 3

    assert behind.called == [("run_up", settings, ready, "0", loopback)]


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What takes the place of Python: notes its arguments, and then ends with 5, or waits if it is told to."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n[ -e {tmp_path}/wait ] && exec sleep 60\nexit 5\n')
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


@pytest.mark.parametrize(("expect_wrong", "more"), [(False, ""), (True, " --expect-wrong")])
async def test_the_demo_is_a_program_of_its_own(python: Path, expect_wrong: bool, more: str) -> None:  # noqa: FBT001
    assert await doors.play_demo(Path("/srv/data"), expect_wrong=expect_wrong) == 5

    called = (python.parent / "called").read_text()
    assert called == f"-m examples.demo --data-dir /srv/data{more}\n"


async def test_a_demo_that_is_broken_off_leaves_no_process_behind(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (python.parent / "wait").touch()
    started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    start = asyncio.create_subprocess_exec

    async def noted(*command: str) -> asyncio.subprocess.Process:
        process = await start(*command)
        started.set_result(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    playing = asyncio.create_task(doors.play_demo(Path("/srv/data"), expect_wrong=False))
    process = await started

    playing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await playing
    assert process.returncode == -15


def test_the_help_does_without_what_takes_long() -> None:
    loads = f"import sys, gift_ledger.cli; print([name for name in {HEAVY} if name in sys.modules])"

    ran = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)  # noqa: S603

    assert ran.stdout == "[]\n"
