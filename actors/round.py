"""One round of a shard: what has gathered is decided in order, and becomes one batch for the log.

Nothing of it counts before the log has answered: states, answers and records stand in drafts, and a round that
failed is thrown away.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from actors import outcomes
from actors.errors import OutcomeUnknownError, PepperMissingError
from actors.issuer import Issuer
from actors.residents import Resident, Residents, State
from actors.work import Keyed, Work
from ledger import certificate, order, views
from ledger import commands as c
from ledger.answers import Answer
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate import Certificate
from ledger.commands import SYSTEM
from ledger.decision import Decision
from ledger.identifiers import MESSAGE, identifier
from ledger.order import Order
from ledger.order.state import LineStatus
from ledger.policy import Policy
from ledger.publications import published
from ledger.refusals import Refusal, Refused
from persistence import codec, envelope
from persistence.codec import Position
from persistence.log import AttemptsChange, Batch, Change, DataKey, KeyName, Outcome, QueuedMessage

ATTEMPTS_TTL_MS: Final = 24 * 3_600_000
"""Wrong CVCs are forgotten a day after the last one."""

SNAPSHOT_ITEMS_MAX: Final = 4
"""Most holds and captures that snapshots write again for each record. So one comes whenever a history has grown by a
third, and however long it is, waking the certificate never replays more than that."""
CLOCKS_APART_MS: Final = 60_000
"""How far the clocks of two machines may be apart before a timer that one of them has set is lost to the other."""

_log = logging.getLogger(__name__)
_attempts_encoder: Final = msgspec.msgpack.Encoder()
_POINTED: Final = (c.Authorize, c.Capture, c.Void)
_READS: Final = (c.Look, c.Inquire)
_TRIES: Final = (c.Authorize, c.Inquire)


class _KeyWantedError(Exception):
    """What is kept under the name of a recipient's data key has to be read first."""


class Draft:
    """An entity as it will be if the log takes the round."""

    __slots__ = ("attempts", "position", "records", "resident", "state", "ticked")

    def __init__(self, resident: Resident) -> None:
        self.resident = resident
        self.state: State = resident.state
        self.position = resident.position
        self.attempts = resident.attempts
        self.records: list[bytes] = []
        self.ticked = False

    @property
    def mark(self) -> "Mark":
        """Where the draft is now."""
        return self.state, self.position, self.attempts, len(self.records), self.ticked

    def back_to(self, mark: "Mark") -> None:
        """Undo what was done since."""
        self.state, self.position, self.attempts, count, self.ticked = mark
        del self.records[count:]


Mark = tuple[State, Position, Attempts, int, bool]
"""Where a draft was before a command: state, position, attempts, number of records, whether it was ticked."""


