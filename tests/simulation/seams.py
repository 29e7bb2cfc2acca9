"""Where chance, foreign libraries and the pace of the service come in, and what stands there in a simulation."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.simulation.broker import Consumer, Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.broker import Broker

PACE = {
    "actors.router.SWEEP_SECONDS": 0.25,
    "gateway.relay.POLL_SECONDS": 0.2,
    "gateway.inbox_reading.POLL_SECONDS": 0.5,
    "gateway.inbox_reading.COMMIT_SECONDS": 0.5,
    "gateway.kafka_producer.DELIVERY_SECONDS_MAX": 3.0,
    "gateway.kafka_lanes.ROUTE_SECONDS_MAX": 3.0,
}
"""What looks again and again looks less often here, or a run would be made of nothing else."""


class _Ears(logging.Handler):
    """Hears what the service itself takes for an error."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        error = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        self._tell("logged error", f"{record.name} says: {record.getMessage()}{error}")


@contextmanager
def simulated(broker: Broker, seed: int, tell: Callable[[str, str], None]) -> Iterator[None]:
    """Put what the simulation needs into the seams; `tell` gets what the service logs as an error."""
    chance = Random(f"{seed}/service")
    replaced = {
        "gateway.kafka_producer.new_producer": lambda *_: Producer(broker),
        "gateway.inbox_reading.new_consumer": lambda *_: Consumer(broker),
        "gateway.inbox_work.random": chance,
        "actors.issuer.new_cvc": lambda: f"{chance.randrange(10_000):04d}",
    }
    with ExitStack() as stack:
        for name, value in (PACE | replaced).items():
            stack.enter_context(patch(name, value))
        ears = _Ears(tell)
        for name in ("actors", "gateway", "asyncio"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(logger.removeHandler, ears)
            logger.setLevel(logging.ERROR)
            logger.propagate = False
            logger.addHandler(ears)
        yield
