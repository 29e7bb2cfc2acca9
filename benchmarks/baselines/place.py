"""Where a baseline runs."""

from pathlib import Path
from typing import Final

from msgspec import Struct

WITH_US: Final = ("setpriv", "--pdeathsig", "TERM")
"""Before a command: it ends together with whoever has started it, however he ends."""
KEY_VARIABLE: Final = "BENCHMARK_KEY"
"""Environment variable with the API key that is valid; on the command line everybody could read it."""


class Place(Struct, frozen=True, kw_only=True):
    """What a baseline is given."""

    folder: Path
    """For its data; its own."""
    key: str
    """The API key that is valid."""
    certificates: int
    """How many it has to be filled with."""
    kafka: str = ""
    """Broker that its events go to; empty: it has no relay."""
