"""The shard: one writer for many certificates and orders.

A plain class; the Ray actor around it is in :mod:`actors.ray_shell`. Commands gather in a mailbox. Each round takes
what is there, reads what is not in memory, decides, appends everything at once, and lets the answers out when the log
has them.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import Final

from actors import outcomes
from actors.errands import ErrandRunner
from actors.errors import ActorError, LeavingError, OutcomeUnknownError, OverloadedError, PepperMissingError
from actors.issuer import Issuer
from actors.ports import Ledger
from actors.residents import Resident, Residents, restored
from actors.round import Round
from actors.sale import Sales
from actors.settings import ActorSettings
from actors.work import Done, Keyed, Shape, Work, as_it_is, fail
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.commands import AnyCommand, Origin, Sell
from ledger.policy import Policy
from persistence import codec
from persistence.codes import CodeStore
from persistence.errors import DamagedLogError, SnapshotUnreadableError, StorageError, StorageRefusedError
from persistence.log import Batch, Change, Conflict, KeyName, Loaded, Log

CONFLICTS_MAX: Final = 8
"""Rounds in which the same command may meet another writer before the caller is sent away."""
PASSIVATED_MAX: Final = 500
"""Entities that are let go at once: it bounds how many snapshots one append carries."""

_logger = logging.getLogger(__name__)


class Shard:
    """Serializes the changes of the entities that are routed to it.

    Being the only one is a matter of speed. If another shard writes to the same entity, the log refuses whoever
    comes second, who then reads again and decides anew.

    Args:
        name: as in Ray and in logs.
        log: where everything is kept.
        issuer: makes CVCs.
        ledger: the way to entities of other shards.
        clock: milliseconds since the epoch.
        imported: the codes that may be sold, where only such may.
    """

    def __init__(
        self,
        name: str,
        log: Log,
        issuer: Issuer,
        ledger: Ledger,
        clock: Callable[[], int],
        policy: Policy,
        settings: ActorSettings,
        imported: CodeStore | None = None,
    ) -> None:
        self.name: Final = name
        self.counts: Counter[str] = Counter()
        self._log = log
        self._issuer = issuer
        self._clock = clock
        self._policy = policy
        self._settings = settings
        self._timeout_ms = int(settings.request_timeout_seconds * 1_000)
        self._residents = Residents()
        self._mailbox: deque[Work] = deque()
        self._filled = asyncio.Event()
        self._at_work: Collection[str] = ()
        self._sales = Sales(self, ledger, settings.request_timeout_seconds, imported)
        self._errands = ErrandRunner(self, ledger, clock)
        self._touched = clock()
        self._leaving = False
        self._stopped = False
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    def submit(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        """Put a command into the mailbox; ``done`` is called once with its outcome."""
        try:
            self._admit_caller()
            if isinstance(command, Sell):
                self._sales.begin(entity, command, origin, done)
                return
        except OverloadedError as error:
            self.counts["overloaded"] += 1
            done(error)
            return
        self._put(Work(entity, command, origin, done, self._clock()))

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        """As :meth:`actors.ports.Ledger.ask`, for an entity of this shard."""
        return await self.step(entity, command, origin)

    async def step(
        self,
        entity: str,
        command: AnyCommand,
        origin: Origin,
        keyed: Keyed = Keyed.FIRST,
        shape: Shape = as_it_is,
    ) -> Answer:
        """One step of something larger: the caller says what becomes of the idempotency key and of the answer.

        Steps are taken while the shard leaves, and beyond the bound of the mailbox: they finish what has begun, and
        whoever makes them is bounded.

        Raises:
            ActorError: as :meth:`actors.ports.Ledger.ask`.
        """
        if self._stopped:
            raise LeavingError(f"{self.name} has stopped; nothing happened.")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | ActorError) -> None:
            if future.done():
                return  # whoever asked has gone away
            if isinstance(outcome, ActorError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self._put(Work(entity, command, origin, done, self._clock(), keyed, shape))
        return await future

    def look_at(self, entity: str) -> None:
        """See whether the entity owes anything, and do it."""
        self._errands.look_at(entity)

    @property
    def facts(self) -> dict[str, int | float | str]:
        """What operators want to know: what it holds, what it has done."""
        return {
            "residents": len(self._residents),
            "queued": len(self._mailbox),
            "sales": len(self._sales),
            "errands": self._errands.running,
            **{name: self.counts[name] for name in sorted(self.counts)},
        }

    @property
    def idle_since(self) -> int:
        """When there was work last (milliseconds)."""
        if self._mailbox or self._at_work or len(self._sales) or self._errands.running:
            return self._clock()
        return self._touched

    async def run(self) -> None:
        """Serve until :meth:`close`, or cancelled. A round that fails answers its commands, and the loop goes on."""
        self._at_rest.clear()
        try:
            while self._mailbox or not self._stopped:
                await self._filled.wait()
                self._filled.clear()
                while works := self._gather():
                    await self.round(works)
        finally:
            self._stopped = True
            fail(self._mailbox, LeavingError(f"{self.name} has stopped; nothing happened."))
            self._mailbox.clear()
            self._at_rest.set()

    async def close(self) -> None:
        """Take no more commands, and return when those that are there have their answers; errands wait."""
        self._leaving = True
        await self._errands.close()
        await self._sales.close()
        self._stopped = True
        self._filled.set()
        await self._at_rest.wait()

    def _admit_caller(self) -> None:
        if self._leaving or self._stopped:
            raise LeavingError(f"{self.name} is stopping; nothing happened.")
        if len(self._mailbox) >= self._settings.mailbox_max:
            raise OverloadedError("The shard's mailbox is full; nothing happened.")

    def _put(self, work: Work) -> None:
        self.counts["commands"] += 1
        self._mailbox.append(work)
        self._filled.set()

    def _gather(self) -> list[Work]:
        """What the next round takes on. A command that waited for longer than its caller does is not begun."""
        given_up = self._clock() - self._timeout_ms
        works: list[Work] = []
        while self._mailbox and len(works) < self._settings.batch_max:
            work = self._mailbox.popleft()
            if work.arrived >= given_up:
                works.append(work)
            else:
                self.counts["overloaded"] += 1
                work.settle(OverloadedError("The shard did not come to the command in time; nothing happened."))
        return works

    async def round(self, works: list[Work]) -> None:
        """Carry out ``works``, whatever happens to each."""
        self.counts["rounds"] += 1
        self._touched = self._clock()
        self._at_work = {work.entity for work in works}
        try:
            await self._carry_out(works)
        finally:
            self._at_work = ()

    async def _carry_out(self, works: list[Work]) -> None:
        keys: dict[KeyName, bytes | None] = {}
        for _ in range(CONFLICTS_MAX):
            try:
                works = await self._attempt(works, keys)
            except StorageRefusedError as refused:
                self.counts["storage_refused"] += 1
                fail(works, OutcomeUnknownError(f"The log refuses to write: {refused}"))
                return
            except StorageError as error:
                # written or not: what is in memory proves nothing any more
                self.counts["storage_lost"] += 1
                self._forget(works)
                fail(works, OutcomeUnknownError(f"The log did not answer: {error}"))
                return
            except Exception:
                _logger.exception("%s: a round failed", self.name)
                self.counts["defects"] += 1
                self._forget(works)
                fail(works, OutcomeUnknownError("The shard failed; it was recorded for the operators."))
                return
            except BaseException:
                self._forget(works)
                fail(works, OutcomeUnknownError("The shard was stopped; the outcome is unknown."))
                raise
            if not works:
                return
        self.counts["overloaded"] += len(works)
        fail(works, OverloadedError("Other writers were always faster; nothing happened."))

    async def _attempt(self, works: list[Work], keys: dict[KeyName, bytes | None]) -> list[Work]:
        """Try one append with everything; gives the works that have to be tried again."""
        works = await self._load(works)
        if settling := [work for work in works if work.keyed is Keyed.SETTLES and work.origin.key]:
            await self._replay_known(settling)
            works = [work for work in works if not work.settled]
        now = self._clock()
        current = Round(self._residents, self._issuer, self._policy, now, self._settings.snapshot_every, keys)
        later = [work for work in works if not current.take(work)]
        if current.drafts:
            batch = current.batch()
            conflict = await self._log.append(batch)
            if conflict is not None:
                return await self._resolve(conflict, works)
            for entity in current.commit(batch):
                self._errands.look_at(entity)
            self.counts.update(current.counts)
        if limited := self._let_out(
            current
        ):  # no outcome to keep: so the append has not asked whether their keys are known
            for work in await self._replay_known(list(limited)):
                work.settle(limited[work])
        if wanted := list(current.wanted):
            keys.update(zip(wanted, await self._log.data_keys(wanted), strict=True))
        return later

    def _let_out(self, current: Round) -> dict[Work, Answer | PepperMissingError]:
        """Give the answers of a round that is durable; but for those that are not kept under their keys."""
        limited: dict[Work, Answer | PepperMissingError] = {}
        for work, answer in current.answers:
            if work.origin.key and not outcomes.keeps(answer):
                limited[work] = answer
            else:
                work.settle(answer)
        for work, failure in current.defects:
            self.counts["defects"] += 1
            work.settle(failure)
        return limited

    async def _replay_known(self, works: list[Work]) -> list[Work]:
        """Answer those whose keys stand for an outcome already; gives the others."""
        known = await self._log.outcomes([work.origin.key for work in works])
        others = []
        for work in works:
            value = known.get(work.origin.key)
            if value is None or (work.keyed is Keyed.SETTLES and outcomes.recall(value).open):
                others.append(work)
            else:
                await self._replay(work, outcomes.recall(value))
        return others

    async def _resolve(self, conflict: Conflict, works: list[Work]) -> list[Work]:
        """Somebody else was first: forget what is stale, answer repeated requests, and hand back the rest."""
        self.counts["conflicts"] += len(conflict.stale) + len(conflict.attempts)
        for entity in (*conflict.stale, *(f"c:{code}" for code in conflict.attempts)):
            self._residents.drop(entity)
        rest = []
        for work in works:
            value = conflict.seen.get(work.origin.key) if work.origin.key else None
            if value is None or work.keyed is Keyed.SETTLES:
                rest.append(work)
            else:
                await self._replay(work, outcomes.recall(value))
        return rest

    async def _replay(self, work: Work, stored: outcomes.Stored) -> None:
        """Answer a repeated request as the first one was answered."""
        self.counts["replayed"] += 1
        if (other := outcomes.other_request(stored, work.entity, work.command, work.origin)) is not None:
            work.settle(other)
        elif stored.answer is not None:
            work.settle(outcomes.again(stored.answer))
        elif stored.pending:
            work.settle(Answer(replayed=True))  # a sale that was begun: whoever asked goes on with it
        else:
            work.settle(await self._from_history(work, stored.version))

    async def _from_history(self, work: Work, version: int) -> Answer | OutcomeUnknownError:
        """The answer that the record of this version gave."""
        records = await self._log.history(work.entity, version - 1, 1)
        await self._load([work])
        resident = self._residents.get(work.entity)
        if not records or resident is None or not isinstance(resident.state, Certificate):
            _logger.critical("%s: the record of version %d is not there", work.entity, version)
            return OutcomeUnknownError("The first outcome cannot be read; operators have to look at it.")
        return outcomes.again(outcomes.from_record(resident.state, codec.decode(records[0])))

    async def _load(self, works: list[Work]) -> list[Work]:
        """Read what is not in memory; gives the works whose entity could be read, and answers the others."""
        missing = list(dict.fromkeys(work.entity for work in works if work.entity not in self._residents))
        if not missing:
            return works
        self.counts["loaded"] += len(missing)
        damaged: dict[str, DamagedLogError] = {}
        try:
            for entity, loaded in zip(missing, await self._log.load(missing), strict=True):
                await self._admit(entity, loaded)
        except DamagedLogError:
            # one by one, so that the others do not suffer from it
            for entity in missing:
                try:
                    (loaded,) = await self._log.load([entity])
                    await self._admit(entity, loaded)
                except DamagedLogError as error:
                    _logger.critical("%s: %s", entity, error)
                    self.counts["damaged"] += 1
                    damaged[entity] = error
        for work in works:
            if work.entity in damaged:
                work.settle(OutcomeUnknownError("What is stored is damaged; operators have to look at it."))
        return [work for work in works if work.entity not in damaged]

    async def _admit(self, entity: str, loaded: Loaded) -> None:
        try:
            resident = restored(entity, loaded)
        except SnapshotUnreadableError:
            # another version of the program wrote it: the records tell everything
            (loaded,) = await self._log.load([entity], snapshots=False)
            resident = restored(entity, loaded)
        self._residents.put(entity, resident, self._clock())

    def _forget(self, works: Iterable[Work]) -> None:
        for work in works:
            self._residents.drop(work.entity)

    async def passivate(self) -> int:
        """Let go of entities that are cold or too many; gives how many, :data:`PASSIVATED_MAX` at most.

        Those with a long tail leave a snapshot.
        """
        before = self._clock() - int(self._settings.idle_seconds * 1_000)
        cold = self._residents.cold(self._settings.residents_max, before, self._at_work, PASSIVATED_MAX)
        changes = tuple(
            Change(entity, resident.position.version, snapshot=codec.snapshot(resident.state, resident.position))
            for entity, resident in cold
            if resident.unsaved >= self._settings.passivation_tail
        )
        # forgotten before the write: whatever comes of it, the log knows everything that memory does
        for entity, _ in cold:
            self._residents.drop(entity)
        self.counts["passivated"] += len(cold)
        if changes and await self._log.append(Batch(changes)) is not None:
            self.counts["conflicts"] += 1  # somebody moved on; the snapshot was only an economy
        return len(cold)

    def state_of(self, entity: str) -> Resident | None:
        """The entity as it is in memory, if it is."""
        return self._residents.get(entity)

    def selling(self, entity: str) -> bool:
        """Whether a sale of this certificate is under way here, which does the certificate's errands itself."""
        return entity in self._sales
