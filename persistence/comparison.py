"""What stands beside the logs of a partition, and whether it agrees with them: timers, publications, messages.

Every function takes a replayed entity and what was read of the other thing, and gives problems. Somebody may have
written between the two reads: what is found here counts only if the entity's log did not move around it
(:mod:`persistence.verification` sees to that).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from ledger import certificate, order
from ledger.certificate import Certificate
from ledger.identifiers import (
    MESSAGE,
    STATE_EVENT,
    TRANSACTION_EVENT,
    certificate_entity,
    entity_key,
    is_certificate,
    version_of,
)
from ledger.money import HOUR_MS
from ledger.policy import Policy
from persistence import codec
from persistence.errors import DamagedLogError
from persistence.log import PAGE_MAX, Log, QueuedMessage, partition_of
from persistence.replay import Problem, Replay

TIMER_SLACK_MS: Final = HOUR_MS
"""How much too late a timer may be beside the retry of errands, by which one that rang is put off: clocks differ."""


class Waiting(Struct, frozen=True):
    """Publications of one certificate that nobody has acknowledged, oldest first, and the version of the first."""

    first: int
    entries: list[bytes]


class Beside(Struct, frozen=True):
    """What one partition holds beside its logs. ``problems`` belong to no entity that could be replayed."""

    timers: Mapping[str, int]
    waiting: Mapping[str, Waiting]
    messages: Mapping[str, list[QueuedMessage]]
    problems: Sequence[tuple[str, Problem]]

    @classmethod
    async def read(cls, log: Log, partition: int) -> "Beside":
        """Read it all."""
        problems: list[tuple[str, Problem]] = []
        waiting: dict[str, Waiting] = {}
        for entry in await outbox_entries(log, partition):
            _sort_in(entry, waiting, problems, partition, log.partitions)
        messages: dict[str, list[QueuedMessage]] = {}
        async for message in log.messages(partition):
            if message.damage is None:
                messages.setdefault(message.entity, []).append(message)
            else:
                problems.append((f"messages {partition}", (None, f"{message.message_id}: {message.damage}")))
        return cls(await log.timers([partition]), waiting, messages, problems)

    def entities(self) -> set[str]:
        """All entities that something here belongs to."""
        return self.timers.keys() | self.waiting.keys() | self.messages.keys()

    def replay_of(self, entity: str) -> Replay:
        """A replay that keeps what :meth:`problems_of` needs."""
        waiting = self.waiting.get(entity)
        versions = (message_version(message) for message in self.messages.get(entity, ()))
        return Replay(entity, waiting.first if waiting else None, frozenset(one for one in versions if one))

    def problems_of(self, replay: Replay, now: int, policy: Policy) -> list[Problem]:
        """What does not agree with an entity that was replayed; ``now`` in milliseconds."""
        if replay.broken:
            return []
        entity = replay.entity
        waiting = self.waiting.get(entity)
        return [
            *_timer(replay, self.timers.get(entity), now, policy),
            *([] if waiting is None else _publications(replay, waiting)),
            *_messages(replay, self.messages.get(entity, ())),
        ]


async def outbox_total(log: Log, partition: int) -> int:
    """How many publications were ever put into an outbox."""
    page = await log.outbox(partition, limit=0)
    return page.head + page.size


async def outbox_entries(log: Log, partition: int) -> list[bytes]:
    """All that waits. While it is read, others may add to its end and take from its beginning."""
    entries: list[bytes] = []
    first: int | None = None
    skip = 0
    while True:
        page = await log.outbox(partition, PAGE_MAX, skip)
        head = page.head - skip
        if first is None or head > first + len(entries):
            # nothing was read, or all that was read has been acknowledged since, and more
            entries, first = [], head
        following = first + len(entries)
        if page.head == following:
            entries += page.entries
            following += len(page.entries)
            if following >= head + page.size:
                return entries
        skip = following - head


def _sort_in(
    entry: bytes, waiting: dict[str, Waiting], problems: list[tuple[str, Problem]], partition: int, partitions: int
) -> None:
    try:
        event = codec.decode_publication(entry)
    except DamagedLogError as error:
        problems.append((f"outbox {partition}", (None, str(error))))
        return
    entity = certificate_entity(event.key)
    version = version_of(event.event_id, event.key, STATE_EVENT, TRANSACTION_EVENT)
    if version is None:
        problems.append((entity, (None, f"a publication waits whose id {event.event_id} is not the certificate's")))
    elif partition_of(entity, partitions) != partition:
        problems.append((entity, (version, f"a publication waits in partition {partition}, which is not its own")))
    else:
        waiting.setdefault(entity, Waiting(version, [])).entries.append(entry)


def _timer(replay: Replay, at: int | None, now: int, policy: Policy) -> list[Problem]:
    if not replay.version:
        return [] if at is None else [(None, "there is a timer, but no record")]
    state = replay.state
    due = certificate.next_due(state, policy) if isinstance(state, Certificate) else order.next_due(state, policy)
    if due is None:
        return []
    if at is None:
        return [(replay.version, f"no timer will wake it, and it is due at {due}")]
    if at > max(due, now) + policy.errand_retry_ms + TIMER_SLACK_MS:
        return [(replay.version, f"its timer is set to {at}, and it is due at {due}")]
    return []


def _publications(replay: Replay, waiting: Waiting) -> list[Problem]:
    """What waits has to be the end of what the records make: the same bytes, in order, none missing."""
    entries, events = waiting.entries, replay.events
    offset = next((at for at, (_, event) in enumerate(events) if event == entries[0]), None)
    if offset is None:
        return [(waiting.first, "the publication that waits is not what the record makes")]
    expected = events[offset:]
    for (version, event), entry in zip(expected, entries, strict=False):
        if event != entry:
            return [(version, "what waits here is not the record's publication: one was changed, dropped or moved")]
    if len(entries) < len(expected):
        return [(expected[len(entries)][0], "the record's publication is missing from the outbox")]
    if len(entries) > len(expected):
        return [(replay.version, "publications wait for which there is no record")]
    return []


def _messages(replay: Replay, messages: Sequence[QueuedMessage]) -> list[Problem]:
    found: list[Problem] = []
    for message in messages:
        version = message_version(message)
        if version is None or version not in replay.issuing:
            found.append((version, f"the message {message.message_id} waits, and no record sends it"))
        elif message.due < 0:
            found.append((version, f"the message {message.message_id} has no time and will never be sent"))
    return found


def message_version(message: QueuedMessage) -> int | None:
    """Version of the record that sends a message, if its id is one of its certificate's."""
    if not is_certificate(message.entity):
        return None
    return version_of(message.message_id, entity_key(message.entity), MESSAGE)
