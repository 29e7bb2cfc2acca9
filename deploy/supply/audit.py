"""Asks whether anything is known against what is listed in constraints/: `make audit`.

The answer is looked up by pip-audit in a source of advisories, over the network. It calls a package that the source
does not know "skipped", and a source that knows none of them has it end well. Here nothing counts as looked up but
what the source has answered for.
"""

import subprocess
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Struct

from deploy.supply.pins import PURPOSES, ROOT, listed, pins

ASK_SECONDS: Final = 15
"""How long the source may take for one package."""
AUDIT_SECONDS_MAX: Final = 1_800
WHAT_TO_DO: Final = """\
Run it where the advisories of PyPI can be reached, or name another source: ARGS="--vulnerability-service osv",
with --osv-url and an address if you have a mirror of it."""


class Verdict(IntEnum):
    """How it ended, as the exit code says it."""

    NOTHING_KNOWN = 0
    KNOWN = 1
    NOT_LOOKED = 2
    """For one package or for all: whether anything is known is not known."""


class Advisory(Struct, frozen=True, kw_only=True):
    """What is known against a version."""

    id: str
    fix_versions: tuple[str, ...] = ()
    description: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What the source said of one package."""

    name: str
    version: str = ""
    vulns: tuple[Advisory, ...] = ()
    skip_reason: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """What pip-audit prints if it has asked for every package."""

    dependencies: tuple[Answer, ...]


def audit(purposes: Sequence[str], arguments: Sequence[str]) -> tuple[Verdict, str]:
    """Ask for each package of these lists.

    Args:
        purposes: Which lists.
        arguments: More for pip-audit: which source.

    Returns:
        How it ended, and what to tell whoever asked.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command += ["--timeout", str(ASK_SECONDS), *arguments]
    for purpose in purposes:
        command += ["--requirement", str(listed(purpose))]
    try:
        ended = subprocess.run(  # noqa: S603 - our own words, and those of who started this
            command, cwd=ROOT, capture_output=True, text=True, timeout=AUDIT_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return _not_looked(f"the source has not answered for all of them in {AUDIT_SECONDS_MAX} s")
    try:
        report = msgspec.json.decode(ended.stdout, type=Report)
    except msgspec.MsgspecError:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        return _not_looked(f"pip-audit ended with {ended.returncode}: {said[-1] if said else 'and said nothing'}")
    return judge(report, expected={pin.name for pin in pins(purposes) if pin.needed})


def judge(report: Report, *, expected: set[str]) -> tuple[Verdict, str]:
    """Say what the answers come to.

    Args:
        report: What the source said.
        expected: The packages that it had to be asked for.
    """
    answered = {answer.name for answer in report.dependencies if answer.skip_reason is None}
    left = sorted(expected - answered)
    lines = [
        f"{answer.name} {answer.version}: {advisory.id}, "
        f"put right in {', '.join(advisory.fix_versions) or 'no version yet'}. {advisory.description}"
        for answer in report.dependencies
        for advisory in answer.vulns
    ]
    if not answered & expected:
        return _not_looked("the source knows none of the packages")
    if left:
        lines.append(f"NOT LOOKED UP, since the source does not know them: {', '.join(left)}.")
    lines.append(f"{len(expected & answered)} of {len(expected)} packages looked up.")
    if any(answer.vulns for answer in report.dependencies):
        return Verdict.KNOWN, "\n".join(lines)
    return (Verdict.NOT_LOOKED if left else Verdict.NOTHING_KNOWN), "\n".join(lines)


def _not_looked(why: str) -> tuple[Verdict, str]:
    return Verdict.NOT_LOOKED, f"NOTHING WAS LOOKED UP: {why}.\n{WHAT_TO_DO}"


def main() -> int:
    """Ask for everything that is listed."""
    verdict, said = audit(PURPOSES, sys.argv[1:])
    print(said, file=sys.stderr if verdict else sys.stdout)
    if verdict is Verdict.NOTHING_KNOWN:
        print("Nothing is known against them.")
    return verdict


if __name__ == "__main__":
    sys.exit(main())
