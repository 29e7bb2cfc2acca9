"""How ways and servers misbehave at present: chances for each thing that can go wrong, drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass
class Weather:
    """Chances (0 to 1) of what happens to one piece that is sent, or to one call of a server."""

    cut: float = 0.0
    """The connection breaks before the piece, or in the middle of it."""
    mute: float = 0.0
    """Nothing sent this way arrives from now on, and nobody is told."""
    twice: float = 0.0
    """The piece comes a second time. A stream does not do this; the channel has to bear it all the same."""
    torn: float = 0.0
    """The piece comes in two parts, one after the other."""
    late: float = 0.0
    """It takes a hundred times as long."""
    refused: float = 0.0
    """A server refuses to write."""
    lost: float = 0.0
    """A call does not reach its server."""
    unanswered: float = 0.0
    """A call is carried out, and its answer is lost."""
    belated: float = 0.0
    """A call is carried out long after its caller has given up."""

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        self.__dict__.update(Weather().__dict__)


LATENCY_SECONDS = 0.001
LATE_SECONDS = 0.6


class Chance:
    """Draws for one user alone, so that what others draw at the same moment does not matter."""

    def __init__(self, seed: str, weather: Weather) -> None:
        self._random = Random(seed)
        self.weather = weather

    def happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance

    def latency(self) -> float:
        """Seconds that the next piece takes."""
        usual = LATENCY_SECONDS * (0.2 + self._random.expovariate(1.0))
        return usual + (LATE_SECONDS * self._random.random() if self.happens(self.weather.late) else 0.0)

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def part(self, length: int) -> int:
        """A place to tear something of this length."""
        return self._random.randrange(1, length) if length > 1 else length
