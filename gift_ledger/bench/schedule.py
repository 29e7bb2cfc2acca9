"""When each flow is to begin. Latency counts from that moment, whatever kept the flow from beginning."""

from typing import Final, Protocol

SECOND_NS: Final = 1_000_000_000


class Schedule(Protocol):
    """Hands out flows, in order, by the monotonic clock in nanoseconds."""

    def begin(self, now: int) -> None:
        """The first flow is due."""
        ...

    def take(self, now: int) -> int | None:
        """The time at which the next flow was to begin, if that has come; the flow is taken by that."""
        ...

    def next_at(self) -> int | None:
        """When the next flow is to begin; ``None``: as soon as a connection is free, or there is none any more."""
        ...

    def over(self, now: int) -> bool:
        """Whether no flow begins any more."""
        ...

    def left(self) -> int:
        """How many flows were to begin and were never taken."""
        ...


class AtRate:
    """An open loop: a flow every so often, for some seconds, however slow the answers are.

    Args:
        rate: flows a second.
        seconds: how long; as many flows as fall into it.
    """

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._began = 0
        self._flows = max(1, round(rate * seconds))
        self._taken = 0

    def begin(self, now: int) -> None:
        """Count from here."""
        self._began = now

    def take(self, now: int) -> int | None:
        """The next flow, if it is due."""
        if not self.left():
            return None
        at = self._at(self._taken)
        if at > now:
            return None
        self._taken += 1
        return at

    def next_at(self) -> int | None:
        """When the next flow is due."""
        return self._at(self._taken) if self.left() else None

    def over(self, now: int) -> bool:  # noqa: ARG002 - the protocol's
        """Whether all were taken, however late it is."""
        return not self.left()

    def left(self) -> int:
        """How many were not taken."""
        return self._flows - self._taken

    def _at(self, number: int) -> int:
        # from the number each time: sums of a rounded interval would drift
        return self._began + round(number * SECOND_NS / self._rate)


class AsSoonAsPossible:
    """A closed loop: each connection begins its next flow when its last one is complete.

    Args:
        seconds: how long flows begin.
        flows_max: most flows; ``None``: as many as there is time for.
    """

    def __init__(self, seconds: float, flows_max: int | None = None) -> None:
        self._seconds = seconds
        self._until = 0
        self._flows_left = flows_max

    def begin(self, now: int) -> None:
        """Count from here."""
        self._until = now + round(self._seconds * SECOND_NS)

    def take(self, now: int) -> int | None:
        """A flow that begins now, as long as it is time."""
        if self.over(now):
            return None
        if self._flows_left is not None:
            self._flows_left -= 1
        return now

    def next_at(self) -> int | None:
        """At no time of its own."""
        return None

    def over(self, now: int) -> bool:
        """Whether time is up, or the last flow was taken."""
        return now >= self._until or self._flows_left == 0

    def left(self) -> int:
        """None: what was not asked for is not missing."""
        return 0
