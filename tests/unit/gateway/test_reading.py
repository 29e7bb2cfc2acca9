"""Reading bodies, times and histories: the parts of it that a request alone does not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.bodies import has_body, read_body
from gateway.faults import Fault, ProblemError
from gateway.reads import milliseconds, state_at
from ledger.commands import SYSTEM, Block, Unblock
from persistence.errors import DamagedLogError
from persistence.log import PAGE_MAX
from persistence.memory import MemoryLog
from tests.unit.gateway.house import CODE, opened

if TYPE_CHECKING:
    from collections.abc import Sequence


def receiving(*messages: dict[str, Any]) -> Any:  # noqa: ANN401 - an ASGI receive
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_put_together() -> None:
    receive = receiving(part(b"a"), part(b""), part(b"bc"), {"type": "http.request"})

    assert await read_body({}, receive, 3, 1) == b"abc"


async def test_a_body_is_read_no_further_than_it_may_go() -> None:
    receive = receiving(part(b"ab"), part(b"cd"))  # a third message would be an IndexError

    with pytest.raises(ProblemError) as raised:
        await read_body({}, receive, 3, 1)

    assert raised.value.code is Fault.REQUEST_TOO_LARGE


async def test_a_client_that_hangs_up_has_sent_no_body() -> None:
    with pytest.raises(ProblemError) as raised:
        await read_body({}, receiving(part(b"a"), {"type": "http.disconnect"}), 3, 1)

    assert raised.value.code is Fault.REQUEST_TIMEOUT


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"1"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_whether_a_head_announces_a_body(headers: dict[bytes, bytes], found: bool) -> None:  # noqa: FBT001
    assert has_body(headers) is found


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T00:00:00.001999999z", 1),
        ("1970-01-01t03:00:00+03:00", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-11-23T07:00:00.000Z", 1_795_417_200_000),
    ],
)
def test_times(text: str, at: int) -> None:
    assert milliseconds(text) == at


async def test_a_long_history_is_folded_page_by_page() -> None:
    async with opened() as house:
        await house.issue()
        for _ in range(PAGE_MAX // 2 + 5):
            await house.ledger.ask(f"c:{CODE}", Block("x"), SYSTEM)
            await house.ledger.ask(f"c:{CODE}", Unblock("x"), SYSTEM)
        house.clock.advance(1)
        records = len(await house.log.history(f"c:{CODE}")) + len(await house.log.history(f"c:{CODE}", PAGE_MAX))

        state = await state_at(house.log, CODE, house.clock.now)

    assert records > PAGE_MAX
    assert (state.version, state.status) == (records, "Active")


class Damaged(MemoryLog):
    """A log whose histories begin in the middle."""

    async def history(self, entity: str, after: int = 0, limit: int = PAGE_MAX) -> list[bytes]:
        records: Sequence[bytes] = await super().history(entity, after, limit)
        return list(records[2:])


async def test_a_damaged_history_is_refused_and_told_to_operators(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(log=Damaged()) as house:
        await house.issue()
        await house.hold()
        house.clock.advance(1)

        with pytest.raises(DamagedLogError):
            await state_at(house.log, CODE, house.clock.now)
        response = await house.get(f"/certificates/{CODE}?asOf=2026-11-23T07:00:00.500Z")

    assert (response.status, response.code) == (503, "StorageUnavailable")
    assert "CRITICAL" in {record.levelname for record in caplog.records}
    assert "damaged" in response.body["detail"]
