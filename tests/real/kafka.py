"""A real Apache Kafka broker: one node in KRaft mode, on loopback, from the jars that `make kafka` fetches."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.real.process import POLL_SECONDS, ServerFailedError, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

JARS: Final = Path(__file__).resolve().parents[2] / ".cache" / "kafka"
LOGGING: Final = Path(__file__).resolve().parent / "kafka_server" / "log4j2.properties"
CLUSTER_ID: Final = "Z2lmdC1sZWRnZXItdGVzdA"  # any 16 bytes in base64
FORMAT_SECONDS_MAX: Final = 60.0
START_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 60.0
REQUEST_SECONDS_MAX: Final = 60.0
FENCED: Final = 38
"""Code of Kafka's refusal to make a topic while no broker has been heard of for a second, as on a busy machine."""

# Less than Kafka's own distribution asks for: it lives for a test run, and its start is what is waited for.
JAVA_OPTIONS: Final = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{broker_port},LINKED://127.0.0.1:{linked_port},CONTROLLER://127.0.0.1:{controller_port}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker_port},LINKED://127.0.0.1:{link_port}{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LINKED:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# A group is ready as soon as its first member is there.
group.initial.rebalance.delay.ms=0
# A broker that was killed is let in again after this, not after nine seconds.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
"""


def kafka_missing() -> str | None:
    """Return what a real broker lacks on this machine, and how to get it; None if nothing."""
    if shutil.which("java") is None:
        return "no java: install a Java 17 runtime"
    if not any(JARS.glob("kafka_2.13-*.jar")):
        return "no Kafka: fetch it with `make kafka`"
    return None


class RealKafka:
    """A broker with a data folder and loopback ports of its own. It takes about two seconds to start.

    `start`, `kill`, `stop` and `restart` block: a test with a running event loop calls them through
    `asyncio.to_thread`.

    Args:
        directory: Where its data and its log live. Started again on it, it has the topics it had.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broker_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.broker_port}"
        self.linked_port = free_port()
        """A second port, for those who reach it over a link."""
        self.link_port = self.linked_port
        """Where these find that port; to be set before the first start."""
        self._properties = directory / "server.properties"
        java = shutil.which("java") or "java"
        self._java = (java, *JAVA_OPTIONS, f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{JARS}/*")
        self.process = ServerProcess([*self._java, "kafka.Kafka", str(self._properties)], directory)

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self.process.running

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServerFailedError: It could not be started; the message says what Kafka said.
        """
        if not self._properties.exists():
            self._format()
        self.process.start(self._answers(), START_SECONDS_MAX)

    def wait(self) -> None:
        """Wait until a broker that runs takes part again: one that stood still was shut out meanwhile.

        Raises:
            ServerFailedError: It does not.
        """
        answers, deadline = self._answers(), time.monotonic() + START_SECONDS_MAX
        while not answers():
            if time.monotonic() > deadline:
                raise ServerFailedError(f"Kafka runs, and does not answer in {START_SECONDS_MAX} s")
            time.sleep(POLL_SECONDS)  # a server that is shut out has no event to wait for

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()

    def stop(self) -> None:
        """End it in good order; the data stays."""
        self.process.stop(STOP_SECONDS_MAX)

    def restart(self) -> None:
        """Kill it and start it again on the same data and ports."""
        self.kill()
        self.start()

    async def create_topics(self, *names: str, partitions: int = 1, compacted: Collection[str] = ()) -> None:
        """Create topics, those in `compacted` with log compaction.

        Raises:
            ServerFailedError: One could not be created, for instance because it exists.
        """
        wanted = [
            NewTopic(name, partitions, 1, topic_configs={"cleanup.policy": "compact"} if name in compacted else {})
            for name in names
        ]
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap, request_timeout_ms=int(REQUEST_SECONDS_MAX * 1_000)
        )
        await admin.start()
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                while True:
                    answers = (await admin.create_topics(wanted)).topic_errors
                    fenced = {name for name, code, *_ in answers if code == FENCED}
                    if not fenced:
                        break
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            await admin.close()
        refused = [(name, message) for name, code, message, *_ in answers if code != 0]
        if refused:
            raise ServerFailedError(f"topics not created: {refused}")

    def end_of(self, topic: str) -> int:
        """How many records a topic was ever given."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "nobody"})
        try:
            partitions = consumer.list_topics(topic, timeout=REQUEST_SECONDS_MAX).topics[topic].partitions
            places = [TopicPartition(topic, number) for number in partitions]
            return sum(consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS_MAX)[1] for place in places)
        finally:
            consumer.close()

    def _answers(self) -> Callable[[], bool]:
        """A function that tells whether there is a broker now."""
        # Quiet, because it is refused until the broker listens.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "reconnect.backoff.max.ms": 100, "log_level": 0})

        def answers() -> bool:
            try:
                return bool(admin.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        return answers

    def _own_properties(self, listeners: str = "") -> str:
        """What it is told; with further ``listeners``, each with a comma before it."""
        return PROPERTIES.format(
            broker_port=self.broker_port,
            linked_port=self.linked_port,
            link_port=self.link_port,
            controller_port=free_port(),
            listeners=listeners,
            data=self.directory / "data",
        )

    def _format(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(self._own_properties())
        formatted = subprocess.run(  # noqa: S603 - the command is made here
            [*self._java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)],
            capture_output=True,
            text=True,
            timeout=FORMAT_SECONDS_MAX,
            check=False,
        )
        if formatted.returncode != 0:
            self._properties.unlink()
            raise ServerFailedError(f"Kafka's storage was not formatted:\n{formatted.stdout}{formatted.stderr}")
