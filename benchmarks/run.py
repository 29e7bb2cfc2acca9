"""``make bench``: starts everything, measures in turns, writes the report and its plots, and leaves nothing running."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import SubprocessError
from types import FrameType
from typing import Final

import httpx
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from benchmarks import machine, plots
from benchmarks.product import ProductError
from benchmarks.report import report
from benchmarks.rounds import figure
from benchmarks.scenarios.authorize import authorize
from benchmarks.scenarios.bulk import bulk
from benchmarks.scenarios.hot import hot
from benchmarks.scenarios.kafka_in import kafka_in
from benchmarks.scenarios.latency import latency
from benchmarks.scenarios.memory import memory
from benchmarks.scenarios.pairs import pairs
from benchmarks.scenarios.profile import profile
from benchmarks.scenarios.restart import restart
from benchmarks.section import Section, skipped
from benchmarks.stage import RIVALS, Options, Stage
from benchmarks.wrk import ADVICE, LoadError, installed
from gift_ledger.bench.wire import WireError
from persistence.errors import StorageError

# memory comes first: it counts from a shard that has met no certificate yet
ON_STAGE: Final[dict[str, Callable[[Stage], Section]]] = {
    "memory": memory,
    "authorize": authorize,
    "hot": hot,
    "pairs": pairs,
    "bulk": bulk,
    "latency": latency,
    "kafka-in": kafka_in,
    "profile": profile,
}
RESTART: Final = "restart"
SCENARIOS: Final = (*ON_STAGE, RESTART)
REPORT: Final = Path(__file__).with_name("report.md")
PICTURES: Final = Path(__file__).parents[1] / "docs" / "images"
MINUTES_MAX: Final = 25.0
"""What has not begun by then is left out, and the report says so."""
EXTRA_SECONDS: Final = 180
"""For what has begun by then; after that all of it ends."""

FAILURES: Final = (
    LoadError,
    ProductError,
    WireError,
    OSError,
    SubprocessError,
    StorageError,
    httpx.HTTPError,
    KafkaException,
    KafkaError,
)
"""What can go wrong in a scenario without the others having to suffer."""


class OverdueError(Exception):
    """It takes longer than it may."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code is 1 if something could not be measured."""
    given = _arguments(argv)
    if not installed():
        print(ADVICE)
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGALRM, _overdue)
    signal.alarm(round(given.minutes * 60) + EXTRA_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="gift-ledger-bench-"))
    run = Run(folder, _options(given), tuple(given.rivals), given.minutes)
    try:
        run.measure(given.only)
        run.write(given.report, given.pictures)
    except KeyboardInterrupt:
        print("stopped; nothing was written")
        return 130
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if run.failed else 0


class Run:
    """One run of the benchmarks.

    Args:
        folder: for data, emptied by the caller.
        options: how much is measured.
        rivals: whom the product is compared with.
        minutes_max: after so long no scenario begins.
    """

    def __init__(self, folder: Path, options: Options, rivals: tuple[str, ...], minutes_max: float) -> None:
        self._folder = folder
        self._options = options
        self._rivals = rivals
        self._began = time.monotonic()
        self._ends = self._began + 60 * minutes_max
        self._machine = machine.Machine(lines=[])
        self._sections: dict[str, Section] = {}
        self._left_out: list[str] = []
        self.failed = False

    def measure(self, names: Sequence[str]) -> None:
        """Carry out these scenarios."""
        on_stage = [name for name in ON_STAGE if name in names]
        if on_stage:
            with Stage(self._folder, self._options, self._rivals, self._say) as stage:
                self._machine = machine.look(self._folder, stage.product.endpoints.redis)
                for name in on_stage:
                    if name != "memory" and not self._sections.keys() - {"memory"}:
                        stage.warm_up()
                    self._scenario(name, partial(ON_STAGE[name], stage))
                self._left_out = list(stage.missing.values())
        else:
            self._machine = machine.look(self._folder, None)
        if RESTART in names:
            self._scenario(RESTART, partial(restart, self._folder, self._options))

    def write(self, path: Path, pictures: Path) -> None:
        """Write the report and its plots."""
        shown = {}
        for name, draw, file in (
            ("authorize", plots.throughput, plots.THROUGHPUT),
            ("latency", plots.latency, plots.LATENCY),
        ):
            section = self._sections.get(name)
            if section is not None and section.series:
                draw(section.series, pictures / file)
                shown[section.title] = os.path.relpath(pictures / file, path.parent)
        sections = list(self._sections.values())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report(sections, self._machine, datetime.now(UTC), plots=shown, left_out=self._left_out))
        for target in (target for section in sections for target in section.targets):
            print(f"{'met   ' if target.met else 'missed'} {target.what}: {figure(target.measured)} {target.unit}")
        print(f"{path}, after {time.monotonic() - self._began:.0f} s")

    def _scenario(self, name: str, measure: Callable[[], Section]) -> None:
        if time.monotonic() > self._ends:
            self._sections[name] = skipped(name, "time was up.")
            self.failed = True
            return
        try:
            section = measure()
        except FAILURES as error:
            section = skipped(name, f"{type(error).__name__}: {error}")
            self._say(f"{name}: {error}")
            self.failed = True
        self._sections[name] = section

    def _say(self, line: str) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s  {line}", flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="which scenarios")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, help="whom to compare with")
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of each measurement")
    parser.add_argument("--sustained-seconds", type=float, default=usual.sustained_seconds)
    parser.add_argument("--latency-seconds", type=float, default=usual.latency_seconds)
    parser.add_argument("--certificates", type=int, default=usual.certificates)
    parser.add_argument("--restart-certificates", type=int, default=usual.restart_certificates)
    parser.add_argument("--minutes", type=float, default=MINUTES_MAX, help="after so long no scenario begins")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of the plots")
    return parser.parse_args(argv)


def _options(given: argparse.Namespace) -> Options:
    return Options(**{name: getattr(given, name) for name in Options.__struct_fields__})


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _overdue(_number: int, _frame: FrameType | None) -> None:
    raise OverdueError("It takes longer than it may; nothing was written.")


if __name__ == "__main__":
    sys.exit(main())
