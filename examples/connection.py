"""A client's side of the service's HTTP API: the key, the idempotency key, and what to do when no answer comes."""

import asyncio
import ssl
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import httpx
import msgspec

T = TypeVar("T")

HTTP_UNAVAILABLE = 503
TIMINGS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """A 2xx: what the service said, and whether it had said so before."""

    status: int
    replayed: bool
    body: T


class RefusedError(Exception):
    """The service said no, for good: asking again in the same way will not help.

    Attributes:
        status: The HTTP status.
        code: The stable name of the refusal, for example `InsufficientFunds`.
        problem: The whole problem document, with the figures it carries.
    """

    def __init__(self, status: int, problem: Mapping[str, object]) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", "Unknown"))

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.problem.get('detail', self.problem.get('title', 'no detail'))}"


class OutcomeUnknownError(Exception):
    """No answer came in all the attempts; whether the mutation happened is not known.

    Attributes:
        idempotency_key: Send the same request with this key later, and the outcome will be the first one's.
    """

    def __init__(self, path: str, idempotency_key: str | None, attempts: int) -> None:
        super().__init__(path, idempotency_key, attempts)
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        path, key, attempts = self.args
        advice = "is the service running?" if key is None else f"ask again with Idempotency-Key {key}"
        return f"{path}: no answer in {attempts} attempts; {advice}"


class Connection:
    """One client of the service.

    Every POST has an `Idempotency-Key`, chosen before the first attempt, so that a lost connection and a 503 are simply
    met by asking again: whatever happened the first time, it happens once. The waits between the attempts are what
    `Retry-After` says, or double from 50 ms, and are never longer than `retry_wait_seconds_max`.

    A 429 is handed to the caller as `RefusedError`: nothing happened, and a person decides when to try again.

    Args:
        base_url: Where the service is, for example `http://127.0.0.1:8080`.
        key: The client's API key; None sends none.
        attempts: How often a request is sent at most.
        retry_wait_seconds_max: The longest wait between two attempts.
        timeout_seconds: How long one attempt may take.
        transport: What carries the requests; for tests.
        verify: How an `https` service is known again: `Endpoints.verify`.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        attempts: int = 6,
        retry_wait_seconds_max: float = 2.0,
        timeout_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=timeout_seconds,
            transport=transport,
            verify=verify,
            trust_env=False,
        )
        self._attempts = attempts
        self._retry_wait_seconds_max = retry_wait_seconds_max
        self.authorize_ms: deque[float] = deque(maxlen=TIMINGS_MAX)
        """How long each authorize that was answered took, retries included, in milliseconds."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is open to the service."""
        await self._http.aclose()

    async def get(self, path: str, into: type[T], *, params: Mapping[str, str | int] | None = None) -> Answer[T]:
        """Ask for something.

        Raises:
            RefusedError: The service refused.
            OutcomeUnknownError: It did not answer.
        """
        return await self._ask(self._http.build_request("GET", path, params=params), into, None)

    async def post(
        self, path: str, body: Mapping[str, object], into: type[T], *, idempotency_key: str | None = None
    ) -> Answer[T]:
        """Have something done, once.

        Args:
            path: The call.
            body: The fields of the request; those that are None are left out.
            into: What the answer is read as.
            idempotency_key: Names the request; without it, it is a new one.

        Raises:
            RefusedError: The service refused; nothing was changed.
            OutcomeUnknownError: It did not answer; the error has the key to ask again with.
        """
        key = idempotency_key or uuid.uuid4().hex
        content = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        started = time.perf_counter()
        answer = await self._ask(self._http.build_request("POST", path, content=content, headers=headers), into, key)
        if path.endswith("/authorize"):
            self.authorize_ms.append((time.perf_counter() - started) * 1000)
        return answer

    async def _ask(self, request: httpx.Request, into: type[T], key: str | None) -> Answer[T]:
        for attempt in range(self._attempts):
            wait_seconds = 0.05 * 2**attempt
            try:
                response = await self._http.send(request)
            except httpx.TransportError:
                pass  # what happened is unknown, exactly as after a 503
            else:
                if response.status_code != HTTP_UNAVAILABLE:
                    return _read(response, into)
                wait_seconds = _retry_after_seconds(response, wait_seconds)
            if attempt + 1 < self._attempts:
                await asyncio.sleep(min(wait_seconds, self._retry_wait_seconds_max))
        raise OutcomeUnknownError(request.url.path, key, self._attempts)


def _retry_after_seconds(response: httpx.Response, otherwise: float) -> float:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):  # not there, or a date: then the client's own pace
        return otherwise


def _read(response: httpx.Response, into: type[T]) -> Answer[T]:
    if not response.is_success:
        raise RefusedError(response.status_code, _problem(response))
    replayed = response.headers.get("Idempotency-Replayed") == "true"
    body = msgspec.json.decode(response.content, type=into)
    return Answer(status=response.status_code, replayed=replayed, body=body)


def _problem(response: httpx.Response) -> Mapping[str, object]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, object])
    except msgspec.DecodeError:  # not the service's own answer: something between it and us
        return {"title": response.reason_phrase, "detail": response.text[:200]}
