"""A client of a running stack that does as the contract asks: the same key again until there is an answer."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any, Final, Protocol

import httpx

ANSWER_SECONDS_MAX: Final = 40.0
PAUSE_SECONDS: Final = 0.1
UNAVAILABLE: Final = 503
ALLOWED: Final = {"StorageUnavailable", "Overloaded"}
"""The only problems that a client meets because a part of the service is down."""


class Service(Protocol):
    """A running stack, of whatever kind."""

    @property
    def bootstrap(self) -> str:
        """Its broker."""
        ...

    def client(self, role: str) -> httpx.AsyncClient:
        """A client with the key of a role, to be closed by the caller."""
        ...


class Caller:
    """A client with one role. It has to be closed.

    Args:
        stack: Whom it calls.
        role: Whose key it has.
    """

    def __init__(self, stack: Service, role: str) -> None:
        self._http = stack.client(role)
        self.failed: Counter[str] = Counter()
        """Attempts that got no answer, or 503: by the kind of error, or the code of the problem."""

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
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer in {ANSWER_SECONDS_MAX:g} s") from None

    async def _attempt(
        self, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
    ) -> httpx.Response | None:
        try:
            response = await self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            self.failed[type(error).__name__] += 1
            return None  # the outcome is unknown, as after a 503
        if response.status_code < 500:
            return response
        problem = response.json()
        assert response.status_code == UNAVAILABLE, problem
        assert problem["code"] in ALLOWED, problem
        self.failed[problem["code"]] += 1
        return None


def _body(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    return body
