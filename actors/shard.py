"""The shard: one writer for many certificates and orders.

A plain class; the Ray actor around it is in :mod:`actors.ray_shell`. Commands gather in a mailbox. Each round takes
what is
there, reads what is not in memory, decides, appends everything at once, and lets the answers out when the log has them.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from actors import outcomes
from actors.errands import ErrandRunner
from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.issuer import Issuer
from actors.ports import Ledger
from actors.residents import Resident, Residents
from actors.round import Round, attempts_of
from actors.sale import Sale
from actors.settings import ActorSettings
from actors.work import Done, Keyed, Shape, Work, as_it_is
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.commands import AnyCommand, Origin, Sell
from ledger.identifiers import entity_key, is_certificate
from ledger.policy import Policy
from persistence import codec
from persistence.errors import DamagedLogError, SnapshotUnreadableError, StorageError, StorageRefusedError
from persistence.log import Batch, Change, Conflict, Loaded, Log

CONFLICTS_MAX: Final = 8
"""Rounds in which the same command may meet another writer before the caller is sent away."""
SALES_MAX: Final = 512
"""Sales under way at once."""

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
    ) -> None:
        self.name: Final = name
        self.counts: Counter[str] = Counter()
        self._log = log
        self._issuer = issuer
        self._clock = clock
        self._policy = policy
        self._settings = settings
        self._residents = Residents()
        self._mailbox: deque[Work] = deque()
        self._filled = asyncio.Event()
        self._sales: dict[asyncio.Task[None], str] = {}
        self._errands = ErrandRunner(self, ledger, clock)
        self._ledger = ledger
        self._closed = False

    # --- what callers see --------------------------------------------------------------------------------------------

    def submit(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        """Put a command into the mailbox; ``done`` is called once with its outcome."""
        if self._closed or len(self._mailbox) >= self._settings.mailbox_max:
            self.counts["overloaded"] += 1
            done(OverloadedError("The shard is stopping." if self._closed else "The shard's mailbox is full."))
            return
        self.counts["commands"] += 1
        if isinstance(command, Sell):
            self._sell(entity, command, origin, done)
            return
        self._mailbox.append(Work(entity, command, origin, done))
        self._filled.set()

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
        """One step of something larger: the caller says what becomes of the idempotency key and of the answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | ActorError) -> None:
            if future.done():
                return
            if isinstance(outcome, ActorError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self._mailbox.append(Work(entity, command, origin, done, keyed, shape))
        self._filled.set()
        return await future

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
        """When the last command came (milliseconds); now if there is work."""
        if self._mailbox or self._sales:
            return self._clock()
        return self.counts["touched"]

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled. A round that fails answers its commands; the loop goes on."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._mailbox:
                count = min(len(self._mailbox), self._settings.batch_max)
                await self.round([self._mailbox.popleft() for _ in range(count)])

    async def close(self) -> None:
        """Take no more commands, let those that are there finish, save what is worth it."""
        self._closed = True
        for task in [*self._sales, *self._errands.tasks]:
            task.cancel()
        await asyncio.gather(*self._sales, *self._errands.tasks, return_exceptions=True)
        while self._mailbox:
            await self.round([self._mailbox.popleft() for _ in range(len(self._mailbox))])

    async def round(self, works: list[Work]) -> None:
        """Carry out ``works``, whatever happens to each."""
        self.counts["rounds"] += 1
        self.counts["touched"] = self._clock()
        for _ in range(CONFLICTS_MAX):
            try:
                works = await self._attempt(works)
            except StorageRefusedError as refused:
                self.counts["storage_refused"] += 1
                _fail(works, OutcomeUnknownError(f"The log refuses to write: {refused}"))
                return
            except StorageError as error:
                # written or not: what is in memory proves nothing any more
                self.counts["storage_lost"] += 1
                self._forget(works)
                _fail(works, OutcomeUnknownError(f"The log did not answer: {error}"))
                return
            except BaseException:
                self._forget(works)
                _fail(works, OutcomeUnknownError("The shard failed; the outcome is unknown."))
                raise
            if not works:
                return
        _fail(works, OverloadedError("Other writers were always faster; nothing happened."))

    async def _attempt(self, works: list[Work]) -> list[Work]:
        """Try one append with everything; gives the works that have to be tried again."""
        works = await self._load(works)
        now = self._clock()
        current = Round(self._residents, self._issuer, self._policy, now, self._settings.snapshot_every)
        later = [work for work in works if not current.take(work)]
        if current.drafts:
            batch = current.batch()
            conflict = await self._log.append(batch)
            if conflict is not None:
                return await self._resolve(conflict, works)
            for entity in current.commit(batch):
                self._errands.look_at(entity)
        for work, answer in current.answers:
            work.done(answer)
        for work, failure in current.defects:
            self.counts["defects"] += 1
            work.done(failure)
        return later

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
        if stored.fingerprint != work.origin.fingerprint:
            work.done(outcomes.REUSED)
        elif stored.answer is not None:
            work.done(outcomes.again(stored.answer))
        elif stored.pending:
            work.done(Answer(replayed=True))  # a sale that was begun: whoever asked goes on with it
        else:
            records = await self._log.history(work.entity, stored.version - 1, 1)
            if work.entity not in self._residents:
                await self._load([work])
            resident = self._residents.get(work.entity)
            if resident is None or not isinstance(resident.state, Certificate):
                return  # loading has answered it
            work.done(outcomes.again(outcomes.from_record(resident.state, codec.decode(records[0]))))

    # --- memory ------------------------------------------------------------------------------------------------------

    async def _load(self, works: list[Work]) -> list[Work]:
        """Read what is not in memory; gives the works whose entity could be read."""
        missing = list(dict.fromkeys(work.entity for work in works if work.entity not in self._residents))
        if not missing:
            return works
        self.counts["loaded"] += len(missing)
        damaged: dict[str, DamagedLogError] = {}
        for entity, loaded in zip(missing, await self._log.load(missing), strict=True):
            try:
                await self._admit(entity, loaded)
            except DamagedLogError as error:
                _logger.critical("%s: %s", entity, error)
                self.counts["damaged"] += 1
                damaged[entity] = error
        if not damaged:
            return works
        for work in works:
            if work.entity in damaged:
                work.done(OutcomeUnknownError("What is stored is damaged; operators have to look at it."))
        return [work for work in works if work.entity not in damaged]

    async def _admit(self, entity: str, loaded: Loaded) -> None:
        restore = codec.restore_certificate if is_certificate(entity) else codec.restore_order
        try:
            state, position = restore(entity_key(entity), loaded)
        except SnapshotUnreadableError:
            # another version of the program wrote it: the records tell everything
            (loaded,) = await self._log.load([entity], snapshots=False)
            state, position = restore(entity_key(entity), loaded)
        resident = Resident(state, position, len(loaded.tail))
        resident.attempts = attempts_of(loaded.attempts)
        resident.attempts_stored = loaded.attempts
        self._residents.put(entity, resident)

    def _forget(self, works: Iterable[Work]) -> None:
        for work in works:
            self._residents.drop(work.entity)

    async def passivate(self) -> int:
        """Let go of entities that are cold or too many; gives how many. Those with a long tail leave a snapshot."""
        before = self._clock() - int(self._settings.idle_seconds * 1_000)
        cold = list(self._residents.cold(self._settings.residents_max, before))
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

    # --- sales -------------------------------------------------------------------------------------------------------

    def _sell(self, entity: str, command: Sell, origin: Origin, done: Done) -> None:
        if len(self._sales) >= SALES_MAX:
            self.counts["overloaded"] += 1
            done(OverloadedError("Too many sales at once; nothing happened."))
            return
        task = asyncio.create_task(self._run_sale(entity, command, origin, done), name=f"sale {entity}")
        self._sales[task] = entity
        task.add_done_callback(self._sales.pop)

    async def _run_sale(self, entity: str, command: Sell, origin: Origin, done: Done) -> None:
        try:
            done(await Sale(self, self._ledger, entity, command, origin).run())
        except ActorError as error:
            done(error)
        except asyncio.CancelledError:
            done(OutcomeUnknownError("The shard stopped in the middle of the sale."))
            raise
        except Exception:
            _logger.exception("sale of %s failed", entity)
            self.counts["defects"] += 1
            done(OutcomeUnknownError("The sale failed; it was recorded for the operators."))

    def selling(self, entity: str) -> bool:
        """Whether a sale of this certificate is under way here, which does the certificate's errands itself."""
        return entity in self._sales.values()


def _fail(works: Sequence[Work], error: ActorError) -> None:
    for work in works:
        work.done(error)
