"""When Python looks for reference cycles in a shard: not in the middle of the traffic.

What a shard holds has no cycles, and there is much of it. A full search goes through all of it, which takes 0.2 s with
50 000 certificates in memory, finds nothing, and comes the more often the more is authorized: a third of the time of
a busy shard. So young objects are searched as ever, and everything only when the shard is idle, or rarely.
"""

import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = (1_000, 5)
"""New objects after which the youngest are searched, and how often that is done before their survivors are, too."""
NEVER: Final = 1_000_000_000
"""So many searches of the survivors before Python searches everything by itself."""
EVERY_MS_MIN: Final = 60_000
"""Between two searches of everything in an idle shard."""
EVERY_MS_MAX: Final = 3_600_000
"""Between two in a shard that is never idle."""


class Garbage:
    """Decides when everything is searched, for the whole process.

    Args:
        clock: milliseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._searched = clock()

    def take_over(self) -> None:
        """From now on this decides. What is there already (modules, mostly) stays and is never searched again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*YOUNG, NEVER)

    def search(self, *, idle: bool) -> bool:
        """Search everything if it is time; to be called every second or so. Gives whether it was."""
        now = self._clock()
        if now - self._searched < (EVERY_MS_MIN if idle else EVERY_MS_MAX):
            return False
        gc.collect()
        self._searched = now
        return True
