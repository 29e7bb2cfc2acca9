"""The sale of a certificate: the code is reserved, its order puts it on the line, and if that is paid it is issued.

Two entities take part, each with its own log, so a sale is a sequence of steps of which each is durable by itself. A
crash between any two is made good: what is missing is an errand of the certificate or of its order
(:mod:`ledger.errands`), and a durable timer sees to it.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.ports import Ledger
from actors.work import Done, Keyed
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.commands import ANY_RESERVATION, SYSTEM, Activate, Allocate, Origin, Report, Reserve, Sell
from ledger.errands import Grant
from ledger.identifiers import entity_key, order_entity
from persistence.codes import CodeStore
from persistence.errors import StorageError

if TYPE_CHECKING:
    from actors.shard import Shard

SALES_MAX: Final = 512
"""Sales under way at once in one shard."""

_logger = logging.getLogger(__name__)


class Sales:
    """The sales that are under way in a shard.

    Args:
        shard: owns the certificates.
        ledger: the way to their orders.
        seconds_max: how long one may take; its caller has given up by then.
        imported: the codes that may be sold, where only such may.
    """

    def __init__(self, shard: "Shard", ledger: Ledger, seconds_max: float, imported: CodeStore | None = None) -> None:
        self._shard = shard
        self._ledger = ledger
        self._seconds_max = seconds_max
        self._imported = imported
        self._tasks: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, entity: str) -> bool:
        return entity in self._tasks.values()

    def begin(self, entity: str, command: Sell, origin: Origin, done: Done) -> None:
        """Sell; ``done`` is called once with the outcome.

        Raises:
            OverloadedError: too many are under way; nothing happened.
        """
        if len(self._tasks) >= SALES_MAX:
            raise OverloadedError("Too many sales at once; nothing happened.")
        task = asyncio.create_task(self._run(entity, command, origin, done), name=f"sale {entity}")
        self._tasks[task] = entity
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Let those under way come to their end; if cancelled, cut them off."""
        tasks = list(self._tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _is_imported(self, entity: str) -> bool:
        """Whether the code is one of an imported batch; looked up only where that can decide.

        It cannot for a code that was issued: that one is never sold again. One that is only reserved may be free by the
        time its sale is decided.

        Raises:
            OutcomeUnknownError: the codes cannot be read.
        """
        resident = self._shard.state_of(entity)
        issued = resident is not None and isinstance(resident.state, Certificate) and bool(resident.state.activation)
        if self._imported is None or issued:
            return False
        try:
            return await self._imported.known(entity_key(entity))
        except StorageError as error:
            raise OutcomeUnknownError(f"Whether the code may be sold cannot be found out: {error}") from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        entity = self._tasks.pop(task)
        self._shard.look_at(entity)  # in case the sale was not brought to its end

    async def _run(self, entity: str, command: Sell, origin: Origin, done: Done) -> None:
        try:
            async with asyncio.timeout(self._seconds_max):
                imported = await self._is_imported(entity)
                answer = await Sale(self._shard, self._ledger, entity, command, origin, imported=imported).run()
        except ActorError as error:
            done(error)
        except TimeoutError:
            done(OutcomeUnknownError("The sale took too long; what was begun of it will be finished."))
        except asyncio.CancelledError:
            done(OutcomeUnknownError("The shard stopped in the middle of the sale."))
            raise
        except Exception:
            _logger.exception("sale of %s failed", entity)
            self._shard.counts["defects"] += 1
            done(OutcomeUnknownError("The sale failed; it was recorded for the operators."))
        else:
            done(answer)


class Sale:
    """One sale, run by the shard that owns the certificate.

    The idempotency key is stored with the reservation, its outcome with the last step. A repeated request that finds
    the key without an outcome goes through the same steps, which change nothing a second time.
    """

    def __init__(
        self, shard: "Shard", ledger: Ledger, entity: str, command: Sell, origin: Origin, *, imported: bool
    ) -> None:
        self._shard = shard
        self._ledger = ledger
        self._entity = entity
        self._command = command
        self._origin = origin
        self._unkeyed = replace(origin, key=b"")
        self._code = entity_key(entity)
        self._order = order_entity(command.order_id)
        self._reserve = Reserve(command.order_id, command.line_id, imported=imported)

    async def run(self) -> Answer:
        """Sell; gives the reservation or a refusal.

        Raises:
            OverloadedError: nothing happened.
            OutcomeUnknownError: a step got no outcome; what was begun is finished by the errands.
        """
        probe = await self._ask_order()
        if probe.refused is not None:
            return await self._refuse(probe)
        reserved = await self._shard.step(self._entity, self._reserve, self._origin, Keyed.PENDING)
        if not _begun(reserved) and (reserved.refused is not None or reserved.replayed):
            return reserved
        try:
            return await self._go_on(reserved)
        except OverloadedError as error:
            raise OutcomeUnknownError(f"The code is reserved, the sale is not finished: {error}") from error

    async def _go_on(self, reserved: Answer) -> Answer:
        """What follows once the code is reserved by this request, or by an earlier one with the same key."""
        begun_before = _begun(reserved)
        if begun_before:
            reserved = await self._shard.step(self._entity, self._reserve, self._unkeyed)
            if reserved.refused is not None:
                return await self._settle(self._reserve, replace(reserved, replayed=True))
        answer = await self._join(reserved.reservation, created=reserved.created or begun_before)
        return replace(answer, replayed=begun_before)

    async def _refuse(self, probe: Answer) -> Answer:
        """The order says no; but that the code is sold already comes before that."""
        refused = Answer(refused=probe.refused)
        asked = replace(self._reserve, probe=True)

        def shape(own: Answer) -> Answer:
            return refused if own.refused is None else own

        answer = await self._shard.step(self._entity, asked, self._origin, shape=shape)
        if not _begun(answer):
            return answer
        # an earlier request with this key was cut off after the reservation, and the order has changed its mind since
        settled = await self._shard.step(self._entity, asked, self._origin, Keyed.SETTLES, shape)
        return replace(settled, replayed=True)

    async def _join(self, reservation: int, *, created: bool) -> Answer:
        """Have the order put the code on its line; tell the certificate what came of it; issue it if it is paid."""
        granted = await self._ask_order(reservation)
        grant = granted.grant or Grant()
        report = Report(
            errand="allocate",
            line_id=self._command.line_id,
            code=self._code,
            refusal=None if granted.refused is None else granted.refused.code.value,
            planned=grant.planned,
            currency=grant.currency,
            order_id=self._command.order_id,
            reservation=reservation,
        )
        if granted.refused is not None:
            return await self._settle(report, Answer(refused=granted.refused))
        if grant.activate is None:
            return await self._settle(report, created=created)
        await self._shard.step(self._entity, report, self._unkeyed)
        return await self._settle(grant.activate, created=created)

    async def _settle(
        self, command: Report | Reserve | Activate, answer: Answer | None = None, *, created: bool = False
    ) -> Answer:
        """The last step, which stores the outcome: ``answer``, or the reservation as the step leaves it.

        If the key has an outcome by now, that is given instead. There is none if the order has taken the code back
        since it was asked: the sale stays open under its key, and whoever asks again is told what the order says now.
        """

        def shape(own: Answer) -> Answer:
            if answer is not None:
                return answer
            if isinstance(command, Activate) and own.refused is not None:
                return Answer(version=own.version)
            return replace(own, created=created)

        settled = await self._shard.step(self._entity, command, self._origin, Keyed.SETTLES, shape)
        if settled.refused is None and not settled.body:
            raise OutcomeUnknownError("The reservation ended while it was being made; ask again.")
        if settled.replayed and not isinstance(command, Reserve):
            # the same request, made at the same time, was faster: its outcome stands, and so does what we have learnt
            await self._shard.step(self._entity, command, self._unkeyed)
        return settled

    async def _ask_order(self, reservation: int | None = None) -> Answer:
        """Have the order put the code on the line; without a reservation, only ask whether it would."""
        allocate = Allocate(self._command.line_id, self._code, reservation is None, reservation or ANY_RESERVATION)
        return await self._ledger.ask(self._order, allocate, SYSTEM)


def _begun(answer: Answer) -> bool:
    """Whether this is what a key is answered with whose sale was begun, and has no outcome yet."""
    return answer.replayed and not answer.body and answer.refused is None
