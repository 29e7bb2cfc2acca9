"""Whatever is asked of a certificate, in whatever order: it does what the plain numbers do."""

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.answers import Answer
from ledger.certificate import due
from ledger.certificate.decide import settled
from ledger.commands import (
    Activate,
    Authorize,
    Block,
    Capture,
    CertificateCommand,
    IssuedCvc,
    Origin,
    Reserve,
    Tick,
    Unblock,
    Void,
)
from ledger.identifiers import AUTHORIZATION, OPERATION, certificate_entity, identifier
from ledger.postings import Account, postings
from tests.property.plain import MONTH_MS, YEAR_MS, PlainCapture, PlainCertificate, PlainHold
from tests.property.world import CVC, World

CODE = "GC-7K2M-9QXA"
ENTITY = certificate_entity(CODE)
DENOMINATION = 1_000
SHOP = Origin("shop", "OnlineStore", own_only=True)
CALLERS = (
    SHOP,
    Origin("till", "Pos", own_only=True),
    Origin("payments"),
    Origin("support", overrides_block=True),
)

callers = st.sampled_from([*CALLERS, *[CALLERS[1]] * 6])
amounts = st.integers(1, 300) | st.just(DENOMINATION)
# of what is left: all that there is, a part, and one too many
parts = st.sampled_from(["all", "half", "every unit", "one too many"])
pauses = [1, 1_000, 60_000, 60_100]
long_pauses = [7 * 86_400_000, MONTH_MS - 1, MONTH_MS, YEAR_MS]


