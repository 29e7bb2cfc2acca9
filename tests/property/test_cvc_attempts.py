"""How often a CVC may be tried, against plain counting; and that the limit tells nothing about the code."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate import Certificate, decide
from ledger.commands import SYSTEM, Activate, Authorize, Block, Inquire, IssuedCvc, Origin, Reserve, Void
from ledger.identifiers import OPERATION, identifier
from ledger.policy import DEFAULT_POLICY

CODE = "GC-7K2M-9QXA"
RIGHT = b"right"
START = 1_000
SITE = Origin("site", "OnlineStore", own_only=True, cvc_required=True)
TILL = Origin("till", "Pos", own_only=True)

# what is tried, and after how many seconds
tries = st.lists(
    st.tuples(st.sampled_from([RIGHT, b"wrong", b"wrong", b"wrong"]), st.integers(0, 70) | st.just(3_600)), max_size=25
)


@dataclass
class PlainCount:
    """Wrong CVCs in a row, and from when (seconds) one may be tried again."""

    wrong: int = 0
    free_from: int = 0

    def count(self, *, right: bool, second: int) -> None:
        if right:
            self.wrong = 0
            return
        self.wrong += 1
        if self.wrong >= 3:
            self.free_from = second + min(30 * 2 ** (self.wrong - 3), 3_600)


def certificate(kind: str) -> Certificate:
    state = Certificate(code=CODE)
    if kind == "unknown":
        return state
    state = decide(state, Reserve("SO-1", "1"), TILL, START).state
    if kind == "reserved":
        return state
    issued = Activate("SO-1", "1", 1_000, "RUB", cvc=IssuedCvc(RIGHT))
    state = decide(state, issued, SYSTEM, START).state
    if kind == "blocked":
        return decide(state, Block("stolen"), SYSTEM, START).state
    if kind == "cancelled":
        return decide(state, Void(identifier(OPERATION, CODE, 2)), SYSTEM, START).state
    return state


CLOSED = ("unknown", "reserved", "blocked", "cancelled")


@given(tried=tries, origin=st.sampled_from([SITE, TILL]))
def test_each_wrong_cvc_from_the_third_on_locks_twice_as_long_and_a_right_one_starts_anew(
    tried: list[tuple[bytes, int]], origin: Origin
) -> None:
    state, attempts, plain, second = certificate("active"), NO_ATTEMPTS, PlainCount(), 100

    for cvc, pause in tried:
        second += pause
        decision = decide(state, Inquire(cvc), origin, second * 1_000, attempts=attempts)
        attempts = decision.attempts or attempts
        refused = decision.refused

        if second < plain.free_from:
            assert refused is not None
            assert refused.code == "RateLimited"
            assert refused.figures == {"retryAfter": plain.free_from - second}
            assert decision.attempts is None
        else:
            plain.count(right=cvc == RIGHT, second=second)
            assert (refused is None) == (cvc == RIGHT)
            assert attempts.wrong == plain.wrong


@given(tried=tries, kind=st.sampled_from(CLOSED), amount=st.integers(1, 2_000))
@settings(max_examples=200)
def test_where_the_cvc_is_required_no_answer_and_no_limit_tells_one_closed_code_from_another(
    tried: list[tuple[bytes, int]], kind: str, amount: int
) -> None:
    unknown, other = certificate("unknown"), certificate(kind)
    counts = [NO_ATTEMPTS, NO_ATTEMPTS]
    now = START

    for cvc, pause in tried:
        now += pause * 1_000
        command = Authorize(amount, "RUB", cvc) if pause % 2 else Inquire(cvc)
        decisions = [
            decide(state, command, SITE, now, attempts=count)
            for state, count in zip((unknown, other), counts, strict=True)
        ]
        counts = [decision.attempts or count for decision, count in zip(decisions, counts, strict=True)]

        assert decisions[0].refused == decisions[1].refused
        assert decisions[0].refused is not None
        assert counts[0] == counts[1]


@given(wrong=st.integers(3, 10**6))
def test_no_lock_is_longer_than_an_hour(wrong: int) -> None:
    state, attempts = certificate("active"), Attempts(wrong=wrong)

    decision = decide(state, Inquire(b"wrong"), TILL, START, attempts=attempts)

    assert decision.attempts is not None
    assert START < decision.attempts.locked_until <= START + DEFAULT_POLICY.cvc_lock_max_ms
