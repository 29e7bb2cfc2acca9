"""The page about all bounds: ``docs/bounds.md``."""

from collections.abc import Iterator

from gift_ledger.bounds import BOUNDS
from gift_ledger.bounds.bound import Bound
from gift_ledger.bounds.growing import GROWING

_HEAD = """\
# Bounds

What every queue, buffer, batch, retry and time-out is bounded by, why, what happens when the bound is reached, and
which metric shows it. Those with a setting can be changed ([settings.md](settings.md)); the others are constants that
stand where they are read. Names of metrics are without `gift_ledger_`. Where no metric is named, nothing fills up: it
is a pause, or how long one step may take.

Three things have no bound, because a bound would lose something: the history in the log is kept for good; events for
Kafka (`outbox_waiting`) wait in the log for as long as it takes; and messages (`sms_waiting`) for a day. What bounds
them is `maxmemory` of Redis: there it refuses to write, callers get 503 `StorageUnavailable`, and nothing is evicted.

Nor has the number of open holds and of captures of one certificate: each capture stays in its state, because it can be
voided. What bounds them is its money: each takes one minor unit at least.

<!-- Made by `python -m gift_ledger.bounds > docs/bounds.md`; a test compares. -->
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for subject, bounds in BOUNDS.items():
        yield from (
            "",
            f"## {subject}",
            "",
            "| bound | value | why | when it is reached | metric |",
            "|---|---|---|---|---|",
        )
        for bound in bounds:
            yield f"| {_name(bound)} | {_value(bound)} | {_why(bound)} | {bound.reached} | {_shown(bound)} |"
    yield from ("", "## What grows in memory", "", "| attribute | holds at most |", "|---|---|")
    for where, most in GROWING.items():
        yield f"| `{where}` | {most} |"


def _name(bound: Bound) -> str:
    return f"`GIFT_LEDGER_{bound.setting.upper()}`" if bound.setting else f"`{bound.where}`"


def _value(bound: Bound) -> str:
    value = bound.value
    text = f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:g}"
    return f"{text} {bound.measured_in}".strip()


def _why(bound: Bound) -> str:
    return bound.why.replace("``", "`").replace("|", "\\|")


def _shown(bound: Bound) -> str:
    return ", ".join(f"`{name.removeprefix('gift_ledger_')}`" for name in bound.shown.split())
