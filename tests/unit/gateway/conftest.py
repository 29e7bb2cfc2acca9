from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.house import House, opened


@pytest.fixture(params=[True, False], ids=["front", "litestar"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway, once with the short way of the hot calls and once without."""
    async with opened(fast_lane=request.param) as house:
        yield house
