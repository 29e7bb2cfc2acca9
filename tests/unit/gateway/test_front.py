"""The front: what every response has to carry, and what becomes of responses that break off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.front import Front
from tests.unit.gateway.house import House, opened

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send


def front_of(house: House) -> Front:
    assert isinstance(house.app, Front)
    return house.app


async def breaking_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ArithmeticError("in the middle")


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


async def test_a_response_that_breaks_off_is_not_followed_by_another() -> None:
    async with opened() as house:
        front_of(house)._rest = breaking_off

        with pytest.raises(ArithmeticError, match="in the middle"):
            await house.get("/schema", None)

        assert front_of(house).metrics.in_flight == 0


async def test_a_response_that_is_cut_off_is_not_followed_by_another() -> None:
    async with opened() as house:
        front_of(house)._rest = hanging
        asking = asyncio.create_task(house.get("/schema", None))
        await asyncio.sleep(0)

        asking.cancel()
        await asyncio.wait({asking})

        assert asking.cancelled()
        assert front_of(house).metrics.in_flight == 0


async def test_an_error_that_litestar_lets_through_is_a_problem_all_the_same() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ArithmeticError("before anything was sent")

    async with opened() as house:
        front_of(house)._rest = failing

        response = await house.get("/schema", None)

    assert (response.status, response.code) == (500, "InternalError")
