"""The Kafka inbox: carries orders and payments from Kafka to the ledger.

An offset is committed only when everything before it is durable: applied by the ledger, or put aside as a dead letter.
So a record may be applied twice, which changes nothing, and none is left out.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from actors.ports import Ledger
from gateway.bridge_settings import BridgeSettings
from gateway.dead_letters import DeadLetterWriter
from gateway.inbox_reading import Reading, StuckError
from gateway.inbox_work import InboxWork, Reader
from gateway.inputs import read_order, read_payment
from gateway.kafka_producer import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, KAFKA_FAILURES, ProducerKeeper
from ledger.commands import Origin
from persistence.vault import Vault

_logger = logging.getLogger(__name__)


class Inbox:
    """Gives orders and payments to the ledger.

    Args:
        ledger: takes the commands.
        vault: seals recipients.
        settings: where from.
        clock: milliseconds since the epoch.
    """

    def __init__(self, ledger: Ledger, vault: Vault, settings: BridgeSettings, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._keeper = ProducerKeeper(settings, "gift-ledger-inbox")
        self._dead_letters = DeadLetterWriter(settings.dead_letters, self._keeper, clock)
        readers = {
            settings.sales_orders: Reader(read_order, Origin(client="orders")),
            settings.payments: Reader(read_payment, Origin(client="payments")),
        }
        self._work = InboxWork(ledger, vault, self._dead_letters, readers)
        self._reading: Reading | None = None
        self._readings = 0
        self._was_well = False
        self._error = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set; what is done by then is committed."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keeper.run(), name="inbox producer")
            pause = BACKOFF_SECONDS_MIN
            while not stop.is_set():
                try:
                    await self._read(stop)
                except (StuckError, *KAFKA_FAILURES) as error:
                    self._error = type(error).__name__
                    _logger.warning("orders and payments are read anew: %r", error)
                    pause = BACKOFF_SECONDS_MIN if self._was_well else min(pause * 2, BACKOFF_SECONDS_MAX)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await stop.wait()
            keeper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """What it has done, and what is in the way."""
        reading = self._reading
        counts = self._work.counts
        return {
            "applied": counts["applied"],
            "deadLetters": counts["deadLetters"],
            "tombstones": counts["tombstones"],
            "retries": counts["retries"],
            "inFlight": self._work.in_flight,
            "partitions": 0 if reading is None else len(reading.partitions),
            "lag": 0 if reading is None else reading.lag,
            "readings": self._readings,
            "refusal": self._keeper.refusal,
            "lastError": self._error,
        }

    def ready(self) -> bool:
        """Whether Kafka answers, and dead letters can be put aside."""
        return self._reading is not None and self._reading.answered and not self._dead_letters.failing

    async def _read(self, stop: asyncio.Event) -> None:
        self._was_well = False
        self._readings += 1
        reading = Reading(self._settings, self._work, self._keeper)
        try:
            await reading.open()
            self._reading = reading
            self._error = ""
            self._was_well = True
            await reading.run(stop)
        finally:
            self._reading = None
            await reading.close()
