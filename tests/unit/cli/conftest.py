import asyncio
from pathlib import Path

import pytest

from persistence.vault import Vault
from tests.unit.cli.doctor_stage import Servers
from tests.unit.cli.stage import World, fill


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def filled(world: World) -> World:
    asyncio.run(fill(world.log))
    return world


@pytest.fixture
def servers(world: World) -> Servers:
    """Servers that are all configured, and a data folder with secrets."""
    servers = Servers()
    world.use(
        ledger=servers.find_ledger,
        redis_time=servers.redis_time,
        topics=servers.kafka_topics,
        connect=servers.connect,
        ready=servers.readiness,
    )
    data = world.folder / "data"
    data.mkdir(mode=0o700)
    Vault.create(data / "secrets.json")
    world.environ |= {
        "GIFT_LEDGER_DATA_DIR": str(data),
        "GIFT_LEDGER_KAFKA_BOOTSTRAP": "kafka.example:9092",
        "GIFT_LEDGER_SMS_URL": "https://sms.example/hidden",
        "GIFT_LEDGER_RAY_ADDRESS": "ray.example:6379",
    }
    return servers
