"""The whole service as its users start it: `gift-ledger up` in a data folder of its own, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from gift_ledger.endpoints import FILE_NAME, Endpoints
from tests.real.process import ServerFailedError, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROGRAM: Final = str(Path(sys.executable).with_name("gift-ledger"))
START_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 60.0
GONE_SECONDS_MAX: Final = 60.0
COMMAND_SECONDS_MAX: Final = 240.0
"""Longer than the longest of them may take: a demo that starts a stack, plays for two minutes, and stops it."""
ANSWER_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.02

UP: Final = "gift-ledger up"
SHARD: Final = "ray::ShardActor"
RELAY: Final = "ray::OutboxRelayActor"
INBOX: Final = "ray::KafkaInboxActor"
SMS_SENDER: Final = "ray::SmsSenderActor"
VALKEY: Final = "valkey-server"
GCS: Final = "gcs/gcs_server"
RAYLET: Final = "raylet/raylet"

MARK: Final = "GIFT_LEDGER_DATA_DIR"
"""Every process of a stack inherits this variable, and no two stacks have the same value of it."""
COVERAGE: Final = "COVERAGE_PROCESS"
"""Variables whose names begin so have a Python program measured."""


def stack_environment(data_dir: Path, settings: Mapping[str, str], *, measured: bool = False) -> dict[str, str]:
    """The environment of a stack: that of the tests, without what is set there for another one.

    Args:
        data_dir: Its data folder.
        settings: By name, without the prefix: `{"SHARDS": "3"}`.
        measured: Whether its processes belong to the coverage, where that is taken: they are half as fast then.
    """
    foreign = ("GIFT_LEDGER_", "RAY_") if measured else ("GIFT_LEDGER_", "RAY_", COVERAGE)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    # a dashboard for which any port will do finds one long before it listens there, and Ray takes many meanwhile
    ports = {"HTTP_PORT": "0", "DASHBOARD_PORT": str(free_port())}
    # two shards, so that orders and their certificates live in different ones
    own = {"DATA_DIR": str(data_dir), **ports, "SHARDS": "2", **settings}
    return inherited | {f"GIFT_LEDGER_{name}": value for name, value in own.items()}


def processes_of(data_dir: Path) -> dict[int, str]:
    """What runs for a data folder: process ids and command lines, whoever their parents are."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if _belongs(process, data_dir):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def _belongs(process: Path, data_dir: Path) -> bool:
    mark = f"\0{MARK}={data_dir}\0".encode()
    if mark in b"\0" + (process / "environ").read_bytes() + b"\0":
        return True
    # Valkey writes its title over its environment
    return (process / "cwd").readlink().is_relative_to(data_dir)


def ended(data_dir: Path, within_seconds: float = GONE_SECONDS_MAX) -> dict[int, str]:
    """Wait until nothing runs for a data folder; gives what runs all the same."""
    deadline = time.monotonic() + within_seconds
    while (left := processes_of(data_dir)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)  # processes that are nobody's children have no event to wait for
    return left


def kill_all(data_dir: Path) -> None:
    """Kill whatever runs for a data folder, until nothing does."""
    while found := processes_of(data_dir):
        for pid in found:
            _send(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)  # as above


class RunningStack:
    """`gift-ledger up`, in a session of its own.

    Its methods block. A test with a running event loop calls them through `asyncio.to_thread`.

    Args:
        directory: Where its data folder and its output are.
        settings: By name, without the prefix.
        measured: Whether its processes belong to the coverage.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None, *, measured: bool = False) -> None:
        self.data_dir = directory / "data"
        self.environment = stack_environment(self.data_dir, settings or {}, measured=measured)
        self._process = ServerProcess(["setsid", PROGRAM, "up"], directory, self.environment)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._process.log_path.read_text(errors="replace")

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is."""
        return Endpoints.read(self.data_dir)

    @property
    def bootstrap(self) -> str:
        """Its broker."""
        return self.endpoints.kafka

    @property
    def keys(self) -> dict[str, str]:
        """One API key for each role."""
        keys: dict[str, str] = json.loads((self.data_dir / "keys.json").read_text())
        return keys

    def start(self) -> None:
        """Start it, and wait until all of it is well.

        Raises:
            ServerFailedError: It did not come up; nothing of it is left running.
        """
        (self.data_dir / FILE_NAME).unlink(missing_ok=True)  # one that was killed leaves it behind
        try:
            self._process.start((self.data_dir / FILE_NAME).exists, START_SECONDS_MAX)
        except ServerFailedError:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and see to it that all of it ends.

        Raises:
            ServerFailedError: It failed, took too long, or left processes behind, which are killed.
        """
        if not self._process.running:
            self.kill()
            raise ServerFailedError(f"the stack has ended by itself:\n{self.log[-4_000:]}")
        self._process.stop(STOP_SECONDS_MAX)
        if left := ended(self.data_dir):
            self.kill()
            raise ServerFailedError(f"left behind: {left}")

    def kill(self) -> None:
        """End all of it at once, as a power cut would."""
        self._process.kill()
        kill_all(self.data_dir)

    def exit_code(self, within_seconds: float) -> int:
        """Wait until it has ended by itself.

        Raises:
            subprocess.TimeoutExpired: It has not.
        """
        process = self._process._process
        assert process is not None
        return process.wait(within_seconds)

    def processes(self, kind: str = "") -> list[int]:
        """Process ids of the parts of one kind, all parts by default; in no order that means anything."""
        return sorted(pid for pid, command in processes_of(self.data_dir).items() if kind in command)

    def kill_one(self, kind: str) -> int:
        """Kill one part of a kind (SIGKILL); gives the process id that it had."""
        pid = self.processes(kind)[0]
        _send(pid, signal.SIGKILL)
        return pid

    def run(
        self, *arguments: str, settings: Mapping[str, str] | None = None, seconds_max: float = COMMAND_SECONDS_MAX
    ) -> subprocess.CompletedProcess[str]:
        """Run `gift-ledger` against the stack to its end."""
        more = {f"GIFT_LEDGER_{name}": value for name, value in (settings or {}).items()}
        return run_program(self.environment | more, *arguments, seconds_max=seconds_max)

    def client(self, role: str = "ops") -> httpx.AsyncClient:
        """A client with the key of a role, to be closed by the caller."""
        return httpx.AsyncClient(
            base_url=self.endpoints.http,
            headers={"Authorization": f"Bearer {self.keys[role]}"},
            timeout=ANSWER_SECONDS_MAX,
            trust_env=False,
        )


def run_program(
    environment: Mapping[str, str],
    *arguments: str,
    seconds_max: float = COMMAND_SECONDS_MAX,
    within: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `gift-ledger` to its end; `within` is what it is started by."""
    return subprocess.run(  # noqa: S603 - the command is made by the test run itself
        [*within, PROGRAM, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )


def running(stack: RunningStack) -> Iterator[RunningStack]:
    """The body of a fixture: start it, hand it out, stop it; in the end nothing of it runs."""
    try:
        stack.start()
        yield stack
        stack.stop()
    finally:
        stack.kill()


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended by itself meanwhile
