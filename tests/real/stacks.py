"""Fixtures that hand a running service to tests; it takes about six seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.real.stack import RunningStack, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The run's stack, with everything embedded: for tests that leave it as well as they found it."""
    yield from running(RunningStack(tmp_path_factory.mktemp("stack"), measured=True))
