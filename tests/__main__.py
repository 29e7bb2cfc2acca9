"""``make test``: all tests, in two runs at once.

Those on a whole stack wait most of the time, for processes that start and for clocks; the others compute. So both take
hardly longer together than the first ones alone, and those that compute give way to those for whom a clock runs. Behind
those that compute come some that need no stack, but a server or two: the first run has the most to do. What it says is
shown as it comes, the other's after it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = ("tests/unit", "tests/property", "tests/simulation", "tests/contract", "tests/fuzz")
ON_FEW_SERVERS = (
    "tests/security/test_*.py",
    "tests/integration/test_http*.py",
    "tests/integration/test_backup.py",
    "tests/integration/test_redis*.py",
    "tests/integration/test_keys_on_two_gateways.py",
    "tests/integration/test_audit.py",
    "tests/integration/test_import_codes.py",
    "tests/integration/test_restored_acts.py",
    "tests/integration/test_baselines.py",
    "tests/integration/test_compose_redis.py",
    "tests/integration/test_forgotten_for_good.py",
    "tests/integration/test_identity_provider.py",
    "tests/integration/test_jwks_document.py",
    "tests/integration/test_peppers_on_two_gateways.py",
    "tests/integration/test_verify*.py",
)
TIMED = frozenset({"tests/security/test_cvc_timing.py"})
"""It measures how long answers take, and gives way to nobody: starved, a gateway answers later than it means to."""


def _files(pattern: str) -> list[str]:
    return sorted({str(path) for path in Path().glob(pattern)} - TIMED)


COMPUTING = (*FOLDERS, *(path for pattern in ON_FEW_SERVERS for path in _files(pattern)))
GIVING_WAY = ("nice", "-n", "5")
"""A quarter of a processor is left to those that compute, however much the others want."""
PYTEST = (sys.executable, "-m", "coverage", "run", "-m", "pytest")


def main() -> int:
    """Run all tests; 0 if both runs were green."""
    others = [f"--ignore={folder}" for folder in COMPUTING]
    with tempfile.TemporaryFile() as said:
        # a cache for each: both would write theirs to the same files
        computing = subprocess.Popen(  # noqa: S603 - our own command
            [*GIVING_WAY, *PYTEST, "-o", "cache_dir=.pytest_cache/computing", *COMPUTING],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            waiting = subprocess.run([*PYTEST, *others], check=False).returncode  # noqa: S603 - our own command
        except BaseException:
            computing.terminate()
            raise
        finally:
            ended = computing.wait()
            said.seek(0)
            sys.stdout.write(said.read().decode(errors="replace"))
            sys.stdout.flush()
    return waiting or ended


if __name__ == "__main__":
    missing = [one for one in FOLDERS if not Path(one).is_dir()]
    missing += [one for one in ON_FEW_SERVERS if not _files(one)]
    sys.exit(f"no such tests: {', '.join(missing)}" if missing else main())
