"""A baseline while it runs: a process of its own, with its store."""

import os
import secrets
import select
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.baselines.place import KEY_VARIABLE, WITH_US
from gift_ledger.bench.requests import Address

START_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 60.0


class RivalError(Exception):
    """A baseline does not start; the message says why."""


class Rival:
    """One of :data:`benchmarks.baselines.__main__.BASELINES`. Its methods block.

    Args:
        name: which.
        folder: of its data and its output.
        certificates: how many it is filled with.
        kafka: broker for its events, if it publishes any.
    """

    def __init__(self, name: str, folder: Path, *, certificates: int, kafka: str = "") -> None:
        self._name = name
        self._folder = folder
        self._key = secrets.token_urlsafe(32)
        self._command = [*WITH_US, sys.executable, "-m", "benchmarks.baselines", name, "--folder", str(folder / name)]
        self._command += ["--certificates", str(certificates), "--kafka", kafka]
        self._process: subprocess.Popen[bytes] | None = None
        self.address = Address("", 0, "")

    def start(self) -> None:
        """Start it, and wait until it is filled and serves.

        Raises:
            RivalError: it does not.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{self._name}.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                env={**os.environ, KEY_VARIABLE: self._key},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we stop it in good order
            )
        line = self._first_line()
        if not line:
            self.stop()
            words = log.read_text(errors="replace").strip().splitlines()
            raise RivalError(f"{self._name}: {words[-1] if words else 'it does not start'}")
        self.address = Address.of(msgspec.json.decode(line)["url"], self._key)

    def stop(self) -> None:
        """End it with its store."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _first_line(self) -> bytes:
        output = self._process.stdout if self._process is not None else None
        if output is None or not select.select([output], [], [], START_SECONDS_MAX)[0]:
            return b""
        return output.readline()
