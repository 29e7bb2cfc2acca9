"""The log beside what Kafka's topics hold: which events are missing, stale, out of order, or of lost operations.

It runs beside a service that goes on writing. The logs are read first, the outboxes next, the topics last, up to where
they ended then: so what was acknowledged has to be there. Where a topic is ahead of the log, the log is read once more.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from gateway.envelopes import EVENT_ID
from gateway.expected import NOTHING, Expected, expected
from gateway.kafka_producer import KAFKA_FAILURES
from gateway.lost import TOPICS, Beyond, LostCertificate, LostEvent, lost_event
from gateway.offsets import ANSWER_SECONDS_MAX, consumer_of, ends, topics_error
from gateway.republishing import Wanted, republish
from ledger.identifiers import (
    STATE_EVENT,
    TRANSACTION_EVENT,
    certificate_entity,
    entity_key,
    normalise_code,
    version_of,
)
from persistence.log import Log, partition_of
from persistence.reading import groups, load_each

ENTITIES_AT_ONCE: Final = 200_000
"""Entities whose events are compared in one reading of the topics: they take about 1 KB of memory each, and those of
which the topics know more than the log as much again."""
LISTED_MAX: Final = 10_000
"""Findings, and events of lost operations, that are listed; all are counted."""
POLL_MS: Final = 500
"""How long one call waits for events: whether a topic has ended is looked at between two of them."""
POLL_RECORDS_MAX: Final = 5_000
"""Events that one call takes: it bounds the memory, at some megabytes."""

MISSING: Final = "missing"
STALE: Final = "stale"
LOST: Final = "lost"
DIFFERS: Final = "differs"
DISORDER: Final = "disorder"
EXTRA: Final = "extra"
UNREADABLE: Final = "unreadable"
MENDABLE: Final = frozenset({MISSING, STALE})
"""What publishing once more puts right."""


class Difference(Struct, frozen=True, kw_only=True):
    """Something on which log and topics do not agree. ``version``: of the event that it is about."""

    code: str
    kind: str
    topic: str
    version: int
    detail: str


class ReconciliationReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was compared, and what differs."""

    certificates: int
    events: int
    """Records on the topics, repeated ones too."""
    waiting: int
    """Certificates some of whose events wait in the outbox."""
    foreign: int
    """Records on our topics that are not ours."""
    counts: dict[str, int]
    """How many differences there are of each kind."""
    differences: tuple[Difference, ...]
    lost: tuple[LostCertificate, ...]
    unreadable: tuple[LostCertificate, ...] = ()
    """Certificates whose records cannot be followed, and of which subscribers know more than can be."""
    lost_events: tuple[LostEvent, ...]
    republished: int
    """Events that were published once more."""
    mended: bool
    """Whether nothing is left that publishing once more puts right."""

    @property
    def in_order(self) -> bool:
        """Whether nothing differs any more."""
        left = {kind for kind, count in self.counts.items() if count}
        return not self.foreign and (not left or (self.mended and left <= MENDABLE))


async def reconcile(
    log: Log, settings: BridgeSettings, on_progress: Callable[[int, int], None], *, republish: bool = False
) -> ReconciliationReport:
    """Compare, and publish what is missing if asked to.

    Args:
        log: is only read.
        settings: where the topics are.
        on_progress: is told how many entities and records were read, and of how many.
        republish: publish missing transactions, and the newest state where the topic has an older one or none.

    Raises:
        StorageError: the log could not be read.
        TopicsError: Kafka does not answer, or a topic is not there.
    """
    comparison = _Comparison(log, settings, on_progress)
    async with consumer_of(settings, (settings.states, settings.transactions), None) as consumer:
        for partitions in _portions(await log.entity_counts()):
            await comparison.compare(consumer, partitions, mend=republish)
    return comparison.report()


