"""The servers around a ledger as the doctor sees them."""

import json

from gateway.bridge_settings import BridgeSettings
from gateway.readiness import Readiness
from gateway.services import Component, Condition
from gift_ledger.cli.context import now_ms
from gift_ledger.cli.probes import FoundLedger
from gift_ledger.sources import SETTINGS
from persistence.settings import StorageSettings
from tests.unit.cli.stage import World

TOPICS = {setting.default: 6 for setting in SETTINGS.values() if setting.name.startswith("topic_")}
WELL = Component(status=Condition.OK)


class Servers:
    """The servers around a ledger, all of them well unless a test says otherwise."""

    def __init__(self) -> None:
        self.ledger: FoundLedger | Exception | None = FoundLedger(vault=None)
        self.clock_ahead_ms = 0
        self.clock_error: Exception | None = None
        self.topics: dict[str, int] | Exception = TOPICS
        self.silent: set[str] = set()
        self.reached: list[tuple[str, int, bool]] = []
        self.asked: list[str] = []
        self.certificates: list[str] = []
        self.ready: Readiness | Exception = Readiness(Condition.OK, {"storage": WELL})

    async def find_ledger(self, _settings: StorageSettings) -> FoundLedger | None:
        if isinstance(self.ledger, Exception):
            raise self.ledger
        return self.ledger

    async def redis_time(self, _settings: StorageSettings) -> int:
        if self.clock_error is not None:
            raise self.clock_error
        return now_ms() + self.clock_ahead_ms

    async def kafka_topics(self, _settings: BridgeSettings) -> dict[str, int]:
        if isinstance(self.topics, Exception):
            raise self.topics
        return self.topics

    async def connect(self, host: str, port: int, *, tls: bool = False) -> None:
        if host in self.silent:
            raise ConnectionRefusedError("refused")
        self.reached.append((host, port, tls))

    async def readiness(self, url: str, certificate: str) -> Readiness:
        self.asked.append(url)
        self.certificates.append(certificate)
        if isinstance(self.ready, Exception):
            raise self.ready
        return self.ready


def examine(world: World, code: int) -> dict[str, dict[str, str]]:
    """What the doctor finds, by name, and of one name the worst; ``code`` is the exit code that it has to give."""
    ran = world.run("doctor", "--json")
    assert ran.exit_code == code, ran.stdout
    assert "hidden" not in ran.stdout
    order = ["ok", "warn", "fail"]
    found = sorted(json.loads(ran.stdout), key=lambda check: order.index(check["level"]))
    assert all(check["advice"] for check in found if check["level"] != "ok")
    return {check["name"]: check for check in found}
