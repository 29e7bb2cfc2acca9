"""Durable authorizations a second, through HTTP, on a running stack: ``python -m benchmarks.authorize``.

The load comes from ``wrk`` (Debian: apt-get install wrk) in a closed loop, on the same machine. The ledger is filled
first, the codes are drawn at random, each request has an idempotency key. Bounded in time; it stops by itself.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.seed import seed
from gift_ledger.endpoints import Endpoints
from gift_ledger.settings import Settings
from persistence.redis_log import RedisLog

SCRIPT = Path(__file__).with_name("authorize.lua")
THREADS = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Fill, load, report; the exit code is 1 if any request was refused or lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.authorize", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(".gift-ledger"), help="of the running stack")
    parser.add_argument("--certificates", type=int, default=100_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--seconds", type=int, default=10, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)
    if shutil.which("wrk") is None:
        print("There is no wrk. Install it (Debian: apt-get install wrk).")
        return 2
    endpoints = Endpoints.read(given.data_dir)
    began = time.monotonic()
    made = asyncio.run(_fill(endpoints, given.certificates))
    print(f"{given.certificates} certificates, {made} of them made in {time.monotonic() - began:.1f} s")
    key = json.loads((given.data_dir / "keys.json").read_text())["pos"]
    failed = 0
    for round_number in range(1, given.rounds + 1):
        for connections in given.connections:
            found = _load(endpoints.http, key, given.certificates, connections, given.seconds)
            failed += found["refused"] + found["socketErrors"]
            rate = found["requests"] / found["seconds"]
            print(
                f"round {round_number}, {connections:>3} connections: {rate:>8,.0f}/s  "
                f"p50 {found['p50Ms']} ms  p99 {found['p99Ms']} ms  p99.9 {found['p999Ms']} ms  "
                f"refused {found['refused']}  lost {found['socketErrors']}",
                flush=True,
            )
    return 1 if failed else 0


async def _fill(endpoints: Endpoints, count: int) -> int:
    log = await RedisLog.open(Settings().at(endpoints).storage())
    try:
        return await seed(log, count, time.time_ns() // 1_000_000)
    finally:
        await log.close()


def _load(http: str, key: str, certificates: int, connections: int, seconds: int) -> dict[str, Any]:
    run = str(time.time_ns() // 1_000_000)
    command = ["wrk", f"--threads={THREADS}", f"--connections={connections}", f"--duration={seconds}s", "--latency"]
    command += [f"--script={SCRIPT}", http, "--", key, str(certificates), run]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)  # noqa: S603
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
