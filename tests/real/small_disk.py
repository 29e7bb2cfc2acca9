"""A folder on a disk that is nearly full: a small tmpfs, which only the programs in its namespace see.

Nothing has to be unmounted: the disk is gone when the process that holds it has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.real.process import ServerProcess

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS_MAX: Final = 60.0
PROBE_SECONDS_MAX: Final = 60.0
MOUNTED: Final = "mounted"
# root needs no namespace of users, and may not be allowed one
UNSHARE: Final = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
ENTER: Final = ["--mount"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--mount"]


def small_disk_missing() -> str | None:
    """Return what keeps this machine from having such a disk; None if nothing."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "no unshare and nsenter: install util-linux"
    command = ["unshare", *UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    tried = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, timeout=PROBE_SECONDS_MAX, check=False
    )
    return None if tried.returncode == 0 else f"no file system can be mounted here: {tried.stderr.strip()}"


class SmallDisk:
    """A `with` block while which a folder, and what is in it, is also on a small disk.

    Args:
        folder: Copied there at the beginning; nobody may write to it then.
        room_bytes: What is free after that.
    """

    def __init__(self, folder: Path, room_bytes: int) -> None:
        self._folder = folder
        self._room_bytes = room_bytes
        self._directory = tempfile.TemporaryDirectory(prefix="gl-disk-")
        self._holder: ServerProcess | None = None

    def __enter__(self) -> Self:
        used = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
        spare = Path(self._directory.name) / "spare"
        spare.mkdir()
        steps = (
            f"mount -t tmpfs -o size={used + self._room_bytes} tmpfs '{spare}'",
            f"cp -a '{self._folder}/.' '{spare}/'",
            f"mount --bind '{spare}' '{self._folder}'",
            f"echo {MOUNTED}",
            "exec sleep infinity",
        )
        holder = ServerProcess(["unshare", *UNSHARE, "sh", "-c", " && ".join(steps)], Path(self._directory.name))
        self._holder = holder
        holder.start(lambda: MOUNTED in holder.log_path.read_text(), START_SECONDS_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holder is not None:
            self._holder.kill()
        self._directory.cleanup()

    @property
    def within(self) -> list[str]:
        """What a program has to be started by to find the small disk at the folder's place."""
        assert self._holder is not None
        return ["nsenter", f"--target={self._holder.pid}", *ENTER]

    def copy_back(self, name: str) -> None:
        """Put what stands on the small disk in place of a folder's part, on the disk that has room."""
        assert self._holder is not None
        shutil.rmtree(self._folder / name)
        shutil.copytree(f"/proc/{self._holder.pid}/root{self._folder}/{name}", self._folder / name)
