"""A client of a running stack that does as the contract asks: the same key again until there is an answer."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from tests.real.stack import RunningStack

ANSWER_SECONDS_MAX: Final = 40.0
PAUSE_SECONDS: Final = 0.1
UNAVAILABLE: Final = 503
ALLOWED: Final = {"StorageUnavailable", "Overloaded"}
"""The only problems that a client meets because a part of the service is down."""


class Caller:
    """A client with one role. It has to be closed.

    Args:
        stack: Whom it calls. If that is started again, the next call goes to its new address.
        role: Whose key it has.
    """

    def __init__(self, stack: RunningStack, role: str) -> None:
        self._http = stack.client(role)
        self.retried = 0
        """Attempts that got no answer, or 503."""

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def get(self, path: str) -> dict[str, Any]:
        """Ask until there is an answer."""
        return _body(await self._answer("GET", path, None, {}))

    async def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Have something done once; gives the answer, or the problem with its `code`."""
        return _body(await self._answer("POST", path, body, {"Idempotency-Key": uuid.uuid4().hex}))

    async def _answer(
        self, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
    ) -> httpx.Response:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                while True:
                    response = await self._attempt(method, path, body, headers)
                    if response is not None:
                        return response
                    self.retried += 1
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer in {ANSWER_SECONDS_MAX:g} s") from None

    async def _attempt(
        self, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
    ) -> httpx.Response | None:
        try:
            response = await self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            return None  # the outcome is unknown, as after a 503
        if response.status_code < 500:
            return response
        problem = response.json()
        assert response.status_code == UNAVAILABLE, problem
        assert problem["code"] in ALLOWED, problem
        return None


def _body(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    return body