class Round:
    """Decides work on drafts.

    ``answers`` pairs each work that was decided with its answer, to be let out once :attr:`batch` is durable; or with
    why its CVC could not be checked. ``keys`` holds what was read of recipients' data keys; :attr:`wanted` names those
    that were not, and are needed.
    """

    def __init__(
        self,
        residents: Residents,
        issuer: Issuer,
        policy: Policy,
        now: int,
        snapshot_every: int,
        keys: Mapping[KeyName, bytes | None],
    ) -> None:
        self.wanted: dict[KeyName, None] = {}
        self._keys = keys
        self._data_keys: list[DataKey] = []
        self.answers: list[tuple[Work, Answer | PepperMissingError]] = []
        self.defects: list[tuple[Work, OutcomeUnknownError]] = []
        self.drafts: dict[str, Draft] = {}
        self.counts: Counter[str] = Counter()
        """What a round that was committed brought about, for operators."""
        self._residents = residents
        self._issuer = issuer
        self._policy = policy
        self._now = now
        self._snapshot_every = snapshot_every
        self._outbox: list[tuple[str, bytes]] = []
        self._outcomes: dict[bytes, Outcome] = {}
        self._messages: list[QueuedMessage] = []

    def take(self, work: Work) -> bool:
        """Decide one command; its entity is resident.

        Returns:
            False if it has to wait for the next round: another command of this one has the same idempotency key, or
            a data key has to be read before.
        """
        key = work.origin.key
        if key and key in self._outcomes:
            return False
        draft = self.drafts.get(work.entity)
        if draft is None:
            draft = self.drafts[work.entity] = Draft(self._residents[work.entity])
        mark, published, sent, kept = draft.mark, len(self._outbox), len(self._messages), len(self._data_keys)
        try:
            answer, pointer = self._answer(draft, work)
            answer = work.shape(answer)
            if key and outcomes.keeps(answer):
                self._outcomes[key] = _outcome(work, answer, pointer)
        except _KeyWantedError:
            draft.back_to(mark)
            return False
        except PepperMissingError as error:
            draft.back_to(mark)
            self.counts["pepperMissing"] += 1
            self.answers.append((work, error))
            return True
        except Exception:  # noqa: BLE001 - logged with its traceback, counted, answered
            # a defect of ours must neither take the other commands of the round with it nor be done by half
            _log.exception("%s on %s failed", type(work.command).__name__, work.entity)
            draft.back_to(mark)
            del self._outbox[published:], self._messages[sent:], self._data_keys[kept:]
            self.defects.append((work, OutcomeUnknownError("The command failed; it was recorded for the operators.")))
            return True
        self.answers.append((work, answer))
        return True

    def batch(self) -> Batch:
        """All that the round writes."""
        changes = []
        attempts = []
        for entity, draft in self.drafts.items():
            resident = draft.resident
            changes.append(
                Change(
                    entity,
                    resident.position.version,
                    tuple(draft.records),
                    self._timer(draft),
                    self._snapshot(draft),
                )
            )
            if draft.attempts != resident.attempts:
                after = None if draft.attempts == NO_ATTEMPTS else _attempts_encoder.encode(draft.attempts)
                code = entity[2:]
                attempts.append(AttemptsChange(code, resident.attempts_stored, after, ATTEMPTS_TTL_MS))
        return Batch(
            tuple(changes),
            tuple(self._outbox),
            tuple(self._outcomes.values()),
            tuple(attempts),
            tuple(self._messages),
            tuple(self._data_keys),
        )

    def commit(self, batch: Batch) -> list[str]:
        """Make the drafts what the residents are; gives the entities that changed."""
        changed = []
        for change in batch.changes:
            draft = self.drafts[change.entity]
            resident = draft.resident
            if draft.records or draft.ticked:
                changed.append(change.entity)
            if isinstance(resident.state, Order) and isinstance(draft.state, Order) and draft.records:
                before, after = _short(resident.state), _short(draft.state)
                self.counts["coverageShort"] += len(after - before)
                self.counts["coverageMended"] += len(before - after)
            resident.state = draft.state
            resident.position = draft.position
            resident.unsaved = 0 if change.snapshot is not None else resident.unsaved + len(draft.records)
            if change.due is not None:
                resident.due = change.due or None
            self._residents.touch(change.entity, self._now)
        for attempt in batch.attempts:
            resident = self.drafts[f"c:{attempt.code}"].resident
            resident.attempts = self.drafts[f"c:{attempt.code}"].attempts
            resident.attempts_stored = attempt.after
        return changed

    def _answer(self, draft: Draft, work: Work) -> tuple[Answer, int]:
        """The answer, and the version of the record that stands for it (0: none does)."""
        state = draft.state
        if isinstance(state, Order):
            return self._answer_order(draft, state, work), 0
        return self._answer_certificate(draft, state, work)

    def _answer_certificate(self, draft: Draft, state: Certificate, work: Work) -> tuple[Answer, int]:
        command = work.command
        if isinstance(command, _TRIES) and command.cvc is not None:
            self._issuer.require_pepper(command.cvc, state.cvc)
        if isinstance(command, _READS) and certificate.due(state, self._now):
            # what is told must not depend on whether the timer has come round yet
            state = self._record(draft, state, certificate.decide(state, c.Tick(), SYSTEM, self._now, self._policy))
        if isinstance(command, c.Activate) and command.cvc is None:
            issued = self._issue(state.code, command.recipient, command.order_id, command.line_id)
            command = msgspec.structs.replace(command, cvc=issued)
        elif isinstance(command, c.ReissueCvc) and state.recipient is not None:
            issued = self._issue(state.code, state.recipient, state.order_id or "", state.line_id or "")
            # a CVC that reaches nobody would only lock its owner out
            command = c.ReissueCvc(None if issued.message is None else issued)
        elif isinstance(command, c.Tick):
            draft.ticked = True
        decision = certificate.decide(state, command, work.origin, self._now, self._policy, draft.attempts)  # type: ignore[arg-type]
        if decision.attempts is not None:
            draft.attempts = decision.attempts
        if decision.refused is not None:
            grant = certificate.issued(state, command)
            return Answer(refused=decision.refused, version=state.version, grant=grant), 0
        state = self._record(draft, state, decision)
        if isinstance(command, _POINTED):
            return outcomes.from_record(state, decision.outcome), decision.outcome.version
        return _told(command, state, created=bool(decision.records)), 0

    def _issue(self, code: str, recipient: bytes | None, order_id: str, line_id: str) -> c.IssuedCvc:
        if recipient is None:
            return self._issuer.issue(code, None, None, None)
        key = envelope.key_of(recipient) or envelope.key_name(order_id, envelope.DIRECT, line_id)
        if key not in self._keys:
            self.wanted[key] = None
            raise _KeyWantedError
        return self._issuer.issue(code, recipient, key, self._keys[key])

    def _answer_order(self, draft: Draft, state: Order, work: Work) -> Answer:
        command = work.command
        if isinstance(command, c.Tick):
            draft.ticked = True
        decision = order.decide(state, command, work.origin, self._now, self._policy)  # type: ignore[arg-type]
        if decision.refused is not None:
            return Answer(refused=decision.refused, version=state.version)
        draft.state = state = decision.state
        self._encode(draft, decision)
        for key in decision.keys:
            name = envelope.key_name(state.order_id, state.order_version, key.line_id)
            self._data_keys.append(DataKey(*name, key.sealed))
        body = views.encode(views.order(state)) if isinstance(command, c.Look) and views.exists(state) else b""
        grant = None
        if isinstance(command, c.Allocate):
            grant = order.grant(state, command.line_id)
        elif isinstance(command, c.LapseAllocation):
            grant = order.grant(state, command.line_id, retained=order.retained(state, command))
        refused = None
        if isinstance(command, c.Look) and not body:
            refused = Refused(Refusal.NOT_FOUND, "No order has this id.")
        return Answer(body=body, created=bool(decision.records), refused=refused, version=state.version, grant=grant)

    def _record(self, draft: Draft, state: Certificate, decision: Decision[Certificate]) -> Certificate:
        """Take the records of a decision into the draft, with what is published and sent because of them."""
        if not decision.records:
            return state
        after = decision.state
        draft.state = after
        entity = self._encode(draft, decision)
        self._outbox.extend((entity, codec.encode_publication(event)) for event in published(state, decision))
        if decision.message is not None:
            message_id = identifier(MESSAGE, after.code, after.version)
            self._messages.append(QueuedMessage(message_id, entity, decision.message, self._now, self._now))
        return after

    def _encode(self, draft: Draft, decision: Decision[Certificate] | Decision[Order]) -> str:
        for record in decision.records:
            stored, draft.position = codec.encode(draft.position, record)
            draft.records.append(stored)
        state = decision.state
        return f"c:{state.code}" if isinstance(state, Certificate) else f"o:{state.order_id}"

    def _timer(self, draft: Draft) -> int | None:
        """When the entity has to be woken: written if it is sooner than what was set, or if the timer has just rung."""
        if not draft.ticked and not draft.records:
            return None
        state = draft.state
        due = (
            certificate.next_due(state, self._policy)
            if isinstance(state, Certificate)
            else order.next_due(state, self._policy)
        )
        if draft.ticked:
            return 0 if due is None else max(due, self._now + self._policy.errand_retry_ms)
        known = draft.resident.due
        if known is not None and known <= self._now + CLOCKS_APART_MS:
            known = None  # it may have rung, and another writer may have dealt with it: that changes no version
        return due if due is not None and (known is None or due < known) else None

    def _snapshot(self, draft: Draft) -> bytes | None:
        unsaved = draft.resident.unsaved + len(draft.records)
        if not draft.records or unsaved < self._snapshot_every:
            return None
        state = draft.state
        # a snapshot of a long-lived certificate is large: it is written the more seldom
        size = len(state.captures) + len(state.closed) + len(state.holds) if isinstance(state, Certificate) else 0
        return codec.snapshot(state, draft.position) if unsaved * SNAPSHOT_ITEMS_MAX >= size else None


