"""A client of a running stack that does as the contract asks: the same key again until there is an answer."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any, Final, Protocol

import httpx

ANSWER_SECONDS_MAX: Final = 90.0
"""Longer than the longest outage that tests make, a start of the whole service on a busy machine included."""
PAUSE_SECONDS: Final = 0.1
UNAVAILABLE: Final = 503
OVERLOADED: Final = "Overloaded"
"""The one problem of a part that is down which says that nothing has happened."""
ALLOWED: Final = {"StorageUnavailable", OVERLOADED}
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
        self.unknown = 0
        """Operations of which an attempt had an unknown outcome: it was carried out by then, or not."""
        self.repeated = 0
        """Attempts at operations with a key that was sent before."""

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def get(self, path: str) -> dict[str, Any]:
        """Ask until there is an answer."""
        response, _ = await self._answer("GET", path, None, {})
        return _body(response)

    async def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Have something done once; gives the answer, or the problem with its `code`."""
        response, failed = await self._answer("POST", path, body, {"Idempotency-Key": uuid.uuid4().hex})
        self.repeated += len(failed)
        self.unknown += any(kind != OVERLOADED for kind in failed)
        return _body(response)

    async def _answer(
        self, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
    ) -> tuple[httpx.Response, list[str]]:
        """The answer, and why each attempt before it failed."""
        failed: list[str] = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                while isinstance(answer := await self._attempt(method, path, body, headers), str):
                    failed.append(answer)
                    self.failed[answer] += 1
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer in {ANSWER_SECONDS_MAX:g} s, but {failed}") from None
        return answer, failed

    async def _attempt(
        self, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
    ) -> httpx.Response | str:
        """The answer, or why there is none."""
        try:
            response = await self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            return type(error).__name__  # the outcome is unknown, as after a 503
        if response.status_code < 500:
            return response
        problem = response.json()
        assert response.status_code == UNAVAILABLE, problem
        assert problem["code"] in ALLOWED, problem
        code: str = problem["code"]
        return code


def _body(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    return body
