"""On what it was measured: processor, kernel, disk, versions."""

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

import redis
from msgspec import Struct

from benchmarks.baselines.postgres_server import PostgresMissingError
from benchmarks.baselines.postgres_server import version as postgres_version
from gift_ledger.bench.latencies import Latencies

SYNCS: Final = 300
SYNC_BYTES: Final = 4_096
IDLE_SECONDS: Final = 3.0
PACKAGES: Final = (
    *("ray", "litestar", "uvicorn", "uvloop", "httptools", "msgspec", "redis", "hiredis", "aiokafka", "asyncpg"),
)


class Machine(Struct, frozen=True, kw_only=True):
    """All of it, in words."""

    lines: list[tuple[str, str]]
    """What, and its value."""


def look(folder: Path, redis_url: str | None) -> Machine:
    """Look at this machine, the disk of a folder, and the server that keeps the ledger, if one runs."""
    p50, p99 = sync_latency(folder)
    lines = [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("kernel", platform.release()),
        ("busy while nothing is measured", f"{busy_share(IDLE_SECONDS):.0%} of all cores"),
        ("disk", f"{SYNC_BYTES} bytes and `fdatasync`: p50 {p50:.2f} ms, p99 {p99:.2f} ms"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{package} {version(package)}" for package in PACKAGES)),
        *([] if redis_url is None else [("log", _server(redis_url))]),
        ("PostgreSQL", _postgres()),
        ("wrk", _wrk()),
    ]
    return Machine(lines=lines)


def busy_share(seconds: float) -> float:
    """How much of all processors is taken right now, by whomever: what the idle systems and the neighbours cost."""
    before = _ticks()
    time.sleep(seconds)
    idle, total = (after - earlier for after, earlier in zip(_ticks(), before, strict=True))
    return 1 - idle / total


def _ticks() -> tuple[int, int]:
    """Idle ticks, and all ticks, of all processors since the start."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def sync_latency(folder: Path) -> tuple[float, float]:
    """Milliseconds that a small write takes until it is on disk: median and 99th percentile."""
    latencies, block = Latencies(), b"x" * SYNC_BYTES
    path = folder / "sync"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(SYNCS):
            began = time.monotonic_ns()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            latencies.add(time.monotonic_ns() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return latencies.percentile_ms(50), latencies.percentile_ms(99)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _server(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
        synced = client.config_get("appendfsync")["appendfsync"]
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return f"{name}, appendfsync {synced}"


def _postgres() -> str:
    try:
        return postgres_version()
    except PostgresMissingError as error:
        return str(error)


def _wrk() -> str:
    if shutil.which("wrk") is None:
        return "missing"
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S607
    return said.splitlines()[0].partition("Copyright")[0].strip() if said else "unknown"
