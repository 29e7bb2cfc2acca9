"""The files of Unix sockets: where they are, and that none stays behind."""

import errno
import os
import re
import socket
import stat
from pathlib import Path
from typing import Final

from actors.settings import SOCKET_PATH_BYTES_MAX

_NAME: Final = re.compile(r"-(?P<pid>[0-9]+)\.sock$")


def socket_path(folder: str, name: str) -> Path:
    """Where the actor of this process listens.

    The process id keeps a restarted actor from taking the socket of one that is not quite dead.
    """
    return Path(folder) / f"{name.replace(':', '-')}-{os.getpid()}.sock"


def prepare(path: Path) -> None:
    """Make the folder of a socket, for this user alone, and clear away what processes that were killed left in it.

    Raises:
        ValueError: the path is too long for a socket.
        PermissionError: somebody else can write to the folder, and could put a socket of his own into it.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        message = f"{path} is too long for a Unix socket; set a shorter run_dir"
        raise ValueError(message)
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            errno.EPERM, "others can write to the folder of the sockets; set another run_dir", str(folder)
        )
    for left in folder.glob("*.sock"):
        if left == path or _is_dead(left):
            left.unlink(missing_ok=True)


def _is_dead(path: Path) -> bool:
    """Whether nobody listens or ever will: its process is gone, and the kernel refuses to connect."""
    match = _NAME.search(path.name)
    if match is None or Path("/proc", match["pid"]).exists():
        return False
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        return trial.connect_ex(os.fsencode(path)) == errno.ECONNREFUSED
