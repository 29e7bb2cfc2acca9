"""Sells certificates on a running service, as a shop, Orders and Payments do together, and takes them off it again."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import msgspec

from examples.topics import Publisher
from gift_ledger.settings import Settings

DENOMINATION: Final = 10**9
"""Minor units: enough for ten million authorizations of 1.00."""
ACTIVE_SECONDS_MAX: Final = 30.0
REASON: Final = "made by gift-ledger bench"
_CALLS_AT_ONCE: Final = 16
_ANSWER_SECONDS_MAX: Final = 15.0
_POLL_SECONDS: Final = 0.05
_CURRENCY: Final = "RUB"


class MarketError(OSError):
    """The service did not sell what was asked for; the message says how it answered."""


class Market:
    """A shop for a benchmark.

    Args:
        url: of the service.
        keys: API keys by role.
        settings: name the broker and the topics.
    """

    def __init__(self, url: str, keys: Mapping[str, str], settings: Settings) -> None:
        self._url = url
        self._keys = keys
        self._settings = settings

    async def sell(self, count: int) -> list[str]:
        """Sell certificates in one order without recipients, so that no SMS is sent; wait until they are active.

        Returns:
            Their codes.

        Raises:
            MarketError: the service refused.
            OSError: the service or the broker does not answer; a time-out too.
        """
        order_id = f"SO-BENCH-{secrets.token_hex(4).upper()}"
        codes = {str(line): f"GC-{order_id[3:]}-{line:04}" for line in range(1, count + 1)}
        async with self._client("pos") as shop:
            await self._each(
                codes.items(),
                lambda sold: _post(
                    shop,
                    f"/certificates/{sold[1]}/authorize",
                    {"purpose": "Sale", "orderId": order_id, "orderLineId": sold[0]},
                ),
            )
        await self._publish(order_id, list(codes))
        async with self._client("ops") as ops, asyncio.timeout(ACTIVE_SECONDS_MAX):
            for code in codes.values():
                await _active(ops, code)
        return list(codes.values())

    async def withdraw(self, codes: Sequence[str]) -> None:
        """Block certificates: nobody is to spend what nobody has paid for. Raises as :meth:`sell`."""
        async with self._client("support") as support:
            await self._each(codes, lambda code: _post(support, f"/certificates/{code}/block", {"reason": REASON}))

    async def _publish(self, order_id: str, lines: list[str]) -> None:
        settings = self._settings
        total = DENOMINATION * len(lines)
        order = {
            "orderId": order_id,
            "channel": "OnlineStore",
            "currency": _CURRENCY,
            "certificateLines": [{"orderLineId": line, "plannedDenomination": DENOMINATION} for line in lines],
        }
        payment = {
            "orderId": order_id,
            "paymentVersion": 1,
            "currency": _CURRENCY,
            "capturedAmount": total,
            "outstandingAmount": 0,
            "isOrderSettled": True,
            "certificateAllocations": [{"orderLineId": line, "collectedAmount": DENOMINATION} for line in lines],
        }
        bridge = settings.bridge()
        options = bridge.security.options()
        async with Publisher(bridge.bootstrap, source="gift-ledger-bench", **options) as publisher:
            await publisher.publish(settings.topic_sales_orders, order_id, msgspec.json.encode(order))
            await publisher.publish(settings.topic_payments, order_id, msgspec.json.encode(payment))

    def _client(self, role: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._keys[role]}"}
        return httpx.AsyncClient(base_url=self._url, headers=headers, timeout=_ANSWER_SECONDS_MAX, trust_env=False)

    async def _each(self, things: Any, call: Callable[[Any], Awaitable[object]]) -> None:  # noqa: ANN401 - any iterable
        """Call for each of them, some at a time."""
        bound = asyncio.Semaphore(_CALLS_AT_ONCE)

        async def one(thing: object) -> None:
            async with bound:
                await call(thing)

        async with asyncio.TaskGroup() as tasks:
            for thing in things:
                tasks.create_task(one(thing))


async def _active(client: httpx.AsyncClient, code: str) -> None:
    while True:
        if (await _get(client, f"/certificates/{code}"))["status"] == "Active":
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, str]) -> object:
    return _answered(await client.post(path, json=body))


async def _get(client: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    return _answered(await client.get(path))


def _answered(answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    if answer.is_error:
        raise MarketError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:300]}")
    return answer.json()
