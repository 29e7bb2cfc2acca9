"""A gateway that has its windows in Redis, and requests that guess."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.guesses import kept_max
from gateway.settings import GatewaySettings
from persistence.errors import StorageUnavailableError
from persistence.windows import Count, RedisWindows
from tests.integration.http_client import PATIENCE_SECONDS, Answer, Served, post, served
from tests.unit.gateway.house import CODE, RUB, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEFAULT = GatewaySettings()
ADDRESS_MAX = DEFAULT.guess_address_wrong_max
CLIENT_MAX = DEFAULT.guess_client_wrong_max
PROXIES = {"trusted_proxies": "127.0.0.0/8"}


class Watched(RedisWindows):
    """Windows in Redis that count what they are asked, and fail if they are told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "gl", DEFAULT.guess_window_seconds, kept_max(DEFAULT), timeout_seconds=PATIENCE_SECONDS)
        self.calls = 0
        self.down = False

    async def add(self, name: str, number: int = 1) -> None:
        self._called()
        await super().add(name, number)

    async def count(self, name: str) -> Count:
        self._called()
        return await super().count(name)

    def _called(self) -> None:
        self.calls += 1
        if self.down:
            raise StorageUnavailableError("down")


@asynccontextmanager
async def gateway(
    redis_url: str,
    **bounds: Any,  # noqa: ANN401 - those of the settings
) -> AsyncIterator[tuple[Served, Watched]]:
    """Serve a gateway that has its windows in Redis."""
    windows = Watched(redis_url)
    async with served(windows=windows, **bounds) as here:
        yield here, windows
    await windows.close()


def guess(code: str = UNKNOWN, cvc: str = "0000", client: str = "storefront", *headers: str) -> bytes:
    body = {"purpose": "Redemption", "amount": 1_000, "currency": RUB, "cvc": cvc}
    return post(f"/certificates/{code}/authorize", msgspec.json.encode(body), *headers, client=client)


def hold(client: str = "pos") -> bytes:
    return post(
        f"/certificates/{CODE}/authorize", b'{"purpose":"Redemption","amount":1000,"currency":"RUB"}', client=client
    )


def codes(number: int, first: int = 0) -> list[str]:
    return [f"GC-GUESS-{first + one:06}" for one in range(number)]


async def one_by_one(here: Served, requests: list[bytes]) -> list[Answer]:
    line = await here.line()
    return [await line.ask(data) for data in requests]


async def at_once(here: Served, requests: list[bytes]) -> list[Answer]:
    """Have a line for each request, and send all of them before any answer."""
    lines = [await here.line() for _ in requests]
    return list(await asyncio.gather(*(line.ask(data) for line, data in zip(lines, requests, strict=True))))


def told(answers: list[Answer]) -> Counter[str]:
    return Counter("" if answer.status < 300 else answer.code for answer in answers)


def tried(here: Served) -> int:
    """How many commands with a CVC the ledger was asked."""
    return sum(getattr(command, "cvc", None) is not None for _, command, _ in here.house.ledger.asked)


def wrong(cvc: str) -> str:
    return f"{(int(cvc) + 1) % 10_000:04}"
