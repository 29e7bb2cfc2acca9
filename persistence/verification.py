"""Proof of the whole log: everything is read again from the first record, and compared with all that stands beside it.

It runs beside a service that goes on writing. What the records of one entity say is final, since records never
change. What stands beside them (timers, publications, messages, other entities) is read at another moment, so a
problem found there is only a suspicion. It is looked at again: both sides are read anew until the entity has not
moved around the reading.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from ledger.certificate import Certificate
from ledger.identifiers import is_certificate
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY, Policy
from persistence.agreement import certificates_of, orders_of, problems_of_certificate, problems_of_order
from persistence.comparison import Beside, outbox_total
from persistence.idempotency import now_ms
from persistence.log import Log, partition_of
from persistence.reading import replayed
from persistence.replay import Problem, Replay

GROUP: Final = 64
"""Entities that are read in one round trip."""
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


async def verify(
    log: Log,
    entities: Sequence[str] | None,
    on_progress: Callable[[int], None],
    *,
    clock: Callable[[], int] = now_ms,
    policy: Policy = DEFAULT_POLICY,
) -> VerificationReport:
    """Read and prove.

    Args:
        log: is only read.
        entities: which; ``None``: all there are, and then also that none is missing.
        on_progress: is told now and then how many records were read.
        clock: milliseconds.
        policy: of the service that writes the log: its timers are judged by it.

    Raises:
        StorageError: the log could not be read.
    """
    verification = _Verification(log, on_progress, clock, policy)
    if entities is None:
        await verification.everything()
    else:
        await verification.some(dict.fromkeys(entities))
    return verification.report()


class _Verification:
    def __init__(self, log: Log, on_progress: Callable[[int], None], clock: Callable[[], int], policy: Policy) -> None:
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
        self._seen: set[int] = set()  # of names their hashes: a third of the memory
        self._issued: set[int] = set()
        self._vouched: set[int] = set()
        self._events = 0
        self._unreadable = False

    def report(self) -> VerificationReport:
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
            undecided=tuple(self._undecided),
        )

    async def everything(self) -> None:
        for partition in range(self._log.partitions):
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
        await self._look_for_strays()
        await self._look_for_orphans()

    async def some(self, entities: Iterable[str]) -> None:
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
        for group in _groups(entities):
            replays = await replayed(self._log, [beside.replay_of(entity) for entity in group])
            certificates = await certificates_of(self._log, replays)
            now = self._clock()
            for replay in replays:
                doubts = beside.problems_of(replay, now, self._policy) + problems_of_order(replay, certificates, now)
                if isinstance(replay.state, Order):
                    self._vouched |= {hash(one.code) for one in replay.state.allocations.values()}
                yield replay, doubts

    def _count(self, replay: Replay) -> None:
        self._seen.add(hash(replay.entity))
        self._records += replay.version
        self._events += replay.events_count
        self._unreadable |= replay.broken
        state = replay.state
        if isinstance(state, Certificate):
            self._certificates += 1
            if state.activation is not None:
                self._issued.add(hash(state.code))
            if state.currency is not None:
                self._balances[state.currency] = self._balances.get(state.currency, 0) + state.balance
                self._held[state.currency] = self._held.get(state.currency, 0) + state.held
        else:
            self._orders += 1
        self._on_progress(self._records)

    async def _compare_totals(self, partition: int, before: int) -> None:
        """Whether the outbox ever got as many publications as the records make."""
        after = await outbox_total(self._log, partition)
        if not (before <= self._events <= after or self._unreadable):
            problem = f"{after} publications were ever put into it, and the records make {self._events}"
            self._find(f"outbox {partition}", [(None, problem)])

    async def _look_for_strays(self) -> None:
        """Logs of entities that the register does not name."""
        strays = {entity: None async for entity in self._log.stored() if hash(entity) not in self._seen}
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
                if is_certificate(entity) and hash(entity[2:]) in orphans
            ]
            await self._ask_orders(named)

    async def _ask_orders(self, entities: Iterable[str]) -> None:
        """Whether the orders of issued certificates know of them."""
        for group in _groups(entities):
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


def _groups(entities: Iterable[str]) -> Iterable[list[str]]:
    remaining = iter(entities)
    while group := list(islice(remaining, GROUP)):
        yield group
