"""`make soak`: load and faults for a while, then the account. It ends by itself, whatever happens."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.real.kafka import RealKafka, kafka_missing
from tests.real.market import create_topics, kafka_settings
from tests.real.process import ServerProcess, free_port
from tests.real.stack import RunningStack
from tests.soak.faults import FAULTS
from tests.soak.page import PICTURE, page
from tests.soak.plot import draw
from tests.soak.run import PREFIX, STACK_SETTINGS, Outcome, soak

SECONDS_DEFAULT: Final = 1_800.0
SMS_SECONDS_MAX: Final = 20.0
SECONDS_MIN: Final = 60.0
ACCOUNT_SECONDS_MAX: Final = 900.0
"""Selling at the beginning, and comparing at the end."""
OUT: Final = Path(__file__).resolve().parents[2] / ".cache" / "soak"


def main() -> int:
    """Run what the command line asks for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="how long traffic goes on")
    parser.add_argument("--seed", type=int, default=None, help="of traffic and faults; otherwise the time decides")
    parser.add_argument("--out", type=Path, default=OUT, help="where the page and its picture go, e.g. docs")
    asked = parser.parse_args()
    if asked.seconds < SECONDS_MIN:
        parser.error(f"in less than {SECONDS_MIN:g} s nothing can be told")
    if (missing := kafka_missing()) is not None:
        parser.error(missing)
    seed = int(time.time()) if asked.seed is None else asked.seed
    _say(f"{asked.seconds:g} s, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        outcome = run(Path(folder), asked.seconds, seed)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "soak.json").write_bytes(msgspec.json.encode(outcome))  # all that was sampled
    draw(outcome, asked.out / PICTURE)
    (asked.out / "soak.md").write_text(page(outcome))
    sys.stdout.write(f"\n{page(outcome)}\nwritten to {asked.out}/soak.md and {asked.out / PICTURE}\n")
    return 1 if outcome.wrong or outcome.grown else 0


def run(folder: Path, seconds: float, seed: int) -> Outcome:
    """Start everything in a folder, soak it, end everything."""
    kafka, sms_port = RealKafka(folder / "kafka"), free_port()
    # it keeps what it gets, and so does not belong into a process whose memory is looked at
    sms = ServerProcess([sys.executable, "-m", "examples.sms_gateway", "--port", str(sms_port)], folder / "sms")
    try:
        sms.start(lambda: b"SMS gateway at" in sms.log_path.read_bytes(), SMS_SECONDS_MAX)
        kafka.start()
        asyncio.run(create_topics(kafka, PREFIX))
        settings = {
            **kafka_settings(kafka, PREFIX),
            **STACK_SETTINGS,
            "SMS_URL": f"http://127.0.0.1:{sms_port}",
            "HTTP_PORT": str(free_port()),
        }
        stack = RunningStack(folder / "stack", settings)
        try:
            stack.start()
            limit = seconds + ACCOUNT_SECONDS_MAX
            return asyncio.run(asyncio.wait_for(soak(stack, FAULTS, seconds, seed, _say), limit))
        finally:
            stack.kill()
    finally:
        kafka.kill()
        sms.kill()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
