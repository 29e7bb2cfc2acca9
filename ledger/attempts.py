"""How often a CVC may be tried.

Attempts are counted per code, whether the code exists or not, so that the limit tells a guesser nothing. They are kept
beside the log and not in it: a guess changes nothing about the certificate.
"""

from typing import Final

from msgspec import Struct

from ledger.policy import Policy


class Attempts(Struct, frozen=True, array_like=True):
    """Wrong CVCs in a row, and until when (milliseconds) no further one is taken."""

    wrong: int = 0
    locked_until: int = 0


NO_ATTEMPTS: Final = Attempts()


def after_wrong(attempts: Attempts, now: int, policy: Policy) -> Attempts:
    """Count a wrong CVC; from the third on each locks, twice as long as the one before."""
    wrong = attempts.wrong + 1
    doublings = wrong - policy.cvc_attempts_free
    if doublings < 0:
        return Attempts(wrong=wrong)
    # the exponent is bounded before the shift, or a patient guesser would make us compute enormous numbers
    lock_ms = min(policy.cvc_lock_first_ms << min(doublings, 32), policy.cvc_lock_max_ms)
    return Attempts(wrong=wrong, locked_until=now + lock_ms)


def seconds_locked(attempts: Attempts, now: int) -> int:
    """Whole seconds until a CVC is taken again, rounded up; 0 if it is taken now."""
    return max(0, -(-(attempts.locked_until - now) // 1_000))
