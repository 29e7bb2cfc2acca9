"""The service as on several machines, with a link on every way between two parts, for faults to be put in between."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from examples.sms_gateway import SmsGateway
from tests.real.detour import FOLDER, PORTS, target
from tests.real.kafka import RealKafka
from tests.real.market import create_topics, kafka_settings
from tests.real.network import Link, Network, Place
from tests.real.redis import RealServer
from tests.real.roles import RoleStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PREFIX: Final = "rig."
SHARDS: Final = ("certificates:00", "certificates:01")
GATEWAY: Final = "tests.real.detour gateway"
"""In the command line of every gateway."""


class Rig(RoleStack):
    """Two gateways, two shards, the bridge, a Redis and a Kafka of their own.

    Args:
        directory: Where all of it keeps its data.
        network: Of its links.
        redis: Where the ledger is kept; runs.
        kafka: The broker; does not run yet.
        sms_url: The SMS gateway.
    """

    def __init__(self, directory: Path, network: Network, redis: RealServer, kafka: RealKafka, sms_url: str) -> None:
        settings = {**kafka_settings(kafka, PREFIX), "REDIS_URL": redis.url, "SMS_URL": sms_url}
        super().__init__(directory, settings)
        self.redis = redis
        self.kafka = kafka
        self.clients_gateways = [network.link(_at(port)) for port in self.ports]
        self.gateways_redis = network.link(_at(redis.port))
        self.shards_redis = network.link(_at(redis.port))
        self.bridge_kafka = network.link(_at(kafka.linked_port))
        self.gateways_shards = self._detours(network, directory / "detours")
        kafka.link_port = self.bridge_kafka.port
        self.doors = [link.port for link in self.clients_gateways]
        self.role_settings = {
            "gateway": {"REDIS_URL": _url(self.gateways_redis)},
            "shards": {"REDIS_URL": _url(self.shards_redis)},
            "bridge": {"KAFKA_BOOTSTRAP": f"127.0.0.1:{self.bridge_kafka.port}"},
        }

    def _detours(self, network: Network, folder: Path) -> list[Link]:
        folder.mkdir()
        links = {name: network.link(lambda name=name: target(folder, name)) for name in SHARDS}  # type: ignore[misc]
        ports = {name: link.port for name, link in links.items()}
        self.environment |= {FOLDER: str(folder), PORTS: json.dumps(ports), "PYTHONPATH": str(ROOT)}
        self.role_commands["gateway"] = [sys.executable, "-m", "tests.real.detour"]
        return list(links.values())


def _at(port: int) -> Callable[[], Place]:
    return lambda: ("127.0.0.1", port)


def _url(link: Link) -> str:
    return f"redis://127.0.0.1:{link.port}/0"


def running_rig(directory: Path, redis_binary: str) -> Iterator[Rig]:
    """The body of a fixture: start everything, hand it out, end it."""
    redis, kafka, sms = RealServer(redis_binary, directory / "redis"), RealKafka(directory / "kafka"), SmsGateway()
    with Network() as network, ExitStack() as running:
        running.callback(redis.kill)
        redis.start()
        rig = Rig(directory, network, redis, kafka, network.call(sms.start()))
        running.callback(lambda: network.call(sms.stop()))
        running.callback(kafka.kill)
        kafka.start()
        asyncio.run(create_topics(kafka, PREFIX))
        running.callback(rig.end)
        rig.start()
        yield rig
