"""What Ray reads from the environment while it is imported, and so has to stand there before."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

ALWAYS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # a caller of an actor that died gets the error in 10 ms instead of 1.3 s: nobody here needs to know why it died
    "RAY_timeout_ms_task_wait_for_death_info": "0",
    # one line of each repeated warning is enough
    "RAY_DEDUP_LOGS": "1",
    # Ray runs its workers at nice 15, as is right for batch jobs; ours answer tills
    "RAY_worker_niceness": "0",
}
"""For every process of ours that uses Ray."""

LOOPBACK: Final = {
    # despite its name: 0 means that nobody but this machine joins, and all of Ray's ports are bound to 127.0.0.1
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""For a cluster of this machine alone."""

AUTHENTICATED: Final = {"RAY_AUTH_MODE": "token"}
"""For joining a cluster that asks for a token. Ray sees to it only where it finds the cluster by itself."""


def prepare(environ: MutableMapping[str, str], address: str) -> None:
    """Set what is not set yet; to be called before ``ray`` is imported.

    Args:
        environ: of this process; its children inherit it.
        address: ``HOST:PORT`` of the cluster that this process joins; empty if it starts one of its own.
    """
    host = address.rpartition(":")[0]
    # without this Ray reads 127.0.0.1 as this machine's address in its network, where such a cluster does not listen
    loopback = LOOPBACK if host in {"", "127.0.0.1", "localhost"} else {}
    authenticated = AUTHENTICATED if address and has_token(environ) else {}
    for name, value in (ALWAYS | loopback | authenticated).items():
        environ.setdefault(name, value)


def has_token(environ: Mapping[str, str]) -> bool:
    """Whether Ray has a token to show, in one of the places where it looks for one."""
    if environ.get("RAY_AUTH_TOKEN") or environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (Path(environ.get("HOME", "/")) / ".ray" / "auth_token").exists()
