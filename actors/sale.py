"""The sale of a certificate: the code is reserved, its order puts it on the line, and if that is paid it is issued.

Two entities take part, each with its own log, so a sale is a sequence of steps of which each is durable by itself. A
crash
between any two is made good: what is missing is an errand of the certificate or of its order (:mod:`ledger.errands`),
and a durable timer sees to it.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.errors import OutcomeUnknownError
from actors.ports import Ledger
from actors.work import Keyed
from ledger.answers import Answer
from ledger.commands import SYSTEM, Activate, Allocate, Origin, Report, Reserve, Sell
from ledger.errands import Grant
from ledger.identifiers import entity_key, order_entity

if TYPE_CHECKING:
    from actors.shard import Shard


class Sale:
    """One sale, run by the shard that owns the certificate.

    The idempotency key is stored with the reservation, its outcome with the last step. A repeated request that finds
    the key without an outcome goes through the same steps, which change nothing a second time.
    """

    def __init__(self, shard: "Shard", ledger: Ledger, entity: str, command: Sell, origin: Origin) -> None:
        self._shard = shard
        self._ledger = ledger
        self._entity = entity
        self._command = command
        self._origin = origin
        self._unkeyed = replace(origin, key=b"")
        self._code = entity_key(entity)
        self._order = order_entity(command.order_id)
        self._reserve = Reserve(command.order_id, command.line_id)

    async def run(self) -> Answer:
        """Sell; gives the reservation or a refusal.

        Raises:
            ActorError: a step got no outcome; what was begun is finished by the errands.
        """
        probe = await self._ask_order(probe=True)
        if probe.refused is not None:
            return await self._refuse(probe)
        reserved = await self._shard.step(self._entity, self._reserve, self._origin, Keyed.PENDING)
        begun_before = reserved.replayed and not reserved.body and reserved.refused is None
        if begun_before:
            reserved = await self._shard.step(self._entity, self._reserve, self._unkeyed)
            if reserved.refused is not None:
                return await self._settle(self._reserve, replace(reserved, replayed=True))
        elif reserved.refused is not None or reserved.replayed:
            return reserved
        answer = await self._join(created=reserved.created or begun_before)
        return replace(answer, replayed=begun_before)

    async def _refuse(self, probe: Answer) -> Answer:
        """The order says no; but that the code is sold already comes before that."""
        refused = Answer(refused=probe.refused)
        asked = replace(self._reserve, probe=True)
        return await self._shard.step(
            self._entity, asked, self._origin, shape=lambda own: refused if own.refused is None else own
        )

    async def _join(self, *, created: bool) -> Answer:
        """Have the order put the code on its line; tell the certificate what came of it; issue it if it is paid."""
        granted = await self._ask_order(probe=False)
        grant = granted.grant or Grant()
        report = Report(
            errand="allocate",
            line_id=self._command.line_id,
            code=self._code,
            refusal=None if granted.refused is None else granted.refused.code.value,
            planned=grant.planned,
            currency=grant.currency,
            order_id=self._command.order_id,
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
        """The last step, which stores the outcome: ``answer``, or the reservation as the step leaves it."""

        def shape(own: Answer) -> Answer:
            return answer if answer is not None else replace(own, created=created)

        settled = await self._shard.step(self._entity, command, self._origin, Keyed.SETTLES, shape)
        if settled.refused is None and not settled.body:
            raise OutcomeUnknownError("The reservation ended while it was being made; ask again.")
        return settled

    async def _ask_order(self, *, probe: bool) -> Answer:
        return await self._ledger.ask(self._order, Allocate(self._command.line_id, self._code, probe), SYSTEM)
