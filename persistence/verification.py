"""Proof of the whole log: everything is read again from the first record, and compared with all that stands beside it.

It runs beside a service that goes on writing. What the records of one entity say is final, since records never
change. What stands beside them (timers, publications, messages, other entities) is read at another moment, so a
problem found there is only a suspicion. It is looked at again: both sides are read anew until the entity has not
moved around the reading.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from ledger.certificate import Certificate
from ledger.identifiers import entity_key, is_certificate
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY, Policy
from persistence.agreement import (
    certificates_of,
    data_keys_of,
    orders_of,
    problems_of_certificate,
    problems_of_data_keys,
    problems_of_order,
)
from persistence.comparison import Beside, outbox_total
from persistence.idempotency import now_ms
from persistence.log import Log, partition_of
from persistence.reading import groups, replayed
from persistence.replay import Problem, Replay

LOOKS_MAX: Final = 20
"""How often a suspicion is looked at before it is left undecided."""


class Finding(Struct, frozen=True):
    """Something that is wrong. ``version``: of the record that it is about, if it is about one."""

    entity: str
    version: int | None
    problem: str


class VerificationReport(Struct, frozen=True, kw_only=True):
    """What was read, and what is wrong with it. Amounts are minor units by currency."""

    findings: tuple[Finding, ...]
    records: int
    entities: int
    certificates: int
    orders: int
    balances: dict[str, int]
    held: dict[str, int]
    publications_waiting: int
    messages_waiting: int
    undecided: tuple[str, ...] = ()
    """Entities that were written to all the time, so that a suspicion was neither confirmed nor dispelled."""


class Progress(Struct, frozen=True):
    """How far a proof has come: entities and records that were read, of how many entities."""

    entities: int
    records: int
    total: int


OnProgress = Callable[[Progress], None]


class Share(Struct, frozen=True, kw_only=True):
    """What the proof of some partitions came to, for another process to put together (:meth:`Proof.add`).

    ``seen``, ``issued`` and ``vouched`` are names as 8-byte digests, packed: of entities, of codes that were issued,
    and of codes that stand on the line of an order.
    """

    findings: tuple[Finding, ...]
    records: int
    certificates: int
    orders: int
    balances: dict[str, int]
    held: dict[str, int]
    publications_waiting: int
    messages_waiting: int
    undecided: tuple[str, ...]
    seen: bytes
    issued: bytes
    vouched: bytes


async def verify(
    log: Log,
    entities: Sequence[str] | None,
    on_progress: OnProgress,
    *,
    clock: Callable[[], int] = now_ms,
    policy: Policy = DEFAULT_POLICY,
) -> VerificationReport:
    """Read and prove.

    Args:
        log: is only read.
        entities: which; ``None``: all there are, and then also that none is missing.
        on_progress: is told now and then how far it is.
        clock: milliseconds.
        policy: of the service that writes the log: its timers are judged by it.

    Raises:
        StorageError: the log could not be read.
    """
    proof = Proof(log, on_progress, clock=clock, policy=policy)
    if entities is None:
        proof.total = sum(await log.entity_counts())
        for partition in range(log.partitions):
            await proof.prove(partition)
        await proof.conclude()
    else:
        await proof.some(dict.fromkeys(entities))
    return proof.report()


class Proof:
    """A proof under way.

    That of a whole log is :meth:`prove` for each partition, wherever that is done, and :meth:`conclude` in the end.

    Args:
        log: is only read.
        on_progress: is told now and then how far it is.
        clock: milliseconds.
        policy: of the service that writes the log.
    """

    def __init__(
        self, log: Log, on_progress: OnProgress, *, clock: Callable[[], int] = now_ms, policy: Policy = DEFAULT_POLICY
    ) -> None:
        self.total = 0
        """How many entities there are; only for those who wait."""
        self._log = log
        self._on_progress = on_progress
        self._clock = clock
        self._policy = policy
        self._findings: dict[Finding, None] = {}
        self._records = self._certificates = self._orders = 0
        self._balances: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._publications = self._messages = 0
        self._undecided: list[str] = []
        self._seen: set[int] = set()  # of names their digests: a third of the memory, and every process has the same
        self._issued: set[int] = set()
        self._vouched: set[int] = set()
        self._events = 0
        self._unreadable = False

    def report(self) -> VerificationReport:
        """All that was found."""
        order = sorted(self._findings, key=lambda one: (one.entity, one.version or 0))
        return VerificationReport(
            findings=tuple(order),
            records=self._records,
            entities=self._certificates + self._orders,
            certificates=self._certificates,
            orders=self._orders,
            balances=dict(sorted(self._balances.items())),
            held=dict(sorted(self._held.items())),
            publications_waiting=self._publications,
            messages_waiting=self._messages,
            undecided=tuple(sorted(self._undecided)),
        )

    def share(self) -> Share:
        """What was found so far, to be put together elsewhere."""
        return Share(
            findings=tuple(self._findings),
            records=self._records,
            certificates=self._certificates,
            orders=self._orders,
            balances=self._balances,
            held=self._held,
            publications_waiting=self._publications,
            messages_waiting=self._messages,
            undecided=tuple(self._undecided),
            seen=array("Q", self._seen).tobytes(),
            issued=array("Q", self._issued).tobytes(),
            vouched=array("Q", self._vouched).tobytes(),
        )

    def add(self, share: Share) -> None:
        """Put in what was found elsewhere, of partitions that were not proved here."""
        self._findings.update(dict.fromkeys(share.findings))
        self._records += share.records
        self._certificates += share.certificates
        self._orders += share.orders
        for sums, more in ((self._balances, share.balances), (self._held, share.held)):
            for currency, amount in more.items():
                sums[currency] = sums.get(currency, 0) + amount
        self._publications += share.publications_waiting
        self._messages += share.messages_waiting
        self._undecided += share.undecided
        for names, packed in (
            (self._seen, share.seen),
            (self._issued, share.issued),
            (self._vouched, share.vouched),
        ):
            names.update(array("Q", packed))

    async def prove(self, partition: int) -> None:
        """Everything that one partition can tell by itself."""
        before = await outbox_total(self._log, partition)
        beside = await Beside.read(self._log, partition)
        self._publications += sum(len(one.entries) for one in beside.waiting.values())
        self._messages += sum(len(one) for one in beside.messages.values())
        for entity, problem in beside.problems:
            self._find(entity, [problem])
        self._events, self._unreadable = 0, False
        named = {entity: None async for entity in self._log.entities(partition)}
        named |= dict.fromkeys(sorted(beside.entities() - named.keys()))
        await self._partition(partition, named, beside)
        await self._compare_totals(partition, before)

    async def conclude(self) -> None:
        """What only shows once all partitions were proved."""
        await self._look_for_strays()
        await self._look_for_orphans()

    async def some(self, entities: Iterable[str]) -> None:
        """Only these entities."""
        entities = list(entities)
        self.total = len(entities)
        partitions: dict[int, list[str]] = {}
        for entity in entities:
            partitions.setdefault(partition_of(entity, self._log.partitions), []).append(entity)
        for partition, named in partitions.items():
            beside = await Beside.read(self._log, partition)
            for entity, problem in beside.problems:
                if entity in named:
                    self._find(entity, [problem])
            await self._partition(partition, named, beside)
            await self._ask_orders(named)

    async def _partition(self, partition: int, entities: Iterable[str], beside: Beside) -> None:
        """Verify entities of one partition, of which ``beside`` was read before."""
        suspects: dict[str, tuple[int, list[Problem]]] = {}
        async for replay, doubts in self._look(entities, beside):
            self._count(replay)
            self._find(replay.entity, replay.problems)
            if doubts:
                suspects[replay.entity] = (replay.version, doubts)
        for _ in range(LOOKS_MAX):
            if not suspects:
                return
            beside = await Beside.read(self._log, partition)
            again: dict[str, tuple[int, list[Problem]]] = {}
            async for replay, doubts in self._look(suspects, beside):
                version, before = suspects[replay.entity]
                # where the entity is as it was before the other side was read, what is wrong now was wrong then
                confirmed = [doubt for doubt in doubts if replay.version == version and doubt in before]
                self._find(replay.entity, confirmed)
                if len(doubts) > len(confirmed):
                    again[replay.entity] = (replay.version, [doubt for doubt in doubts if doubt not in confirmed])
            suspects = again
        self._undecided += suspects

    async def _look(self, entities: Iterable[str], beside: Beside) -> AsyncIterator[tuple[Replay, list[Problem]]]:
        """Replay entities, each with what does not agree with ``beside`` or with other entities."""
        for group in groups(entities):
            replays = await replayed(self._log, [beside.replay_of(entity) for entity in group])
            certificates = await certificates_of(self._log, replays)
            keys = await data_keys_of(self._log, replays)
            now = self._clock()
            for replay in replays:
                doubts = beside.problems_of(replay, now, self._policy) + problems_of_order(replay, certificates, now)
                doubts += problems_of_data_keys(replay, keys.get(replay.entity, {}))
                if isinstance(replay.state, Order):
                    self._vouched |= {_digest(one.code) for one in replay.state.allocations.values()}
                yield replay, doubts

    def _count(self, replay: Replay) -> None:
        self._seen.add(_digest(replay.entity))
        self._records += replay.version
        self._events += replay.events_count
        self._unreadable |= replay.broken
        state = replay.state
        if isinstance(state, Certificate):
            self._certificates += 1
            if state.activation is not None:
                self._issued.add(_digest(state.code))
            if state.currency is not None:
                self._balances[state.currency] = self._balances.get(state.currency, 0) + state.balance
                self._held[state.currency] = self._held.get(state.currency, 0) + state.held
        else:
            self._orders += 1
        self._on_progress(Progress(self._certificates + self._orders, self._records, self.total))

    async def _compare_totals(self, partition: int, before: int) -> None:
        """Whether the outbox ever got as many publications as the records make."""
        after = await outbox_total(self._log, partition)
        if not (before <= self._events <= after or self._unreadable):
            problem = f"{after} publications were ever put into it, and the records make {self._events}"
            self._find(f"outbox {partition}", [(None, problem)])

    async def _look_for_strays(self) -> None:
        """Logs of entities that the register does not name."""
        strays = {entity: None async for entity in self._log.stored() if _digest(entity) not in self._seen}
        for partition in range(self._log.partitions):
            named = [entity for entity in strays if partition_of(entity, self._log.partitions) == partition]
            if named:
                await self._partition(partition, named, await Beside.read(self._log, partition))
        for entity in strays:
            if await self._log.history(entity, 0, 1) == []:
                self._find(entity, [(None, "a log of this name is stored where nobody reads it")])

    async def _look_for_orphans(self) -> None:
        """Certificates that were issued, and stand on no order's line."""
        orphans = self._issued - self._vouched
        if not orphans:
            return
        for partition in range(self._log.partitions):
            named = [
                entity
                async for entity in self._log.entities(partition)
                if is_certificate(entity) and _digest(entity_key(entity)) in orphans
            ]
            await self._ask_orders(named)

    async def _ask_orders(self, entities: Iterable[str]) -> None:
        """Whether the orders of issued certificates know of them."""
        for group in groups(entities):
            replays = await replayed(self._log, [Replay(entity, None, frozenset()) for entity in group])
            issued = [
                (replay, replay.state)
                for replay in replays
                if isinstance(replay.state, Certificate) and replay.state.activation is not None
            ]
            orders = await orders_of(self._log, [state for _, state in issued])
            for (replay, state), order in zip(issued, orders, strict=True):
                self._find(replay.entity, problems_of_certificate(state, order))

    def _find(self, entity: str, problems: Iterable[Problem]) -> None:
        self._findings.update((Finding(entity, version, problem), None) for version, problem in problems)


def _digest(name: str) -> int:
    """64 bits that stand for a name, the same in every process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
