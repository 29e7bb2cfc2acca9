"""`python -m tests.fuzz`: search for so long, with examples that nobody has seen, and say what was found.

The decoders and the service are searched at the same time, each by a process of its own. Both go on from one seed: with
the same one the same examples are made up again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from gateway.access import Role
from tests.fuzz.caller import NOBODY, Found, call, unreached
from tests.fuzz.stage import fuzzed
from tests.real.redis import RealServer, redis_binary

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS_DEFAULT: Final = 1_200.0
EXAMPLES: Final = 100
"""Requests of each call in one turn; there are turns until the time is over."""
SHARE: Final = 0.8
"""Of a role's time that is given to the search; the rest is for what comes before it."""
ROUND_SECONDS_MIN: Final = 30.0
"""With less time left no further turn of the decoders begins."""
REACH_SECONDS_MIN: Final = 60.0
"""With less time a role need not have got everywhere."""
CALLERS: Final = [*Role, None]


def main() -> int:
    """Search as the command line asks; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="search for so long")
    parser.add_argument("--seed", type=int, default=None, help="begin with this seed; otherwise chance decides")
    parser.add_argument("--only", choices=["decoders", *(role or NOBODY for role in CALLERS)], help="search one part")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    sys.stdout.write(f"Seed {seed}, for {asked.seconds:.0f} s: `make fuzz SEED={seed}` makes up the same again.\n")
    sys.stdout.flush()
    return asyncio.run(search(seed, asked.seconds, asked.only))


async def search(seed: int, seconds: float, only: str | None) -> int:
    """Search both halves; gives the exit code."""
    end = time.monotonic() + seconds
    callers = [role for role in CALLERS if only in {None, role or NOBODY}]
    async with asyncio.TaskGroup() as group:
        decoders = group.create_task(search_decoders(seed, end)) if only in {None, "decoders"} else None
        service = group.create_task(search_service(seed, end, callers))
    failures = service.result() + (0 if decoders is None else decoders.result())
    sys.stdout.write(f"{failures} failures.\n" if failures else "Nothing was found.\n")
    return 1 if failures else 0


async def search_decoders(seed: int, end: float) -> int:
    """Search the properties of the decoders with one seed after the other; gives how often something was found."""
    failures = rounds = 0
    environment = os.environ | {"HYPOTHESIS_PROFILE": "search"}
    while rounds == 0 or time.monotonic() + ROUND_SECONDS_MIN < end:
        command = [sys.executable, "-m", "pytest", "tests/fuzz", "-q", "--timeout", "0", "-p", "no:cacheprovider"]
        command += ["--ignore", "tests/fuzz/test_service.py", "--hypothesis-seed", str(seed + rounds), "--tb", "short"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        left = max(end - time.monotonic(), ROUND_SECONDS_MIN)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), left)
        except TimeoutError:
            process.kill()
            await process.wait()
            break
        rounds += 1
        if process.returncode != 0:
            failures += 1
            _tell(
                f"decoders, seed {seed + rounds - 1}: `make fuzz SEED={seed + rounds - 1} ARGS='--only decoders'`",
                output.decode(),
            )
    sys.stdout.write(f"decoders: {rounds} whole turns from seed {seed}, {failures} with failures\n")
    return failures


async def search_service(seed: int, end: float, callers: list[Role | None]) -> int:
    """Call the service with each key in its turn; gives how many of them found something."""
    failures = 0
    for place, role in enumerate(callers):
        seconds = (end - time.monotonic()) / (len(callers) - place)
        found = await called(seed, seconds, role)
        name = role or NOBODY
        missed = unreached(role, found.reached) if seconds >= REACH_SECONDS_MIN else []
        sys.stdout.write(f"{name}: {sum(found.reached.values())} answers, {_statuses(found.reached)}\n")
        sys.stdout.flush()
        if found.failed or missed:
            failures += 1
            told = found.output + "\n".join(missed)
            _tell(f"{name}: `make fuzz SEED={seed} SECONDS={seconds:.0f} ARGS='--only {name}'`", told)
    return failures


async def called(seed: int, seconds: float, role: Role | None) -> Found:
    """Call the service, on a Redis of its own, for about so long."""
    binary = redis_binary()
    if binary is None:
        sys.exit("There is no redis-server. Install it (Debian: apt-get install redis-server).")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        server = RealServer(binary, folder)
        await asyncio.to_thread(server.start)
        try:
            async with fuzzed(server.url, folder / "run", role) as served:
                budget = max(1, round(seconds * SHARE))
                options = ["--seed", str(seed), "--max-examples", str(EXAMPLES), "--max-time", str(budget)]
                return await call(served, role, folder, options)
        finally:
            await asyncio.to_thread(server.kill)


def _statuses(reached: dict[str, int]) -> str:
    counts: dict[str, int] = {}
    for name, count in reached.items():
        if ": " not in name:  # items of bulk calls stand for themselves
            status = name.rpartition(" ")[2]
            counts[status] = counts.get(status, 0) + count
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))


def _tell(headline: str, output: str) -> None:
    sys.stdout.write(f"\nFOUND by {headline}\n{output}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
