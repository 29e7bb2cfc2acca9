"""Orders, payments, sales and redemptions together, with messages lost, repeated, late and out of order."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.certificate.decide import settled
from ledger.commands import (
    AnyCommand,
    Authorize,
    Capture,
    Origin,
    Place,
    PlannedLine,
    RecordPayment,
    Void,
)
from ledger.identifiers import AUTHORIZATION, OPERATION, certificate_entity, identifier, order_entity
from ledger.money import DAY_MS
from ledger.policy import DEFAULT_POLICY
from ledger.postings import Account, postings
from ledger.records import Activated, Status
from tests.property.plain import YEAR_MS, PlainCertificate
from tests.property.world import Process, Request, World

ON_ITS_WAY_MS_MAX = 60_000
CODES = ("GC-0000-A", "GC-0000-B", "GC-0000-C")
ORDERS = ("SO-1", "SO-2")
LINES = ("1", "2")
SHOP = Origin("shop", "OnlineStore", own_only=True)
TILL = Origin("till", "Pos", own_only=True)
SUPPORT = Origin("support", overrides_block=True)

codes = st.sampled_from(CODES)
orders = st.sampled_from(ORDERS)
lines = st.sampled_from(LINES)
newer = st.sampled_from([1, 1, 1, 0, -1])
plans = st.fixed_dictionaries({"1": st.sampled_from([100, 100, 150])}, optional={"2": st.sampled_from([100, 200])})
sums = st.dictionaries(lines, st.sampled_from([0, 100, 200, 200]))


@dataclass
class PlainOrder:
    """What was published about an order, of which the highest version counts."""

    plan: tuple[int, bool, dict[str, int]] = (0, False, {})
    payment: tuple[int, bool, dict[str, int]] = (0, False, {})
    ever_paid: dict[str, int] = field(default_factory=dict)

    def place(self, version: int, cancelled: bool, plan: dict[str, int]) -> None:  # noqa: FBT001
        self.plan = max(self.plan, (version, cancelled, plan), key=lambda one: one[:2])
        self._note()

    def pay(self, version: int, settled: bool, collected: dict[str, int]) -> None:  # noqa: FBT001
        self.payment = max(self.payment, (version, settled, collected), key=lambda one: one[0])
        self._note()

    def owed(self) -> dict[str, int]:
        """The lines that are paid for, with what is to be issued on them."""
        _, cancelled, plan = self.plan
        _, settled, collected = self.payment
        if cancelled or not settled:
            return {}
        return {line: planned for line, planned in plan.items() if collected.get(line, 0) >= planned}

    def _note(self) -> None:
        for line, planned in self.owed().items():
            self.ever_paid[line] = max(self.ever_paid.get(line, 0), planned)


class Trade(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.plain_orders = {name: PlainOrder() for name in ORDERS}
        self.plain: dict[str, PlainCertificate] = {}
        self.seen: list[tuple[str, AnyCommand]] = []
        self.late: list[Request] = []
        self.names: dict[str, list[str]] = {code: [] for code in CODES}

    # --- what comes from outside -------------------------------------------------------------------------------------

    @initialize(plan=st.none() | plans, settled=st.booleans())
    def begin(self, plan: dict[str, int] | None, settled: bool) -> None:  # noqa: FBT001
        if plan is None:
            return
        self.publish_order("SO-1", 1, cancelled=False, plan=plan)
        for code, line in zip(CODES, plan, strict=False):
            self.sell(code, "SO-1", line)
        if settled:
            self.pay_in_full("SO-1")

    @rule(name=orders, step=newer, cancelled=st.sampled_from([False] * 7 + [True]), plan=plans)
    def publish_order(self, name: str, step: int, cancelled: bool, plan: dict[str, int]) -> None:  # noqa: FBT001
        before = self.plain_orders[name].plan
        version = max(1, before[0] + step)
        if before[:2] == (version, cancelled):
            plan = before[2]  # one version says one thing
        self.plain_orders[name].place(version, cancelled, plan)

        self.event(
            name,
            Place(version, cancelled, "OnlineStore", "RUB", tuple(PlannedLine(*line) for line in sorted(plan.items()))),
        )

    @rule(name=orders, step=newer, settled=st.booleans(), outstanding=st.sampled_from([0, 0, 1]), collected=sums)
    def publish_payment(
        self,
        name: str,
        step: int,
        settled: bool,  # noqa: FBT001
        outstanding: int,
        collected: dict[str, int],
    ) -> None:
        before = self.plain_orders[name].payment
        version = max(1, before[0] + step)
        if before[0] < version:
            self.plain_orders[name].pay(version, settled and outstanding == 0, collected)

        self.event(name, RecordPayment(version, "RUB", sum(collected.values()), outstanding, settled, collected))

    @rule(name=orders)
    def pay_in_full(self, name: str) -> None:
        self.publish_payment(name, 1, settled=True, outstanding=0, collected=self.plain_orders[name].plan[2])

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        entity, command = data.draw(st.sampled_from(self.seen))
        before = self.world.states[entity]

        self.world.tell(entity, command)

        assert self.world.states[entity] == before

    @rule(code=codes, name=orders, line=lines)
    def sell(self, code: str, name: str, line: str) -> None:
        self.world.sell(code, name, line, SHOP)

    # --- what happens on the way -------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), repeat=st.booleans())
    def go_on(self, data: st.DataObject, repeat: bool) -> None:  # noqa: FBT001
        process = self.pick(data)
        if repeat and process.pending is not None:
            self.late.append(process.pending)

        self.world.go_on(process)

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), carried_out=st.booleans())
    def die(self, data: st.DataObject, carried_out: bool) -> None:  # noqa: FBT001
        process = self.pick(data)
        self.world.processes.remove(process)
        if carried_out and process.pending is not None:
            self.world.tell(*process.pending)  # the reply is lost

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.late))
        self.late.remove(request)

        self.world.tell(*request)

    @rule()
    def finish_all(self) -> None:
        self.world.rest()

    @rule(delta=st.sampled_from([1, 2_000, 2_000, 60_000, 900_000, DAY_MS]))
    def wait(self, delta: int) -> None:
        if delta >= ON_ITS_WAY_MS_MAX:
            self.late.clear()  # nothing is on its way for as long as that
        self.world.now += delta
        self.world.ring()

    # --- redemption --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.plain)
    @rule(code=codes, amount=st.integers(1, 70))
    def authorize(self, code: str, amount: int) -> None:
        plain = self.current(code)

        answer = self.world.tell(certificate_entity(code), Authorize(amount, "RUB"), TILL)

        if plain is None:
            assert answer.refused is not None
            expected = "CertificateNotFound" if self.status(code) is Status.UNKNOWN else "CertificateNotActive"
            assert answer.refused.code == expected
            return
        done = plain.authorize(amount, "RUB", partial=False)
        assert (answer.refused.code if answer.refused else amount) == done
        if answer.refused is None:
            name = identifier(AUTHORIZATION, code, answer.version)
            plain.hold(name, TILL.client, amount, self.world.now + DEFAULT_POLICY.hold_ttl_ms)
            self.names[code].append(name)

    @precondition(lambda self: any(self.names.values()))
    @rule(code=codes, amount=st.none() | st.integers(1, 50), final=st.booleans(), data=st.data())
    def capture(self, code: str, amount: int | None, final: bool, data: st.DataObject) -> None:  # noqa: FBT001
        plain = self.current(code)
        if plain is None or not self.names[code]:
            return
        name = data.draw(st.sampled_from(self.names[code]))
        done = plain.capture(name, TILL.client, amount, final=final, own=True)

        answer = self.world.tell(certificate_entity(code), Capture(name, amount, final), TILL)

        assert (answer.refused.code.value if answer.refused else None) == (done if isinstance(done, str) else None)
        if answer.refused is None:
            operation = identifier(OPERATION, code, answer.version)
            plain.take(operation, TILL.client, int(done))
            self.names[code].append(operation)

    @precondition(lambda self: any(self.names.values()))
    @rule(code=codes, amount=st.none() | st.integers(1, 50), data=st.data())
    def void(self, code: str, amount: int | None, data: st.DataObject) -> None:
        plain = self.current(code)
        if plain is None:
            return
        name = data.draw(st.sampled_from(["activation", *self.names[code]]))
        state = self.world.certificate(code)
        operation = identifier(OPERATION, code, state.activation or 0) if name == "activation" else name
        done = plain.void(name, SUPPORT.client, amount, self.world.now, own=False, support=True)

        answer = self.world.tell(certificate_entity(code), Void(operation, amount), SUPPORT)

        assert (answer.refused.code.value if answer.refused else None) == (done if isinstance(done, str) else None)

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_issued_that_was_not_paid(self) -> None:
        for code in CODES:
            state = self.world.certificate(code)
            if state.activation is None or state.order_id is None or state.line_id is None:
                continue
            paid = self.plain_orders[state.order_id].ever_paid.get(state.line_id, 0)
            assert 0 < (state.denomination or 0) <= paid

    @invariant()
    def money_is_where_the_plain_numbers_have_it(self) -> None:
        for code in CODES:
            plain = self.current(code)
            state = settled(self.world.certificate(code), self.world.now)
            assert state.balance == (plain.balance if plain else 0)
            assert state.held == (plain.held if plain else 0)

    @invariant()
    def events_come_in_order(self) -> None:
        for code, events in self.world.published.items():
            assert events == self.world.republished(code)
            shown = [event.event_id for event in events]
            assert len(set(shown)) == len(shown)

    def teardown(self) -> None:
        self.world.rest()
        self.world.now += DEFAULT_POLICY.reservation_ttl_ms
        self.world.rest()
        for name in ORDERS:
            self.check_order_at_rest(name)
        for code in CODES:
            self.check_certificate_at_rest(code)

    def check_order_at_rest(self, name: str) -> None:
        state = self.world.order(name)
        for line, planned in self.plain_orders[name].owed().items():
            held = state.allocations.get(line)
            if held is None:
                continue
            own = self.world.certificate(held.code)
            assert held.activated
            assert state.line_status(line) == "Activated"
            assert own.activation is not None
            assert state.lines[line].planned == own.denomination
            assert own.sold_to(name, line)
            assert own.denomination is not None
            assert planned > 0
        for line, held in state.allocations.items():
            # a code on a line is reserved or sold for it; before the plan is known nobody has asked the certificate
            assert held.stuck is None
            assert not state.known or self.world.certificate(held.code).sold_to(name, line)
        assert self.world.owed(order_entity(name)) == ()
        if order_entity(name) in self.world.histories:
            assert self.world.replayed(order_entity(name)) == state

    def check_certificate_at_rest(self, code: str) -> None:
        state = self.world.certificate(code)
        if certificate_entity(code) not in self.world.histories:
            return
        assert self.world.replayed(certificate_entity(code)) == state
        assert self.world.owed(certificate_entity(code)) == ()
        if state.status is Status.RESERVED:
            # what is still reserved is on its line, and money is collected for it
            own = self.world.order(state.order_id or "")
            held = own.allocations.get(state.line_id or "")
            assert held is not None
            assert held.code == code
            assert own.collected(state.line_id or "") > 0
        entries = [posting for record in self.world.histories[certificate_entity(code)] for posting in postings(record)]
        plain = self.current(code)
        redeemed = sum(entry.amount for entry in entries if entry.account is Account.REDEMPTION)
        assert redeemed == (plain.redeemed if plain else 0)
        assert sum(entry.amount for entry in entries) == 0

    # --- what the rules share ----------------------------------------------------------------------------------------

    def event(self, name: str, command: AnyCommand) -> None:
        self.seen.append((order_entity(name), command))
        self.world.tell(order_entity(name), command)

    def pick(self, data: st.DataObject) -> Process:
        return self.world.processes[data.draw(st.integers(0, len(self.world.processes) - 1))]

    def status(self, code: str) -> Status:
        return self.world.certificate(code).status

    def current(self, code: str) -> PlainCertificate | None:
        """The plain numbers of a certificate as of now; they begin with what was issued, when it was issued."""
        if code not in self.plain:
            for record in self.world.histories.get(certificate_entity(code), []):
                if isinstance(record.body, Activated):
                    body = record.body
                    self.plain[code] = PlainCertificate(
                        body.denomination, body.currency, SHOP.client, record.at + YEAR_MS
                    )
        plain = self.plain.get(code)
        if plain is not None:
            plain.pass_time(self.world.now)
        return plain


Trade.TestCase.settings = settings(max_examples=300, stateful_step_count=50)
TestTrade = Trade.TestCase
