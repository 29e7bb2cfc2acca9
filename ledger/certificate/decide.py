"""From a command to records: the one entrance to a certificate's rules."""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from ledger import commands as c
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate import redemption, refund, sale, support
from ledger.certificate.state import Certificate, advance, due
from ledger.commands import SYSTEM, Origin
from ledger.decision import Decision
from ledger.policy import DEFAULT_POLICY, Policy

_Rule = Callable[[Certificate, Any, Origin, int, Policy, Attempts], Decision[Certificate]]
_RULES: Final[dict[type[c.Command], _Rule]] = {
    c.Authorize: redemption.authorize,
    c.Capture: redemption.capture,
    c.Inquire: redemption.inquire,
    c.Void: refund.void,
    c.Reserve: sale.reserve,
    c.Join: sale.join,
    c.Release: sale.release,
    c.Activate: sale.activate,
    c.Report: sale.report,
    c.Block: support.block,
    c.Unblock: support.unblock,
    c.ReissueCvc: support.reissue_cvc,
}


def decide(
    state: Certificate,
    command: c.CertificateCommand,
    origin: Origin,
    now: int,
    policy: Policy = DEFAULT_POLICY,
    attempts: Attempts = NO_ATTEMPTS,
) -> Decision[Certificate]:
    """What ``command`` comes to.

    What time has brought about (holds that lapsed, the end of the certificate) is decided first and recorded with the
    command's own records; a refused command records nothing, and leaves it to the timer.

    Args:
        state: the certificate; with version 0 for a code that was never seen.
        command: what is asked.
        origin: who asks.
        now: milliseconds. An earlier time than the last record's counts as that record's time.
        policy: durations and bounds.
        attempts: count of wrong CVCs for this code.
    """
    now = max(now, state.updated_at)
    lapsed = due(state, now)
    if not lapsed:
        return _rule(state, command, origin, now, policy, attempts)
    records, settled = advance(state, now, SYSTEM, *lapsed)
    if isinstance(command, c.Tick):
        return Decision(state=settled, records=records)
    decision = _rule(settled, command, origin, now, policy, attempts)
    if not decision.records:
        return replace(decision, state=state)
    return replace(decision, records=records + decision.records)


def settled(state: Certificate, now: int) -> Certificate:
    """The certificate as it is at ``now``, whether or not the timers have recorded it yet."""
    return advance(state, max(now, state.updated_at), SYSTEM, *due(state, now))[1]


def _rule(
    state: Certificate, command: c.CertificateCommand, origin: Origin, now: int, policy: Policy, attempts: Attempts
) -> Decision[Certificate]:
    rule = _RULES.get(type(command))
    if rule is None:
        if isinstance(command, c.Tick | c.Look):
            return Decision(state=state)
        message = f"{type(command).__name__} is not a certificate's command"
        raise TypeError(message)
    return rule(state, command, origin, now, policy, attempts)
