"""A start on a full ledger: how soon the first authorization is served, and what a cold certificate costs."""

import asyncio
import http.client
import random
import shutil
import time
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from benchmarks.product import Product, ProductError, fill
from benchmarks.rounds import figure
from benchmarks.section import MS, Section, Table, Target
from benchmarks.seed import code
from benchmarks.stage import Options
from benchmarks.wrk import LoadError
from gift_ledger.bench.generator import Generator
from gift_ledger.bench.requests import BODY, Address, Authorizations
from gift_ledger.bench.schedule import AsSoonAsPossible
from gift_ledger.embedded.folder import locked
from gift_ledger.embedded.valkey import EmbeddedValkey, free_port
from gift_ledger.settings import Settings

FIRST_SECONDS_MAX: Final = 10.0
COLD_P99_MS_MAX: Final = 20.0
COLD_CALLS: Final = 5_000
COLD_SECONDS_MAX: Final = 60.0
_GIVE_UP_SECONDS: Final = 180.0
_ASK_SECONDS: Final = 0.02
_CREATED: Final = 201


def restart(folder: Path, options: Options) -> Section:
    """Measure, on a stack of its own; nothing else should run meanwhile."""
    count = options.restart_certificates
    port = free_port()
    product = Product(folder / "restart", {"HTTP_PORT": str(port)})
    try:
        filled = asyncio.run(_filled(product.data_dir, count))
        began = time.monotonic()
        product.launch()
        _first_authorization(product, port, began, count)
        first = time.monotonic() - began
        address = Address("127.0.0.1", port, product.key("pos"))
        numbers = random.Random(count).sample(range(1, count), min(COLD_CALLS, count - 1))  # noqa: S311 - no secret
        plan = Authorizations(address, lambda number: code(numbers[number]), "cold")
        schedule = AsSoonAsPossible(COLD_SECONDS_MAX, len(numbers))
        cold = Generator(address, plan, schedule, connections=1).run()
        if cold.refused or cold.lost:
            raise LoadError(f"cold certificates: {cold.refused} were refused, {cold.lost} lost: {cold.refusals}")
    finally:
        product.stop()
        shutil.rmtree(product.data_dir, ignore_errors=True)
    p50, p99 = (cold.latencies.percentile_ms(percent) for percent in (50, 99))
    return Section(
        title="Restart on a full ledger",
        how=(
            f"A ledger with {figure(count)} active certificates, filled in {filled:.0f} s. From the start of "
            "`gift-ledger up` to the first authorization that is answered; then the first call on each of "
            f"{figure(len(cold.latencies))} others, drawn at random, one after the other."
        ),
        tables=[
            Table(
                headings=("", ""),
                rows=[
                    ("s to the first authorization", figure(first)),
                    ("cold certificate, p50 ms", figure(p50)),
                    ("cold certificate, p99 ms", figure(p99)),
                ],
            )
        ],
        targets=[
            Target(what="start to first answer", measured=first, bound=FIRST_SECONDS_MAX, unit="s", at_most=True),
            Target(what="p99, cold certificate", measured=p99, bound=COLD_P99_MS_MAX, unit=MS, at_most=True),
        ],
    )


async def _filled(data_dir: Path, count: int) -> float:
    """Fill a ledger that no stack runs on; gives how many seconds it took."""
    began = time.monotonic()
    settings = Settings(data_dir=str(data_dir))
    async with locked(data_dir) as lock, EmbeddedValkey(data_dir / "valkey", settings.run_path, lock) as valkey:
        await fill(replace(settings, redis_url=valkey.fast_url), count)
    return time.monotonic() - began


def _first_authorization(product: Product, port: int, began: float, count: int) -> None:
    """Ask again and again until one is answered with 201."""
    while not _authorized(product, port, count):
        product.require_alive()
        if time.monotonic() - began > _GIVE_UP_SECONDS:
            raise ProductError(f"no authorization was served within {_GIVE_UP_SECONDS:g} s")
        time.sleep(_ASK_SECONDS)


def _authorized(product: Product, port: int, count: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {product.key('pos')}", "Content-Type": "application/json"}
        connection.request("POST", f"/certificates/{code(count // 2)}/authorize", BODY, headers)
        return connection.getresponse().status == _CREATED
    except (OSError, ValueError, http.client.HTTPException):  # not listening yet, or its keys are not there yet
        return False
    finally:
        connection.close()
