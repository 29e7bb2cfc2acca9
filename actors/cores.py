"""On two cores each event loop stays on one of its own: docs/decisions/0014-each-loop-on-a-core-of-its-own.md."""

import os
from typing import Final

CORES: Final = tuple(sorted(os.sched_getaffinity(0)))
"""Numbers of the cores that this process was given."""


def cores_apart(shards: int) -> tuple[int, int] | None:
    """The core of the gateway and that of the shard; none but where it was found to help: two cores, one shard.

    Args:
        shards: that run on this machine.
    """
    if shards != 1 or len(CORES) != 2:  # noqa: PLR2004 - a gateway and a shard
        return None
    return CORES[0], CORES[1]


def stay_on(core: int) -> None:
    """Keep the calling thread on one core, and with it the threads and processes that it starts from now on.

    Raises:
        OSError: this process was not given that core.
    """
    os.sched_setaffinity(0, {core})


def go_anywhere() -> None:
    """Let the calling thread run on all cores that this process was given."""
    os.sched_setaffinity(0, CORES)
