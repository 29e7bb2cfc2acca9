"""Plays the run book on a large ledger: a real Valkey, a real Kafka, the commands as operators run them.

Writes a table with the exit code of each, its seconds, those of the processor, and its memory. Ends with 0 if every
exit code was as it has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from actors.host import wall_clock
from gateway.bridge_settings import BridgeSettings
from gateway.relay import OutboxRelay
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from tests.contract.histories import Writer
from tests.real.kafka import RealKafka, kafka_missing
from tests.real.redis import RealServer, valkey_binary
from tests.recovery.filling import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM: Final = str(Path(sys.executable).with_name("gift-ledger"))
COMMAND_SECONDS_MAX: Final = 900.0
RELAY_POLL_SECONDS: Final = 0.2
PARTITIONS: Final = 6
AFTER: Final = 50
"""Certificates that are sold after the backup: what a restore has to find out."""


class Play:
    """Servers, and the commands on them.

    Args:
        folder: of all data.
        certificates: how many.
    """

    def __init__(self, folder: Path, certificates: int) -> None:
        self._folder = folder
        self._count = certificates
        self._file = str(folder / "monday.backup")
        binary = valkey_binary()
        assert binary is not None
        self._first = RealServer(binary, folder / "first")
        self._second = RealServer(binary, folder / "second")
        self._kafka = RealKafka(folder / "kafka")
        self._bridge = BridgeSettings(bootstrap=self._kafka.bootstrap)
        self.wrong = 0

    def run(self) -> None:
        """All of it."""
        with ExitStack() as running:
            for server in (self._first, self._second):
                server.directory.mkdir()
                running.callback(server.kill)
                server.start()
            running.callback(self._kafka.kill)
            self._start_kafka()
            asyncio.run(self._fill())
            _say("| command | exit | seconds | of processor | MB |\n|---|---|---|---|---|")
            self._command(self._first, 0, "verify", "--processes", "1")
            self._command(self._first, 0, "verify")
            self._command(self._first, 0, "backup", self._file)
            self._command(self._first, 0, "verify", "--backup", self._file)
            self._command(self._first, 0, "reconcile")
            asyncio.run(self._sell_more())
            self._command(self._second, 1, "restore", self._file)
            self._command(self._second, 1, "verify")
            self._command(self._second, 1, "reconcile")
            self._lose_kafka()
            self._command(self._first, 1, "reconcile")
            self._command(self._first, 0, "reconcile", "--republish")
            self._command(self._first, 0, "reconcile")

    def _start_kafka(self) -> None:
        names = self._bridge
        self._kafka.start()
        topics = (names.sales_orders, names.payments, names.states, names.transactions, names.dead_letters)
        asyncio.run(self._kafka.create_topics(*topics, partitions=PARTITIONS, compacted=(names.states,)))

    def _lose_kafka(self) -> None:
        """A broker that has nothing any more."""
        self._kafka.kill()
        self._kafka = RealKafka(self._folder / "kafka-2")
        self._bridge = BridgeSettings(bootstrap=self._kafka.bootstrap)
        self._start_kafka()

    async def _fill(self) -> None:
        log = await RedisLog.open(StorageSettings(redis_url=self._first.url))
        began = time.monotonic()
        await fill(log, self._count, wall_clock())
        _say(f"Filled in {time.monotonic() - began:.1f} s.")
        await self._publish(log)
        await log.close()

    async def _sell_more(self) -> None:
        log = await RedisLog.open(StorageSettings(redis_url=self._first.url))
        writer = Writer(log)
        await writer.sell("SO-AFTER", *(f"GC-AFTER-{number:05}" for number in range(AFTER)))
        await self._publish(log)
        await log.close()

    async def _publish(self, log: RedisLog) -> None:
        """Have a relay publish all that waits."""
        stop = asyncio.Event()
        relay = asyncio.create_task(OutboxRelay(log, self._bridge, wall_clock).run(stop))
        while sum(await log.outbox_sizes()):  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(RELAY_POLL_SECONDS)
        stop.set()
        await relay

    def _command(self, server: RealServer, expected: int, *arguments: str) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [PROGRAM, *arguments], env=self._environment(server), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        began = time.monotonic()
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        seconds, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
        process.returncode = code
        words = " ".join("FILE" if one == self._file else one for one in arguments)
        processor, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1_024
        _say(f"| `{words}` | {code} | {seconds:.1f} | {processor:.1f} | {megabytes:.0f} |")
        if code != expected:
            self.wrong += 1
            _say(f"Exit code {expected} was expected:\n{said[-2_000:]}")

    def _environment(self, server: RealServer) -> Mapping[str, str]:
        own = {
            "REDIS_URL": server.url,
            "KAFKA_BOOTSTRAP": self._kafka.bootstrap,
            "DATA_DIR": str(self._folder / "data"),
        }
        return os.environ | {f"GIFT_LEDGER_{name}": value for name, value in own.items()}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Play, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=100_000)
    count = parser.parse_args().certificates
    if (missing := kafka_missing()) is not None:
        _say(missing)
        return 2
    with TemporaryDirectory(prefix="gift-ledger-recovery-") as folder:
        play = Play(Path(folder), count)
        play.run()
    return 1 if play.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
