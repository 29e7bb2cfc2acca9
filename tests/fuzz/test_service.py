"""The running service keeps what its OpenAPI document promises, whoever calls and whatever is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.access import Role, roles_of
from gateway.operations import OPERATIONS
from tests.fuzz.caller import NOBODY, call, unreached
from tests.fuzz.stage import fuzzed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.real.fixtures import ServerKind
    from tests.real.redis import RealServer

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLES = 5
"""Requests of each call that are made up at random, beside those that are made for each part of the document."""


@pytest.mark.parametrize("role", [*Role, None], ids=lambda role: role or NOBODY)
async def test_what_the_document_promises_is_kept(
    role: Role | None, start_shared: Callable[[ServerKind], RealServer], tmp_path: Path
) -> None:
    server = start_shared("redis")
    server.empty()

    async with fuzzed(server.url, tmp_path / "run", role) as served:
        found = await call(served, role, tmp_path, ["--generation-deterministic", "--max-examples", str(EXAMPLES)])

    # the requests are the same each time
    again = f"\nAgain: make test ARGS='tests/fuzz/test_service.py -k {role or NOBODY}'"
    assert not found.failed, found.output + again
    assert unreached(role, found.reached) == [], again


def test_what_was_not_reached_and_what_should_not_have_been_is_told() -> None:
    """Given an account of a run, then it is known whether it went anywhere, and nowhere else."""
    open_to = [one for one in OPERATIONS if one.call is None or Role.OPS in roles_of(one.call)]
    whole = {f"{one.method} {one.path} 200": 1 for one in open_to}

    assert unreached(Role.OPS, whole) == []
    assert unreached(Role.OPS, whole | {"GET /metrics 200": 0}) == ["GET /metrics: never answered with 2xx"]
    assert unreached(Role.OPS, whole | {"POST /voids 200": 1}) == ["POST /voids: answered with 2xx, and it may not"]
    assert "POST /captures: no item was ever answered with 2xx" in unreached(Role.PAYMENTS, {"POST /captures 200": 9})
    assert unreached(None, {f"GET {path} 200": 1 for path in ("/health/live", "/health/ready", "/schema")}) == []
