"""A server program that a test run owns: started, watched, killed and stopped by its own process id."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from itertools import cycle
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LOG_TAIL_CHARACTERS: Final = 4_000
POLL_SECONDS: Final = 0.01
PORTS: Final = range(20_000, 32_768)
"""Above those of Ray's workers, and below those that Linux gives to whoever asks for any or connects somewhere: so one
that was found free is still free a minute later, and while its server is away."""

_candidates = cycle(random.sample(PORTS, len(PORTS)))


class ServerFailedError(Exception):
    """A server did not start or did not stop in time; the message ends with the last it said."""


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment, another one each time."""
    return next(port for port in _candidates if _is_free(port))


class ServerProcess:
    """One server program and what it prints.

    Its methods block. A test with a running event loop calls them through `asyncio.to_thread`.

    Args:
        command: The program and its arguments.
        directory: Where it runs; what it prints is appended to `output.log` there.
        environment: Its environment, the caller's if none is given.
    """

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = tuple(command)
        self._directory = directory
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = directory / "output.log"

    @property
    def running(self) -> bool:
        """Whether the program runs now."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if self._process is None or not self.running:
            raise ServerFailedError(f"{self._command[0]} does not run")
        return self._process.pid

    def start(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Start the program and wait until `is_ready` says so.

        Raises:
            ServerFailedError: It ended, or was not ready in time; it is not left running.
        """
        if self.running:
            raise ServerFailedError(f"{self._command[0]} runs already, as process {self.pid}")
        self._directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is made by the test run itself
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            status = self._process.poll()
            if status is not None:
                raise ServerFailedError(f"{self._command[0]} ended with status {status}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailedError(f"{self._command[0]} not ready in {timeout_seconds} s:\n{self._tail()}")
            time.sleep(POLL_SECONDS)  # a server that is not up yet has no event to wait for

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL). It is gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end (SIGTERM) and wait.

        Raises:
            ServerFailedError: It did not end in time, and was killed.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailedError(
                f"{self._command[0]} did not stop in {timeout_seconds} s:\n{self._tail()}"
            ) from None

    def _tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
