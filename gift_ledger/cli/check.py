"""What the doctor finds: one check after the other, each with what to do about it."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True, kw_only=True):
    """One line: what was looked at, what was seen, and what to do if it is not in order."""

    name: str
    level: Level
    seen: str
    advice: str = ""


def ok(name: str, seen: str) -> Check:
    """It is in order."""
    return Check(name=name, level=Level.OK, seen=seen)


def warn(name: str, seen: str, advice: str) -> Check:
    """It works, and may not do so for long, or not as it should."""
    return Check(name=name, level=Level.WARN, seen=seen, advice=advice)


def fail(name: str, seen: str, advice: str) -> Check:
    """It does not work."""
    return Check(name=name, level=Level.FAIL, seen=seen, advice=advice)
