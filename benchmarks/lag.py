"""How many events wait, looked at all the time while something else goes on."""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

LOOK_SECONDS: Final = 1.0


class LagWatch:
    """Looks once a second, in a thread; a ``with`` block.

    Args:
        look: gives how many events wait.
    """

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lag")
        self.samples: list[tuple[float, float]] = []
        """Seconds since the beginning, and how many waited."""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.samples.append((time.monotonic() - self._began, self._look()))


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """By how much it grows a second: the slope of the straight line that fits best."""
    if len(samples) < 2:  # noqa: PLR2004 - a line needs two points
        return 0.0
    x_mean = sum(x for x, _ in samples) / len(samples)
    y_mean = sum(y for _, y in samples) / len(samples)
    spread = sum((x - x_mean) ** 2 for x, _ in samples)
    return sum((x - x_mean) * (y - y_mean) for x, y in samples) / spread if spread else 0.0
