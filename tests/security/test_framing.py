"""Request smuggling at the gateway itself: what has two readings is refused, and nothing behind it is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ledger.commands import Authorize, Inquire
from tests.security.framing import SOUND, ambiguous, within
from tests.security.stage import call, redemption, street
from tests.unit.gateway.house import CODE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

HASTE: dict[str, Any] = {"idle_seconds": 0.2, "receive_seconds": 5.0}
"""What stays open is closed soon: what was sent has come by then, in one piece."""
SECOND = call(CODE, "authorize", redemption(66), "pos", "Connection: close")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


async def test_what_has_two_readings_is_refused_with_all_that_follows(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, **HASTE) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.asked)

        for name, data in ambiguous(SECOND).items():
            answer = await here.door.raw(data)
            assert STATUS.findall(answer) == [b"400"], name
            assert b"application/problem+json" in answer
            assert b"connection: close" in answer

        assert len(here.door.ledger.asked) == before


async def test_what_is_within_a_body_is_no_request(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path, **HASTE) as here:
        await here.issue(CODE)
        before = len(here.door.ledger.asked)

        answers = {name: await here.door.raw(data) for name, data in within(SECOND).items()}

        assert len(here.door.ledger.asked) == before
    finals = {name: [int(one) for one in STATUS.findall(answer) if one != b"100"] for name, answer in answers.items()}
    assert {len(found) for found in finals.values()} == {1}
    assert finals.pop("too long") == [413]
    assert {name for name, found in finals.items() if found == [200]} == {
        "GET with a length",
        "GET with chunks",
        "HEAD",
    }


async def test_what_has_one_reading_ends_where_it_says(redis_url: str, tmp_path: Path) -> None:
    async with street(redis_url, tmp_path) as here:
        await here.issue(CODE)
        for name, data in SOUND.items():
            before = len(here.door.ledger.changes)

            answer = await here.door.raw(data + SECOND)

            assert [type(one) for one in here.door.ledger.changes[before:]] == [Inquire, Authorize], name
            assert STATUS.findall(answer) == [b"200", b"201"], name
