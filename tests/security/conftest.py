"""What the attacks share: everything runs on a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.real.fixtures import lacking
from tests.real.nginx import nginx_binary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.fixtures import ServerKind
    from tests.real.redis import RealServer


@pytest.fixture
def redis_url(start_shared: Callable[[ServerKind], RealServer]) -> str:
    """The address of the run's Redis, running and empty; that attacks fail on Valkey as well follows from its tests."""
    server = start_shared("redis")
    server.empty()
    return server.url


@pytest.fixture
def nginx() -> str:
    """The program; without it the test is given up."""
    binary = nginx_binary()
    if binary is None:
        lacking("no nginx: install it (Debian: apt-get install nginx)")
    return binary
