"""Programs that run as in their containers: they can change nothing but a volume and memory, and have no root's rights.

As `docker-compose.yml` has it: `read_only`, `tmpfs` with `noexec`, `cap_drop: [ALL]`, `no-new-privileges`. What is
mounted is seen by these programs alone, and goes with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.real.small_disk import UNSHARE

if TYPE_CHECKING:
    from pathlib import Path

HOME: Final = "home"
SCRIPT: Final = """
set -eu
volume=$1 memory=$2
shift 2
mount --bind "$volume" "$volume"
mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs "$memory"
mkdir "$memory/home"
findmnt --raw --noheadings --output TARGET | while read -r target; do
    case $target in
        "$volume" | "$memory" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
        *) mount -o remount,bind,ro "$target" ;;
    esac
done
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


def within(volume: Path, memory: Path) -> list[str]:
    """What a program has to be started by.

    Args:
        volume: The folder that it may write to, which stays.
        memory: An empty folder that is memory to it; its temporary folder, with its home folder `home` in it.
    """
    return ["unshare", *UNSHARE, "sh", "-c", SCRIPT, "sealed", str(volume), str(memory)]


def environment(memory: Path) -> dict[str, str]:
    """What is different in the environment of such a program."""
    # Python would write bytecode beside what it runs
    return {"TMPDIR": str(memory), "HOME": str(memory / HOME), "PYTHONDONTWRITEBYTECODE": "1"}