def _portions(counts: Sequence[int]) -> Iterator[list[int]]:
    """Partitions that are compared together."""
    together: list[int] = []
    size = 0
    for partition, count in enumerate(counts):
        if together and size + count > ENTITIES_AT_ONCE:
            yield together
            together, size = [], 0
        together.append(partition)
        size += count
    yield together


class _Comparison:
    def __init__(self, log: Log, settings: BridgeSettings, on_progress: Callable[[int, int], None]) -> None:
        self._log = log
        self._settings = settings
        self._on_progress = on_progress
        self._done = self._total = 0
        self._certificates = self._events = self._waiting = self._foreign = self._republished = 0
        self._counts: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._lost: list[LostCertificate] = []
        self._unreadable: list[LostCertificate] = []
        self._lost_events: list[LostEvent] = []
        self._mended = True
        self._first = True

    def report(self) -> ReconciliationReport:
        return ReconciliationReport(
            certificates=self._certificates,
            events=self._events,
            waiting=self._waiting,
            foreign=self._foreign,
            counts=dict(sorted(self._counts.items())),
            differences=tuple(sorted(self._differences, key=lambda one: (one.code, one.version))),
            lost=tuple(sorted(self._lost, key=lambda one: one.code)),
            unreadable=tuple(sorted(self._unreadable, key=lambda one: one.code)),
            lost_events=tuple(sorted(self._lost_events, key=lambda one: (one.code, one.version))),
            republished=self._republished,
            mended=self._mended,
        )

    async def compare(self, consumer: AIOKafkaConsumer, partitions: Sequence[int], *, mend: bool) -> None:
        """Compare the certificates of some partitions of the ledger."""
        counts = await self._log.entity_counts()
        await self._expect(sum(counts[partition] for partition in partitions), consumer)
        entries = await expected(self._log, partitions, self._advance)
        self._certificates += len(entries)
        self._waiting += sum(entry.waits for entry in entries.values())
        beyond: dict[str, Beyond] = {}
        listed = await self._read(consumer, entries, frozenset(partitions), beyond)
        await self._judge_lost(entries, beyond, listed)
        wanted: dict[str, Wanted] = {}
        for code, entry in entries.items():
            found = self._judge(code, entry)
            if found is not None:
                wanted[code] = found
        if wanted and mend:
            published, unsettled = await republish(self._log, self._settings, wanted)
            self._republished += published
            self._mended = self._mended and not unsettled
        elif wanted:
            self._mended = False
        self._first = False

    async def _expect(self, entities: int, consumer: AIOKafkaConsumer) -> None:
        self._total += entities + sum((await ends(consumer)).values())
        self._advance(0)

    def _advance(self, count: int = 1) -> None:
        self._done += count
        self._on_progress(self._done, self._total)

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        entries: dict[str, Expected],
        partitions: frozenset[int],
        beyond: dict[str, Beyond],
    ) -> list[LostEvent]:
        """Note what the topics hold of these partitions, and what of it their logs do not have: that is listed, too."""
        listed: list[LostEvent] = []
        async for record in self._records(consumer):
            kind = STATE_EVENT if record.topic == self._settings.states else TRANSACTION_EVENT
            code = _code_of(record)
            version = None if code is None else version_of(_event_id(record), code, kind)
            if code is None or version is None:
                self._foreign += self._first
                continue
            if partition_of(certificate_entity(code), self._log.partitions) not in partitions:
                continue
            self._events += 1
            entry = entries.get(code)
            if entry is None:
                entry = entries[code] = Expected()
            value = record.value or b""
            if kind == STATE_EVENT:
                entry.saw_state(version, value)
            else:
                entry.saw_move(version, value)
            if version > entry.version:
                beyond.setdefault(code, Beyond(code)).saw(kind, version, value)
                if len(listed) < LISTED_MAX:
                    listed.append(lost_event(code, kind, version, value))
        return listed

    async def _records(self, consumer: AIOKafkaConsumer) -> Any:  # noqa: ANN401 - aiokafka has no types
        """All records up to where the topics end now; the oldest of each partition first."""
        until = await ends(consumer)
        await consumer.seek_to_beginning()
        left = {partition for partition, end in until.items() if end}
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                begins = await consumer.beginning_offsets(list(left))
            self._advance(sum(begins.values()))
            left = {partition for partition in left if begins[partition] < until[partition]}
            while left:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    found: dict[Any, list[Any]] = {}
                    while not found:
                        found = await consumer.getmany(*left, timeout_ms=POLL_MS, max_records=POLL_RECORDS_MAX)
                        left = {one for one in left if await consumer.position(one) < until[one]}
                        if not left:
                            break
                for partition, records in found.items():
                    for record in records:
                        if record.offset < until[partition]:
                            yield record
                    self._advance(len(records))
        except KAFKA_FAILURES as error:
            raise topics_error("the topics cannot be read to their end", error) from error

    async def _judge_lost(
        self, entries: dict[str, Expected], beyond: dict[str, Beyond], listed: Sequence[LostEvent]
    ) -> None:
        """Of the certificates that a topic is ahead of, those whose log has not caught up meanwhile."""
        ends: dict[str, int] = {}
        for group in groups(map(certificate_entity, beyond)):
            for entity, loaded in zip(group, await load_each(self._log, group), strict=True):
                code = entity_key(entity)
                entry = entries[code]
                version = entry.version if isinstance(loaded, Exception) else loaded.version
                if entry.broken:
                    self._unreadable.append(beyond[code].lost(entry.version, entry.top))
                elif entry.top > version:
                    ends[code] = version
                    self._lost.append(beyond[code].lost(version, entry.top))
                    self._find(code, LOST, "", entry.top, f"subscribers know it, and the log ends at {version}")
        self._lost_events += (event for event in listed if event.version > ends.get(event.code, event.version))

    def _judge(self, code: str, entry: Expected) -> Wanted | None:
        """Note all other differences; gives what is to be published once more."""
        if entry.broken:
            self._find(code, UNREADABLE, "", entry.version + 1, "its records cannot be followed: verify it")
            return None
        for kind, version in entry.differing:
            self._find(code, DIFFERS, TOPICS[kind], version, "its value is not what the record makes")
        for kind, version in entry.strange:
            self._find(code, EXTRA, TOPICS[kind], version, "no record makes such an event")
        for version in entry.late:
            self._find(code, DISORDER, "transaction", version, "it came first after a later one")
        moves = entry.moves_missing()
        for version in moves:
            self._find(code, MISSING, "transaction", version, "it was acknowledged, and is not there")
        state = self._judge_state(code, entry)
        return Wanted(moves=frozenset(moves), state=state) if moves or state else None

    def _judge_state(self, code: str, entry: Expected) -> bool:
        """Whether the topic has an older state than was acknowledged."""
        if entry.waits or entry.state == NOTHING or entry.top > entry.version or entry.last_state >= entry.state:
            return False
        if entry.last_state == NOTHING:
            if entry.state_is_tombstone:
                return False  # a compacted topic forgets those
            self._find(code, MISSING, "state", entry.state, "the topic has no state of it")
        else:
            behind = " behind a newer one" if entry.top_state > entry.last_state else ""
            self._find(code, STALE, "state", entry.state, f"the topic ends with version {entry.last_state}{behind}")
        return True

    def _find(self, code: str, kind: str, topic: str, version: int, detail: str) -> None:
        self._counts[kind] += 1
        if len(self._differences) < LISTED_MAX:
            self._differences.append(Difference(code=code, kind=kind, topic=topic, version=version, detail=detail))


def _code_of(record: Any) -> str | None:  # noqa: ANN401 - aiokafka has no types
    text = (record.key or b"").decode(errors="replace")
    return text if normalise_code(text) == text else None


def _event_id(record: Any) -> str:  # noqa: ANN401 - aiokafka has no types
    found = next((value for name, value in record.headers if name == EVENT_ID), b"")
    return str(found.decode(errors="replace"))
