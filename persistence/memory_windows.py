"""Moving windows in memory, for tests."""

import time
from collections import deque
from collections.abc import Callable

from persistence.windows import Count


class MemoryWindows:
    """Windows in memory.

    Args:
        seconds: length of the windows.
        kept_max: of each window.
        clock: seconds.
    """

    def __init__(self, seconds: int, kept_max: int, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._kept_max = kept_max
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    async def add(self, name: str, number: int = 1) -> None:
        """See :meth:`persistence.windows.Windows.add`."""
        number = min(number, self._kept_max)
        if (await self.count(name)).number + number <= self._kept_max:
            self._times.setdefault(name, deque(maxlen=self._kept_max)).extend([self._clock()] * number)

    async def count(self, name: str) -> Count:
        """See :meth:`persistence.windows.Windows.count`."""
        begin = self._clock() - self._seconds
        times = [when for when in self._times.get(name, ()) if when >= begin]
        return Count(len(times), times[0] - begin if times else 0.0)

    async def close(self) -> None:
        """See :meth:`persistence.windows.Windows.close`."""
