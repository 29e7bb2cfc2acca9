"""Closed loops: each connection asks again as soon as it has its answer. The load comes from ``wrk``."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from gift_ledger.bench.requests import Address

What = Literal["authorize", "pairs"]

ADVICE: Final = "there is no wrk: install it (Debian: apt-get install wrk)"
THREADS: Final = 1
SCRIPT: Final = Path(__file__).with_name("load.lua")
EXTRA_SECONDS_MAX: Final = 30.0


class Closed(Struct, frozen=True, rename="camel"):
    """What wrk counted. Durations are from sending to answer: a closed loop says nothing of how long tills wait."""

    requests: int
    seconds: float
    refused: int
    lost: int
    captures: int
    p50_ms: float
    p99_ms: float
    p999_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        """Requests that were refused or lost."""
        return self.refused + self.lost


class LoadError(Exception):
    """The load was not what was to be measured, e.g. because requests were refused."""


def installed() -> bool:
    """Whether there is a wrk."""
    return shutil.which("wrk") is not None


def load(address: Address, what: What, *, certificates: int, connections: int, seconds: float) -> Closed:
    """Load a system for some seconds.

    Raises:
        LoadError: requests were refused or lost, or wrk failed: what was measured is not what was meant.
    """
    run = str(time.time_ns() // 1_000)
    command = ["wrk", f"--threads={min(THREADS, connections)}", f"--connections={connections}", "--timeout=10s"]
    # wrk takes whole seconds alone
    command += [f"--duration={max(1, round(seconds))}s", f"--script={SCRIPT}", f"http://{address.host}:{address.port}"]
    command += ["--", what, address.key, str(certificates), run]
    ran = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False, timeout=seconds + EXTRA_SECONDS_MAX
    )
    if ran.returncode:
        raise LoadError(f"wrk: {ran.stderr.strip() or ran.stdout.strip()}")
    found = counted(ran.stdout)
    if found.failed:
        raise LoadError(f"of {found.requests} requests {found.refused} were refused and {found.lost} lost")
    return found


def counted(output: str) -> Closed:
    """What ``load.lua`` wrote at the end of wrk's output."""
    return msgspec.json.decode(output.strip().splitlines()[-1], type=Closed)
