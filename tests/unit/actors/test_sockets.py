"""The files of Unix sockets: for the owner alone, and none stays behind."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from actors.channel import ChannelServer
from actors.sockets import prepare, socket_path
from tests.unit.actors.actor import ScriptedActor


def bound(path: Path) -> socket.socket:
    """Return a socket that listens."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def ended_process() -> int:
    """Return the id of a process that is gone."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def test_each_process_has_a_socket_of_its_own(tmp_path: Path) -> None:
    assert socket_path(str(tmp_path), "certificates:00") == tmp_path / f"certificates-00-{os.getpid()}.sock"


def test_the_folder_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "deep" / "run" / "a-1.sock")

    assert (tmp_path / "deep" / "run").stat().st_mode & 0o777 == 0o700


async def test_the_socket_is_for_the_owner_alone(tmp_path: Path) -> None:
    server = ChannelServer(ScriptedActor().take)
    path = tmp_path / "a-1.sock"

    await server.listen_unix(path)

    assert path.stat().st_mode & 0o777 == 0o600
    await server.close()
    assert not path.exists()
    await server.close()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(PermissionError, match="run_dir"):
        prepare(tmp_path / "a-1.sock")


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter run_dir"):
        prepare(tmp_path / ("x" * 108))


def test_what_killed_processes_left_is_cleared_away(tmp_path: Path) -> None:
    dead = tmp_path / f"certificates-00-{ended_process()}.sock"
    bound(dead).close()

    prepare(tmp_path / "a-1.sock")

    assert not dead.exists()


def test_what_is_in_use_or_not_ours_stays(tmp_path: Path) -> None:
    alive = tmp_path / f"certificates-00-{os.getpid()}.sock"
    bound(alive).close()  # not listening yet, as far as anybody can tell
    elsewhere = tmp_path / f"certificates-01-{ended_process()}.sock"
    listener = bound(elsewhere)  # its process is not seen from here, but it listens
    foreign = tmp_path / "redis.sock"
    bound(foreign).close()

    prepare(tmp_path / "a-1.sock")

    assert {path.name for path in tmp_path.iterdir()} == {alive.name, elsewhere.name, foreign.name}
    listener.close()


def test_what_an_earlier_process_of_this_id_left_makes_way(tmp_path: Path) -> None:
    own = socket_path(str(tmp_path), "certificates:00")
    bound(own).close()

    prepare(own)

    assert not own.exists()