class Redemption(RuleBasedStateMachine):
    @initialize(first=st.lists(st.integers(100, 300), max_size=3))
    def issue(self, first: list[int]) -> None:
        self.world = World()
        self.tell(Reserve("SO-1", "1"), SHOP)
        self.tell(Activate("SO-1", "1", DENOMINATION, "RUB", cvc=IssuedCvc(CVC)), Origin("ledger"))
        self.plain = PlainCertificate(DENOMINATION, "RUB", "shop", self.world.now + YEAR_MS)
        self.names = {"activation": identifier(OPERATION, CODE, 2)}
        for amount in first:
            self.authorize(CALLERS[1], amount, "RUB", partial=False)

    @rule(caller=callers, amount=amounts, currency=st.sampled_from(["RUB"] * 19 + ["USD"]), partial=st.booleans())
    def authorize(self, caller: Origin, amount: int, currency: str, partial: bool) -> None:  # noqa: FBT001
        expected = self.plain.authorize(amount, currency, partial=partial)

        answer = self.tell(Authorize(amount, currency, allow_partial=partial, ttl_ms=60_000 + amount), caller)

        if self.same(answer, expected):
            name = self.remember(AUTHORIZATION, answer)
            self.plain.hold(name, caller.client, int(expected), self.world.now + 60_000 + amount)

    @precondition(lambda self: len(self.names) > 1)
    @rule(caller=callers, name=st.data(), part=parts, final=st.booleans())
    def capture(self, caller: Origin, name: st.DataObject, part: str, final: bool) -> None:  # noqa: FBT001
        chosen = self.choose(name, self.plain.holds)
        amount = self.amount(chosen, part)
        expected = self.plain.capture(chosen, caller.client, amount, final=final, own=caller.own_only)

        answer = self.tell(Capture(self.names[chosen], amount, final), caller)

        if self.same(answer, expected):
            self.plain.take(self.remember(OPERATION, answer), caller.client, int(expected))

    @rule(caller=callers, name=st.data(), part=parts)
    def void(self, caller: Origin, name: st.DataObject, part: str) -> None:
        chosen = self.choose(name, self.plain.captures, self.plain.holds)
        amount = self.amount(chosen, part)
        own, support, now = caller.own_only, caller.overrides_block, self.world.now
        expected = self.plain.void(chosen, caller.client, amount, now, own=own, support=support)

        answer = self.tell(Void(self.names[chosen], amount), caller)

        self.same(answer, expected)

    @precondition(lambda self: len(self.names) > 2)
    @rule()
    def block(self) -> None:
        self.support(Block("stolen"), blocked=True)

    @precondition(lambda self: self.plain.blocked)
    @rule()
    def unblock(self) -> None:
        self.support(Unblock("found"), blocked=False)

    @rule(delta=st.sampled_from(pauses))
    def wait(self, delta: int) -> None:
        self.pass_time(self.world.now + delta)

    @precondition(lambda self: len(self.names) > 4)
    @rule(delta=st.sampled_from(long_pauses))
    def wait_long(self, delta: int) -> None:
        self.pass_time(self.world.now + delta)

    @precondition(lambda self: self.plain.captures)
    @rule(before=st.sampled_from([0, 1, 30_000]))
    def come_to_expiry(self, before: int) -> None:
        self.pass_time(max(self.world.now, self.plain.expires_at - before))

    @precondition(lambda self: len(self.names) > 3)
    @rule(amount=amounts)
    def hold_across_the_expiry(self, amount: int) -> None:
        self.pass_time(max(self.world.now, self.plain.expires_at - 1))
        self.authorize(CALLERS[1], amount, "RUB", partial=True)
        self.pass_time(self.world.now + 1)

    @precondition(lambda self: self.plain.holds)
    @rule()
    def come_to_a_lapse(self) -> None:
        self.pass_time(min(hold.until for hold in self.plain.holds.values()))

    @rule()
    def ring(self) -> None:
        self.tell(Tick(), Origin("ledger"))

        assert due(self.world.certificate(CODE), self.world.now) == ()

    @invariant()
    def has_what_the_plain_numbers_say(self) -> None:
        state = settled(self.world.certificate(CODE), self.world.now)

        assert (state.status, state.balance, state.held) == (self.plain.status, self.plain.balance, self.plain.held)
        assert self.plain.issued == self.plain.balance + self.plain.redeemed + self.plain.written_off + (
            self.plain.refunded
        )

    @invariant()
    def its_timer_wakes_it_for_whatever_time_brings(self) -> None:
        state = self.world.certificate(CODE)
        waits = [hold.expires_at for hold in state.holds.values()]
        if state.status in {"Active", "Depleted", "Blocked"} and state.expires_at is not None:
            waits.append(state.expires_at)

        assert not waits or self.world.timers[ENTITY] <= max(min(waits), self.world.now + 2_000)

    def teardown(self) -> None:
        if not hasattr(self, "plain"):
            return
        self.tell(Tick(), Origin("ledger"))
        entries = [posting for record in self.world.histories[ENTITY] for posting in postings(record)]
        total = {account: sum(one.amount for one in entries if one.account is account) for account in Account}

        assert total[Account.PAYMENTS] == self.plain.refunded - DENOMINATION
        assert total[Account.REDEMPTION] == self.plain.redeemed
        assert total[Account.BREAKAGE] == self.plain.written_off
        assert self.world.replayed(ENTITY) == self.world.certificate(CODE)
        assert self.world.republished(CODE) == self.world.published[CODE]

    # --- what the rules share ----------------------------------------------------------------------------------------

    def tell(self, command: CertificateCommand, caller: Origin) -> Answer:
        return self.world.tell(ENTITY, command, caller)

    def support(self, command: Block | Unblock, *, blocked: bool) -> None:
        refusals = {"Cancelled": "CertificateNotActive", "Expired": "CertificateExpired"}

        answer = self.tell(command, CALLERS[3])

        if answer.refused is not None:
            assert answer.refused.code == refusals[self.plain.status]
        else:
            self.plain.blocked = blocked

    def pass_time(self, now: int) -> None:
        self.world.now = now
        self.plain.pass_time(now)

    def same(self, answer: Answer, expected: str | int) -> bool:
        """Whether it was done, which the plain numbers must have done too."""
        refused = None if answer.refused is None else answer.refused.code.value
        assert refused == (expected if isinstance(expected, str) else None)
        return refused is None

    def remember(self, kind: str, answer: Answer) -> str:
        """Name the new operation as callers do; a write-off may stand after its record."""
        records = self.world.histories[ENTITY]
        record = records[-1]
        assert answer.version == record.version
        name = identifier(kind, CODE, record.version)
        self.names[name] = name
        return name

    def amount(self, name: str, part: str) -> int | None:
        open_things: dict[str, PlainHold | PlainCapture] = {**self.plain.holds, **self.plain.captures}
        left = open_things[name].left if name in open_things else self.plain.balance
        return {"all": None, "half": max(1, left // 2), "every unit": left or 1, "one too many": left + 1}[part]

    def choose(self, data: st.DataObject, *likely: Iterable[str]) -> str:
        """One of the likely names as a rule, else one of all."""
        rather = [name for names in likely for name in names]
        anyone = not rather or data.draw(st.integers(0, 7)) == 7
        return data.draw(st.sampled_from([*self.names] if anyone else rather))


Redemption.TestCase.settings = settings(max_examples=300, stateful_step_count=60)
TestRedemption = Redemption.TestCase
