import asyncio
from pathlib import Path

import pytest

from tests.unit.cli.stage import World, fill


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def filled(world: World) -> World:
    asyncio.run(fill(world.log))
    return world
