"""A quick look at a running service: sell some certificates, authorize on them for a while, take them off again."""

import asyncio
import random
import secrets
import threading
from collections.abc import Sequence

import httpx

from gift_ledger.bench.generator import Generator, Load
from gift_ledger.bench.look import Look
from gift_ledger.bench.market import Market, MarketError
from gift_ledger.bench.requests import Address, Authorizations
from gift_ledger.bench.schedule import AsSoonAsPossible, AtRate


async def bench(look: Look) -> Load:
    """Do it; in the end, however it ends, the certificates are blocked.

    Raises:
        OSError: the service does not answer, or refuses to sell.
    """
    market = Market(look.url, look.keys, look.settings)
    try:
        codes = await market.sell(look.certificates)
        try:
            return await _load(look, codes)
        finally:
            await market.withdraw(codes)
    except httpx.HTTPError as error:
        raise MarketError(f"{look.url} does not answer: {error!r}") from error


async def _load(look: Look, codes: Sequence[str]) -> Load:
    address = Address.of(look.url, look.keys["pos"])
    draw = random.Random().choice  # noqa: S311 - no secret
    plan = Authorizations(address, lambda _: draw(codes), secrets.token_hex(4))
    schedule = AtRate(look.rate, look.seconds) if look.rate else AsSoonAsPossible(look.seconds)
    stop = threading.Event()
    generator = Generator(address, plan, schedule, connections=look.connections, stop=stop)
    try:
        return await asyncio.to_thread(generator.run)
    finally:
        stop.set()
