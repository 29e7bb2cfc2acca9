"""A PostgreSQL of the benchmark's own, from Debian's programs: on a Unix socket, durable as it comes out of the box."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

USER: Final = "benchmark"
START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 30.0
SETTINGS: Final = {
    "listen_addresses": "",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_connections": "100",
    "wal_buffers": "16MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "autovacuum": "on",
}
"""Tuned for many small transactions; what makes a commit durable is as it always is."""

_SYSTEM_USER: Final = "postgres"
_POLL_SECONDS: Final = 0.05
_ADVICE: Final = "install it (Debian: apt-get install postgresql)"


class PostgresMissingError(OSError):
    """There is no PostgreSQL on this machine; the message says what to install."""


def programs() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        PostgresMissingError: there is none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PostgresMissingError(f"no PostgreSQL: {_ADVICE}")
    return Path(on_path).resolve().parent


def version() -> str:
    """Version of the server."""
    asked = [str(programs() / "postgres"), "--version"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


@asynccontextmanager
async def postgres_server() -> AsyncIterator[str]:
    """A server with an empty database, in a folder that goes away with it; gives its address.

    Raises:
        PostgresMissingError: there is no PostgreSQL.
        OSError: it does not start.
    """
    bin_ = programs()
    # directly in the temporary folder: PostgreSQL refuses to run as root, and its own user may not see into ours
    folder = Path(tempfile.mkdtemp(prefix="gift-ledger-postgres-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        as_user = _as_user(folder)
        data, log = folder / "data", folder / "server.log"
        made = [str(bin_ / "initdb"), "--pgdata", str(data), f"--username={USER}", "--auth=trust"]
        made += ["--encoding=UTF8", "--no-locale"]
        await asyncio.to_thread(_run, [*as_user, *made], folder)
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(bin_ / "postgres"), "-D", str(data), "-k", str(folder), *options]
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own command; it takes a millisecond
                [*as_user, *command], cwd=folder, stdout=output, stderr=output, start_new_session=True
            )
        address = f"postgresql://{USER}@/postgres?host={folder}"
        await _answers(address, process, log)
        yield address
    finally:
        if process is not None:
            await asyncio.to_thread(_end, process)
        shutil.rmtree(folder, ignore_errors=True)


def _as_user(folder: Path) -> list[str]:
    """How to become somebody whom PostgreSQL runs for; the server ends together with us."""
    parent = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return parent
    try:
        user = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise PostgresMissingError(f"no user {_SYSTEM_USER!r} to run PostgreSQL as: {_ADVICE}") from None
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [*parent, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(command: list[str], folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode:
        raise OSError(f"{' '.join(command)}: {ran.stderr.strip()}")


async def _answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(START_SECONDS_MAX):
        while True:
            try:
                connection = await asyncpg.connect(address)
            except (OSError, asyncpg.CannotConnectNowError):
                if process.poll() is not None:
                    raise OSError(f"PostgreSQL does not start: {_last_words(log)}") from None
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await connection.close()
                return


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # fast shutdown: whoever is connected is sent away
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        print("PostgreSQL did not stop in time and is killed", file=sys.stderr)
        process.send_signal(signal.SIGQUIT)
        process.wait()
