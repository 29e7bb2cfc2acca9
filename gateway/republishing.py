"""Publishes events once more that Kafka lost.

A state goes onto a compacted topic, where the last one counts: only the newest is ever published, and if the
certificate has moved around it, the newest again, until it stood still.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from gateway.envelopes import Envelopes
from gateway.expected import event_version, waiting_events
from gateway.kafka_lanes import Lanes
from gateway.kafka_producer import KAFKA_FAILURES, ProducerKeeper
from gateway.offsets import CLIENT, topics_error
from ledger.identifiers import certificate_entity, entity_key
from ledger.publications import STATE, Publication
from persistence import codec
from persistence.comparison import outbox_entries
from persistence.log import Log, partition_of
from persistence.reading import groups, replayed
from persistence.replay import Replay

CODES_AT_ONCE: Final = 256
"""Certificates that are published together: so much that the broker gets large batches, and memory stays small."""
LOOKS_MAX: Final = 20
"""How often the newest state is published, if each time a newer one was written meanwhile."""
DELIVERY_SECONDS_MAX: Final = 60.0
"""How long the broker may take over what is published at once; an operator waits."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is missing of a certificate: transactions by version, and whether the newest state."""

    moves: frozenset[int]
    state: bool


async def republish(log: Log, settings: BridgeSettings, wanted: Mapping[str, Wanted]) -> tuple[int, set[str]]:
    """Publish what is wanted, by code, with the ids and headers that it had, in order for each code.

    Returns:
        How many events were published, and the codes that were written to all the time.

    Raises:
        StorageError: the log could not be read.
        TopicsError: Kafka did not take them.
    """
    published, unsettled = 0, set()
    async with _lanes(settings) as lanes:
        for group in groups((certificate_entity(code) for code in wanted), CODES_AT_ONCE):
            work = _Group(log, settings, lanes, {entity_key(entity): wanted[entity_key(entity)] for entity in group})
            await work.run()
            published += work.published
            unsettled |= work.unsettled
    return published, unsettled


@asynccontextmanager
async def _lanes(settings: BridgeSettings) -> AsyncIterator[Lanes]:
    keeper = ProducerKeeper(settings, CLIENT)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(keeper.run(), name="republishing producer")
        lanes = Lanes(keeper, tasks)
        try:
            yield lanes
        finally:
            lanes.close()
            running.cancel()


class _Group:
    """Certificates that are published together."""

    def __init__(self, log: Log, settings: BridgeSettings, lanes: Lanes, wanted: Mapping[str, Wanted]) -> None:
        self._log = log
        self._lanes = lanes
        self._envelopes = Envelopes(settings)
        self._wanted = wanted
        self._states: dict[str, str] = {}
        self.published = 0
        self.unsettled: set[str] = set()

    async def run(self) -> None:
        """Publish, and look whether it is still the newest."""
        events = await self._first()
        for _ in range(LOOKS_MAX):
            await self._publish(events)
            events = [state for code, state in (await self._newest()).items() if self._states[code] != state.event_id]
            if not events:
                return
        self.unsettled = {event.key for event in events}

    async def _first(self) -> list[Publication]:
        """What is missing. Where events wait, the relay brings the newest state, behind those that are older."""
        made = await self._made()
        partitions = {partition_of(certificate_entity(code), self._log.partitions) for code in self._wanted}
        waiting = {
            event.key
            for partition in partitions
            for event in waiting_events(await outbox_entries(self._log, partition))
        }
        chosen: list[Publication] = []
        for code, events in made.items():
            wanted = self._wanted[code]
            chosen += [one for one in events if one.topic != STATE and event_version(one) in wanted.moves]
            if wanted.state and code not in waiting:
                chosen += _last_state(events)
        return chosen

    async def _newest(self) -> dict[str, Publication]:
        """The newest states of those whose state was published."""
        made = await self._made() if self._states else {}
        return {code: state for code, events in made.items() if code in self._states for state in _last_state(events)}

    async def _made(self) -> dict[str, list[Publication]]:
        """All events that the records make, by code, oldest first."""
        replays = [Replay(certificate_entity(code), 1, frozenset()) for code in self._wanted]
        return {
            entity_key(replay.entity): [codec.decode_publication(stored) for _, stored in replay.events]
            for replay in await replayed(self._log, replays)
        }

    async def _publish(self, events: Sequence[Publication]) -> None:
        if not events:
            return
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                await self._lanes.publish([self._envelopes.outgoing(event) for event in events])
        except KAFKA_FAILURES as error:
            raise topics_error("what is missing could not be published", error) from error
        self.published += len(events)
        self._states |= {event.key: event.event_id for event in events if event.topic == STATE}


def _last_state(events: Sequence[Publication]) -> list[Publication]:
    """The newest state among events, if there is one."""
    return [event for event in events if event.topic == STATE][-1:]
