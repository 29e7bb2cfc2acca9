"""Redis as `docker-compose.yml` starts it: the same command and the same secrets, run natively."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
import yaml

from deploy.make_secrets import make
from persistence.errors import StorageError
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.real.fixtures import binary_of
from tests.real.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0


class ComposeRedis:
    """The service `redis`, with the paths and the port of this machine for those of its container."""

    def __init__(self, folder: Path) -> None:
        self._secrets, self._data, self._port = folder / "secrets", folder / "data", free_port()
        make(self._secrets, folder / ".env")
        self._data.mkdir()
        service: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]
        *shell, script = service["command"]
        assert script.startswith("exec "), "a shell would keep it from hearing that it is to end"
        server = f"{binary_of('redis')} - --port {self._port} --bind 127.0.0.1"
        self.process = ServerProcess(
            [*shell, self._native(script, "docker-entrypoint.sh redis-server -", server)], folder
        )
        self._health = self._native(service["healthcheck"]["test"][1], "redis-cli", f"redis-cli -p {self._port}")

    def _native(self, script: str, command: str, by: str) -> str:
        assert script.count(command) == 1
        native = script.replace("$$", "$").replace(command, by).replace("/run/secrets", str(self._secrets))
        return native.replace("--dir /data", f"--dir {self._data}")

    def healthy(self) -> bool:
        """What its health check says."""
        return subprocess.run(["sh", "-c", self._health], capture_output=True, check=False).returncode == 0  # noqa: S603, S607

    def url(self, secret: str) -> str:
        """The address in a secret, at this machine's port."""
        return (self._secrets / secret).read_text().replace("@redis:6379", f"@127.0.0.1:{self._port}")

    def settings(self, secret: str) -> StorageSettings:
        return StorageSettings(redis_url=self.url(secret), partitions=4)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ComposeRedis]:
    found = ComposeRedis(tmp_path)
    try:
        found.process.start(found.healthy, START_SECONDS_MAX)
        yield found
    finally:
        found.process.stop(STOP_SECONDS_MAX)


async def test_the_service_and_the_operator_may_what_they_need(server: ComposeRedis) -> None:
    for secret in ("redis_url", "redis_operator_url"):
        log = await RedisLog.open(server.settings(secret))
        await log.check()
        await log.close()
        async with redis.asyncio.Redis.from_url(server.url(secret)) as client:
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.set("another", 1)
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.config_set("appendfsync", "no")
    async with redis.asyncio.Redis.from_url(server.url("redis_url")) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            await client.scan()


async def test_nobody_else_is_let_in(server: ComposeRedis) -> None:
    named = server.url("redis_url")
    password = named.split(":")[2].partition("@")[0]
    place = named.partition("@")[2]
    for credentials in ("", f":{password}@", f"default:{password}@", f"operator:{password}@", "gift-ledger:wrong@"):
        with pytest.raises(StorageError):
            await RedisLog.open(StorageSettings(redis_url=f"redis://{credentials}{place}"))
