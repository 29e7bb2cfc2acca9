"""Everything that is measured, up and filled: the product and its rivals, of which one at a time is under load."""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from msgspec import Struct

from benchmarks.memory import RedisMemory, resident_bytes
from benchmarks.product import NAME, Product
from benchmarks.rival import Rival, RivalError
from benchmarks.seed import code
from benchmarks.wrk import load
from gift_ledger.bench.requests import Address

POSTGRES: Final = "postgres"
REDIS_LUA: Final = "redis-lua"
NOOP: Final = "noop"
ASGI: Final = "asgi"
RIVALS: Final = (REDIS_LUA, POSTGRES, NOOP, ASGI)

WARM_UP_CONNECTIONS: Final = 64


class Options(Struct, frozen=True, kw_only=True):
    """How much is measured. Durations in seconds."""

    rounds: int = 5
    seconds: float = 4.0
    """Of each measurement."""
    sustained_seconds: float = 60.0
    """Of pairs at a given rate."""
    latency_seconds: float = 12.0
    """Of each round at a given rate: five of them make a minute."""
    certificates: int = 100_000
    restart_certificates: int = 1_000_000


class Stage:
    """A ``with`` block in which everything runs.

    Args:
        folder: for data and output.
        options: how much.
        rivals: names of the baselines.
        say: gets a line whenever something was done.
    """

    def __init__(self, folder: Path, options: Options, rivals: tuple[str, ...], say: Callable[[str], None]) -> None:
        self.folder: Final = folder
        self.options: Final = options
        self.say: Final = say
        self.product: Final = Product(folder / NAME)
        self.missing: Final[dict[str, str]] = {}
        """Rivals that do not run, and why."""
        self._wanted = rivals
        self._rivals: dict[str, Rival] = {}
        self._closing = ExitStack()
        self._runs = 0
        self.redis_bytes_empty = 0
        self.shard_bytes_empty = 0
        self.shard_pid = 0

    def __enter__(self) -> Self:
        with self._closing:
            self._start_product()
            self._start_rivals()
            self._closing = self._closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def systems(self, *names: str) -> list[str]:
        """The product, and those of these rivals that run."""
        return [NAME, *(name for name in names if name in self._rivals)]

    def address(self, system: str) -> Address:
        """Where a system is asked."""
        return self.product.address if system == NAME else self._rivals[system].address

    def run_name(self) -> str:
        """Something new each time, for idempotency keys to begin with."""
        self._runs += 1
        return f"{time.time_ns() // 1_000_000}-{self._runs}"

    def random_codes(self) -> Callable[[int], str]:
        """Codes drawn at random."""
        draw, count = random.Random(self._runs).randrange, self.options.certificates  # noqa: S311 - no secret
        return lambda _: code(draw(count))

    def warm_up(self) -> None:
        """Load each system for a moment, so that all have loaded what they load once."""
        for system in self.systems(*RIVALS):
            load(
                self.address(system),
                "authorize",
                certificates=self.options.certificates,
                connections=WARM_UP_CONNECTIONS,
                seconds=self.options.seconds,
            )

    def _start_product(self) -> None:
        product = self.product
        self._closing.callback(product.stop)
        began = time.monotonic()
        product.start()
        self.say(f"{NAME}: up after {time.monotonic() - began:.1f} s")
        self.redis_bytes_empty = RedisMemory(product.endpoints.redis).used()
        self.shard_pid = next(int(actor["pid"]) for actor in product.actors() if actor["kind"] == "shard")
        began = time.monotonic()
        product.fill(self.options.certificates)
        self.say(f"{NAME}: {self.options.certificates} certificates after {time.monotonic() - began:.1f} s")
        self.shard_bytes_empty = resident_bytes(self.shard_pid)

    def _start_rivals(self) -> None:
        for name in self._wanted:
            kafka = self.product.endpoints.kafka if name == POSTGRES else ""
            rival = Rival(name, self.folder / "rivals", certificates=self.options.certificates, kafka=kafka)
            self._closing.callback(rival.stop)
            began = time.monotonic()
            try:
                rival.start()
            except RivalError as error:
                self.missing[name] = str(error)
                self.say(f"{error}: left out")
                continue
            self._rivals[name] = rival
            self.say(f"{name}: up and filled after {time.monotonic() - began:.1f} s")
