"""`gift-ledger`, whose way to the shards leads over links of the tests: `python -m tests.real.detour gateway`.

A shard listens on any free port and says which. Here each shard is reached at the port of its link instead, and where
it truly is stands in a file of its name, for the link to read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from actors.ray_directory import RayDirectory
from gift_ledger.cli import main

PORTS: Final = "TEST_DETOUR_PORTS"
"""Environment: JSON, the port of the link for each name of a shard."""
FOLDER: Final = "TEST_DETOUR_FOLDER"
"""Environment: where the files are."""


def target(folder: Path, name: str) -> tuple[str, int]:
    """Where a shard truly is.

    Raises:
        FileNotFoundError: Nobody has looked for it yet.
    """
    host, _, port = (folder / name).read_text().rpartition(":")
    return host, int(port)


def install(folder: Path, ports: dict[str, int]) -> None:
    """Have all ways of this process lead over the links."""
    direct = RayDirectory.address

    async def address(self: RayDirectory, name: str) -> str:
        channel, _, place = (await direct(self, name)).partition(":")
        fresh = folder / f"{name}.new-{os.getpid()}"
        fresh.write_text(place)
        fresh.replace(folder / name)
        return f"{channel}:127.0.0.1:{ports[name]}"

    RayDirectory.address = address  # type: ignore[method-assign]


if __name__ == "__main__":
    install(Path(os.environ[FOLDER]), json.loads(os.environ[PORTS]))
    main()
