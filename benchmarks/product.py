"""The product as its users run it: ``gift-ledger up`` in a data folder of its own, seen from outside."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.baselines.place import WITH_US
from benchmarks.seed import seed
from gift_ledger.bench.requests import Address
from gift_ledger.endpoints import FILE_NAME, Endpoints
from gift_ledger.settings import Settings
from persistence.redis_log import RedisLog

NAME: Final = "gift-ledger"
PROGRAM: Final = Path(sys.executable).with_name("gift-ledger")
MARK: Final = "GIFT_LEDGER_DATA_DIR"
"""Every process of a stack inherits this variable, and no two stacks have the same value of it."""
START_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 30.0
GONE_SECONDS_MAX: Final = 10.0
DRAIN_SECONDS_MAX: Final = 120.0

_POLL_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 0.1


class ProductError(Exception):
    """The stack did not do what it should; the message says what."""


class Product:
    """A stack. Its methods block.

    Args:
        folder: where its data and its output are.
        settings: by name, without the prefix.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir: Final = folder / "data"
        self._log = folder / "output.log"
        own = {"DATA_DIR": str(self.data_dir), "HTTP_PORT": "0", "DASHBOARD_PORT": "0", **(settings or {})}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GIFT_LEDGER_", "RAY_"))}
        self._environment = inherited | {f"GIFT_LEDGER_{name}": value for name, value in own.items()}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def launch(self) -> None:
        """Start it, and do not wait."""
        (self.data_dir / FILE_NAME).unlink(missing_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*WITH_US, str(PROGRAM), "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we stop it in good order
            )

    def start(self) -> None:
        """Start it, and wait until all of it is well.

        Raises:
            ProductError: it did not come up.
        """
        self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (self.data_dir / FILE_NAME).exists():
            self.require_alive()
            if time.monotonic() > deadline:
                raise ProductError(f"gift-ledger is not up after {START_SECONDS_MAX:g} s:\n{self._last_words()}")
            time.sleep(_POLL_SECONDS)

    def require_alive(self) -> None:
        """Go on only while it runs.

        Raises:
            ProductError: it has ended.
        """
        self._alive()

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ProductError(f"gift-ledger has ended:\n{self._last_words()}")
        return self._process

    def stop(self) -> None:
        """End it, in good order if that can be, and leave nothing behind."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        deadline = time.monotonic() + GONE_SECONDS_MAX
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        for pid in left:
            _kill(pid)

    @property
    def pid(self) -> int:
        """Process id of the gateway, which is the one that was started.

        Raises:
            ProductError: it has ended.
        """
        return self._alive().pid

    def processes(self) -> list[int]:
        """Process ids of all its parts."""
        return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and self._owns(one)]

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is."""
        return Endpoints.read(self.data_dir)

    @property
    def address(self) -> Address:
        """Where tills ask."""
        return Address.of(self.endpoints.http, self.key("pos"))

    def key(self, role: str) -> str:
        """The API key of a role."""
        keys: dict[str, str] = json.loads((self.data_dir / "keys.json").read_text())
        return keys[role]

    def fill(self, count: int, first: int = 0) -> None:
        """Write active certificates into its ledger."""
        asyncio.run(fill(Settings().at(self.endpoints), count, first))

    def metrics(self) -> dict[str, float]:
        """What ``GET /metrics`` says, summed over the actors and other labels."""
        headers = {"Authorization": f"Bearer {self.key('ops')}"}
        answer = httpx.get(f"{self.endpoints.http}/metrics", headers=headers, timeout=10.0, trust_env=False)
        answer.raise_for_status()
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def metric(self, name: str) -> float:
        """One of them; 0 if it is not there yet."""
        return self.metrics().get(name, 0.0)

    def wait_until_published(self) -> None:
        """Wait until no event waits for Kafka.

        Raises:
            ProductError: some still do.
        """
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        time.sleep(_LOOK_SECONDS)  # the relay may not have looked since the last event came
        while self.metric("gift_ledger_outbox_waiting"):
            if time.monotonic() > deadline:
                raise ProductError(f"events still wait for Kafka after {DRAIN_SECONDS_MAX:g} s")
            time.sleep(_LOOK_SECONDS)

    def actors(self) -> list[dict[str, Any]]:
        """What ``gift-ledger inspect`` says of the actors."""
        asked = [str(PROGRAM), "inspect", "--json"]
        ran = subprocess.run(  # noqa: S603 - our own command
            asked, env=self._environment, capture_output=True, text=True, check=True, timeout=60
        )
        found: list[dict[str, Any]] = json.loads(ran.stdout)
        return found

    def _owns(self, process: Path) -> bool:
        mark = f"\0{MARK}={self.data_dir}\0".encode()
        try:
            if mark in b"\0" + (process / "environ").read_bytes() + b"\0":
                return process.name != str(os.getpid())
            # Valkey writes its title over its environment
            return (process / "cwd").readlink().is_relative_to(self.data_dir)
        except OSError:  # it has ended, or belongs to somebody else
            return False

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:] if self._log.exists() else ""


async def fill(settings: Settings, count: int, first: int = 0) -> None:
    """Write active certificates into a ledger."""
    log = await RedisLog.open(settings.storage())
    try:
        await seed(log, count, time.time_ns() // 1_000_000, first)
    finally:
        await log.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended by itself meanwhile
