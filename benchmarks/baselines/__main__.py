"""``python -m benchmarks.baselines NAME``: fill, serve, say where, and stop on SIGTERM.

Served by the gateway's own server with its settings; one process, beside the store, on a core of its own as the
product's gateway.
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from litestar.types import ASGIApp

from actors.cores import cores_apart, stay_on
from benchmarks.baselines.asgi import asgi
from benchmarks.baselines.noop import noop
from benchmarks.baselines.place import KEY_VARIABLE, Place
from benchmarks.baselines.postgres import postgres
from benchmarks.baselines.redis_lua import redis_lua
from gateway.server import serve
from gateway.settings import GatewaySettings

BASELINES: Final[dict[str, Callable[[Place], AbstractAsyncContextManager[ASGIApp]]]] = {
    "postgres": postgres,
    "redis-lua": redis_lua,
    "noop": noop,
    "asgi": asgi,
}


def main() -> None:
    """Run one until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baselines", description=__doc__)
    parser.add_argument("name", choices=BASELINES)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--certificates", type=int, default=1_000)
    parser.add_argument("--kafka", default="", help="broker for the relay of the outbox")
    given = parser.parse_args()
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        sys.exit(f"Set {KEY_VARIABLE} to the API key that is to be valid.")
    place = Place(folder=given.folder, key=key, certificates=given.certificates, kafka=given.kafka)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(given.name, place))


async def _run(name: str, place: Place) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def ready(url: str) -> None:
        print(msgspec.json.encode({"url": url}).decode(), flush=True)

    async with BASELINES[name](place) as app:
        gc.collect()
        gc.freeze()
        if (cores := cores_apart(shards=1)) is not None:
            stay_on(cores[0])
        await serve(app, GatewaySettings(port=0), stop, ready)


if __name__ == "__main__":
    main()
