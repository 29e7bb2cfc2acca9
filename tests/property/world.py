"""The ledger without its processes: carries commands, errands and timers, in an order that the test decides.

What the shards do with tasks is here a list of :class:`Process`, each of which stands before its next command. The test
says which one goes on, which one loses its command or its reply, and which command is carried out once more, later.
"""

from collections.abc import Generator

import msgspec

from ledger import certificate, order
from ledger import commands as c
from ledger.answers import Answer
from ledger.certificate import Certificate
from ledger.commands import SYSTEM, AnyCommand, Origin
from ledger.errands import Errand, Grant, report
from ledger.identifiers import certificate_entity, entity_key, is_certificate, order_entity
from ledger.invariants import order_violations, violations
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY
from ledger.publications import Publication, publications, published
from ledger.records import Record

Request = tuple[str, AnyCommand, Origin]
Steps = Generator[Request, Answer, None]

CVC = b"the right CVC, hashed"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Process:
    """Steps that run one after the other, for ``entity``: each is a command, and what it answers goes into the next."""

    def __init__(self, entity: str, steps: Steps, *, sale: bool = False) -> None:
        self.entity = entity
        self.sale = sale
        self.pending: Request | None = next(steps, None)
        self._steps = steps

    def go_on(self, answer: Answer) -> bool:
        """Take the answer to the pending command, and come to the next one; gives whether there is one."""
        try:
            self.pending = self._steps.send(answer)
        except StopIteration:
            self.pending = None
        return self.pending is not None


