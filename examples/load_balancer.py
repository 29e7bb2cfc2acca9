"""The load balancer in front of the service: asks again and again whether it can take calls."""

import argparse
import asyncio
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx
import msgspec

from examples.endpoints import Endpoints, arguments
from examples.messages import Readiness
from examples.terminal import finish

HTTP_OK = 200
ASK_SECONDS_MAX = 15.0
"""Without an answer for so long it sends no calls there."""


class LoadBalancer:
    """Asks `GET /health/ready` all the time, from when it is entered until it is left.

    Args:
        base_url: Where the service is.
        every_seconds: How long it rests between two questions.
        verify: How an `https` service is known again: `Endpoints.verify`.
    """

    def __init__(self, base_url: str, *, every_seconds: float = 0.1, verify: ssl.SSLContext | bool = True) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=ASK_SECONDS_MAX, verify=verify, trust_env=False)
        self._every_seconds = every_seconds
        self._asking: asyncio.Task[None] | None = None
        self.asked = 0
        self.refusals: list[str] = []
        """Whatever was no 200, in the order in which it came."""

    async def __aenter__(self) -> Self:
        self._asking = asyncio.create_task(self._ask_for_ever(), name="load balancer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._http.aclose()

    async def ask(self) -> Readiness | None:
        """Ask once; None if no answer came that could be read."""
        self.asked += 1
        try:
            response = await self._http.get("/health/ready")
            ready = msgspec.json.decode(response.content, type=Readiness)
        except (httpx.TransportError, msgspec.DecodeError) as error:
            self.refusals.append(type(error).__name__)
            return None
        if response.status_code != HTTP_OK:
            self.refusals.append(f"{response.status_code} {ready}")
        return ready

    async def _ask_for_ever(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(self._every_seconds)


async def _run(given: argparse.Namespace) -> int:
    endpoints = Endpoints.read(given.data_dir)
    async with LoadBalancer(endpoints.http, verify=endpoints.verify) as balancer:
        told = ""
        end = time.monotonic() + given.seconds
        while time.monotonic() < end:
            seen = str(await balancer.ask() or balancer.refusals[-1])
            if seen != told:
                print(seen, flush=True)
                told = seen
            await asyncio.sleep(min(1, given.seconds))
    print(f"asked {balancer.asked} times, not ready {len(balancer.refusals)} times")
    return 1 if balancer.refusals else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Ask for a while and tell each change; the exit code is 1 if the service was not ready at any time."""
    parser = arguments("load_balancer", "The load balancer: asks GET /health/ready and tells each change.")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to ask (default: %(default)s)")
    return finish(_run(parser.parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