def _short(state: Order) -> set[str]:
    """Lines of a settled order for which less was collected than planned."""
    if not state.settled:
        return set()
    named = {*state.lines, *state.allocations}
    return {line_id for line_id in named if state.line_status(line_id) is LineStatus.COVERAGE_SHORT}


def _outcome(work: Work, answer: Answer, pointer: int) -> Outcome:
    """What the work's idempotency key stands for from now on."""
    value = (
        outcomes.pending(work.origin)
        if work.keyed is Keyed.PENDING and answer.refused is None
        else outcomes.stored(work.origin, answer, pointer)
    )
    return Outcome(work.origin.key, value, first=work.keyed is not Keyed.SETTLES)


def _told(command: c.AnyCommand, state: Certificate, *, created: bool) -> Answer:
    """The answer to what is neither an authorization nor a capture nor a void."""
    match command:
        case c.Inquire():
            body = views.encode(views.balance(state))
        case c.Look() if not views.exists(state):
            refused = Refused(Refusal.CERTIFICATE_NOT_FOUND, "No certificate has this code.")
            return Answer(refused=refused, version=state.version)
        case c.Look() | c.Block() | c.Unblock() | c.ReissueCvc():
            return Answer(body=views.encode(views.certificate(state)), version=state.version)
        case c.Tick():
            body = b""
        case c.Report() if not state.sold_to(command.order_id, command.line_id, command.reservation):
            body = b""
        case _:
            body = views.encode(views.reservation(state))
    grant = certificate.issued(state, command)
    reservation = state.reservation if isinstance(command, c.Reserve) else c.ANY_RESERVATION
    return Answer(body=body, created=created, version=state.version, grant=grant, reservation=reservation)
