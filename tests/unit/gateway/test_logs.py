"""What is logged: always which request it was, never what nobody may know."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from actors.errors import OutcomeUnknownError
from gateway.exchange import current
from gateway.logs import named_requests
from tests.unit.gateway.house import CODE, House, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, as two handlers of the root logger write it."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers = [logging.StreamHandler(stream), logging.StreamHandler(io.StringIO())]
    level = root.level
    root.setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    yield stream
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(level)


async def trouble(house: House, **headers: str) -> None:
    async def fail() -> None:
        raise OutcomeUnknownError("the shard %s hung up")

    house.ledger.trouble = fail
    body = {"purpose": "Redemption", "amount": 1, "currency": "RUB", "cvc": "7316", "reference": "+79990000001"}
    await house.post("authorize", body, "pos", headers=headers)
    house.ledger.trouble = None


async def test_lines_name_the_request(written: io.StringIO) -> None:
    with named_requests():
        async with opened() as house:
            await trouble(house, **{"X-Request-Id": "r-17", "traceparent": TRACE})

    lines = [line for line in written.getvalue().splitlines() if "hung up" in line]
    said, named = "POST authorize: OutcomeUnknownError: the shard %s hung up", "request=r-17 trace=" + TRACE[3:35]
    assert lines == [f"{said} [{named}]"]


async def test_lines_without_a_trace_name_the_request_alone(written: io.StringIO) -> None:
    with named_requests():
        async with opened() as house:
            await trouble(house, **{"X-Request-Id": "r-17"})

    assert "hung up [request=r-17]\n" in written.getvalue()


def test_lines_of_no_request_stay_as_they_are(written: io.StringIO) -> None:
    current.set(None)
    with named_requests():
        logging.getLogger("anybody").info("a line of %s", "nobody")

    assert written.getvalue() == "a line of nobody\n"


def test_handlers_are_left_as_they_were(written: io.StringIO) -> None:
    before = [list(handler.filters) for handler in logging.getLogger().handlers]

    with named_requests():
        pass

    assert [list(handler.filters) for handler in logging.getLogger().handlers] == before


async def test_secrets_are_not_logged(written: io.StringIO) -> None:
    with named_requests():
        async with opened() as house:
            cvc = await house.issue()
            await trouble(house)
            await house.post("balance", {"cvc": cvc}, "storefront")
            await house.post("authorize", b'{"purpose":"Redemption","cvc":"7316","phone":"+79990000001"', "pos")
            await house.request("POST", f"/certificates/{CODE}/cvc", "support")
            await house.get("/metrics", "glk_secret-key")

    text = written.getvalue()
    assert "hung up" in text
    for secret in ("7316", "9990000001", "glk_secret-key"):
        assert secret not in text