class World:
    """Certificates and orders with their logs, their timers and all that is under way."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.states: dict[str, Certificate | Order] = {}
        self.histories: dict[str, list[Record]] = {}
        self.published: dict[str, list[Publication]] = {}
        self.timers: dict[str, int] = {}
        self.processes: list[Process] = []
        self.sold: list[tuple[str, str, str, Answer]] = []

    # --- entities ----------------------------------------------------------------------------------------------------

    def certificate(self, code: str) -> Certificate:
        """The certificate as its records say."""
        state = self.states.get(certificate_entity(code), Certificate(code=code))
        assert isinstance(state, Certificate)
        return state

    def order(self, order_id: str) -> Order:
        """The order as its records say."""
        state = self.states.get(order_entity(order_id), Order(order_id=order_id))
        assert isinstance(state, Order)
        return state

    def tell(self, entity: str, command: AnyCommand, origin: Origin = SYSTEM) -> Answer:
        """Carry out one command as a shard would, and look whether everything still holds."""
        if is_certificate(entity):
            answer, records = self._tell_certificate(entity_key(entity), command, origin)
        else:
            answer, records = self._tell_order(entity_key(entity), command, origin)
        history = self.histories.setdefault(entity, [])
        history.extend(_decoder.decode(_encoder.encode(record)) for record in records)
        self._set_timer(entity, rang=isinstance(command, c.Tick))
        assert self.wrong(entity) == []
        if records or isinstance(command, c.Tick):
            self.look_at(entity)
        return answer

    def _tell_certificate(self, code: str, command: AnyCommand, origin: Origin) -> tuple[Answer, tuple[Record, ...]]:
        before = self.certificate(code)
        if isinstance(command, c.Activate):
            command = msgspec.structs.replace(command, cvc=c.IssuedCvc(CVC))
        decision = certificate.decide(before, command, origin, self.now)  # type: ignore[arg-type]
        if decision.refused is not None:
            assert not decision.records
            grant = certificate.issued(before, command)
            return Answer(refused=decision.refused, version=before.version, grant=grant), ()
        state = before
        for record in decision.records:
            state = certificate.evolve(state, record)
        assert state == decision.state
        self.states[certificate_entity(code)] = state
        self.published.setdefault(code, []).extend(published(before, decision))
        grant = certificate.issued(state, command)
        return Answer(created=bool(decision.records), version=state.version, grant=grant), decision.records

    def _tell_order(self, order_id: str, command: AnyCommand, origin: Origin) -> tuple[Answer, tuple[Record, ...]]:
        before = self.order(order_id)
        decision = order.decide(before, command, origin, self.now)  # type: ignore[arg-type]
        if decision.refused is not None:
            assert not decision.records
            return Answer(refused=decision.refused, version=before.version), ()
        state = before
        for record in decision.records:
            state = order.evolve(state, record)
        assert state == decision.state
        self.states[order_entity(order_id)] = state
        grant = None
        if isinstance(command, c.Allocate):
            grant = order.grant(state, command.line_id)
        elif isinstance(command, c.LapseAllocation):
            grant = order.grant(state, command.line_id, retained=order.retained(state, command))
        return Answer(created=bool(decision.records), version=state.version, grant=grant), decision.records

    def wrong(self, entity: str) -> list[str]:
        """What an auditor would say of an entity."""
        state = self.states.get(entity)
        history = self.histories.get(entity, [])
        if isinstance(state, Certificate):
            return violations(state, history)
        return [] if state is None else order_violations(state, history)

    def replayed(self, entity: str) -> Certificate | Order:
        """The entity made anew from its records."""
        if is_certificate(entity):
            held = Certificate(code=entity_key(entity))
            for record in self.histories[entity]:
                held = certificate.evolve(held, record)
            return held
        state = Order(order_id=entity_key(entity))
        for record in self.histories[entity]:
            state = order.evolve(state, record)
        return state

    def republished(self, code: str) -> list[Publication]:
        """What is published of a certificate, made anew from its records."""
        state = Certificate(code=code)
        events: list[Publication] = []
        for record in self.histories.get(certificate_entity(code), []):
            state = certificate.evolve(state, record)
            events.extend(publications(state, record))
        return events

    # --- what is under way -------------------------------------------------------------------------------------------

    def sell(self, code: str, order_id: str, line_id: str, origin: Origin) -> None:
        """Begin a sale."""
        entity = certificate_entity(code)
        self.processes.append(Process(entity, self._sale(code, order_id, line_id, origin), sale=True))

    def look_at(self, entity: str) -> None:
        """Begin what the entity owes, unless that is under way already."""
        if any(process.entity == entity for process in self.processes):
            return
        self.processes.extend(Process(entity, _errand(entity, errand)) for errand in self.owed(entity))

    def owed(self, entity: str) -> tuple[Errand, ...]:
        """What the entity has to see to."""
        state = self.states.get(entity)
        if isinstance(state, Certificate):
            return certificate.errands(state, self.now)
        return () if state is None else order.errands(state, self.now)

    def go_on(self, process: Process) -> None:
        """Carry out the pending command of a process, and give it the answer."""
        assert process.pending is not None
        entity, command, origin = process.pending
        if not process.go_on(self.tell(entity, command, origin)):
            self.processes.remove(process)
            self.look_at(process.entity)

    def ring(self) -> bool:
        """Wake everything whose timer is due; gives whether anything was."""
        due = [entity for entity, at in self.timers.items() if at <= self.now]
        for entity in due:
            self.tell(entity, c.Tick())
        return bool(due)

    def rest(self) -> None:
        """Let everything come to its end, without the clock going further than retries need."""
        for _ in range(200):
            while self.processes:
                self.go_on(self.processes[0])
            soon = self.now + DEFAULT_POLICY.errand_retry_ms
            if not self.ring() and not any(at <= soon for at in self.timers.values()):
                return
            self.now = soon
        raise AssertionError(f"no rest: {self.timers} at {self.now}")

    def _set_timer(self, entity: str, *, rang: bool) -> None:
        state = self.states.get(entity)
        if state is None:
            self.timers.pop(entity, None)
            return
        due = (
            certificate.next_due(state, DEFAULT_POLICY)
            if isinstance(state, Certificate)
            else order.next_due(state, DEFAULT_POLICY)
        )
        known = self.timers.get(entity)
        if rang:
            self.timers.pop(entity, None)
            if due is not None:
                self.timers[entity] = max(due, self.now + DEFAULT_POLICY.errand_retry_ms)
        elif due is not None and (known is None or due < known):
            self.timers[entity] = due

    def _sale(self, code: str, order_id: str, line_id: str, origin: Origin) -> Steps:
        own, theirs = certificate_entity(code), order_entity(order_id)
        probe = yield theirs, c.Allocate(line_id, code, probe=True), SYSTEM
        if probe.refused is not None:
            asked = yield own, c.Reserve(order_id, line_id, probe=True), origin
            self.sold.append((code, order_id, line_id, probe if asked.refused is None else asked))
            return
        reserved = yield own, c.Reserve(order_id, line_id), origin
        if reserved.refused is not None:
            self.sold.append((code, order_id, line_id, reserved))
            return
        granted = yield theirs, c.Allocate(line_id, code), SYSTEM
        grant = granted.grant or Grant()
        refusal = None if granted.refused is None else granted.refused.code.value
        told = c.Report("allocate", line_id, code, refusal, grant.planned, grant.currency, order_id=order_id)
        answer = yield own, told, origin
        if granted.refused is None and grant.activate is not None:
            answer = yield own, grant.activate, origin
        self.sold.append((code, order_id, line_id, answer if granted.refused is None else granted))


def _errand(entity: str, errand: Errand) -> Steps:
    answer = yield errand.target, errand.command, SYSTEM
    refusal = None if answer.refused is None else answer.refused.code.value
    yield entity, report(errand, refusal, answer.grant), SYSTEM
