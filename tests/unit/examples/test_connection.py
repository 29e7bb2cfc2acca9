from collections.abc import Callable

import httpx
import pytest

from examples.connection import Connection, OutcomeUnknownError, RefusedError

Handler = Callable[[httpx.Request], httpx.Response]


def connection(handler: Handler) -> Connection:
    return Connection(
        "http://service", "secret", attempts=3, transport=httpx.MockTransport(handler), retry_wait_seconds_max=0.001
    )


async def test_a_503_is_asked_again_with_the_same_key_and_body() -> None:
    seen: list[tuple[str, bytes]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["Idempotency-Key"], request.content))
        return httpx.Response(201, json={"n": 1}) if len(seen) == 3 else httpx.Response(503)

    async with connection(handler) as client:
        answer = await client.post("/certificates/X/authorize", {"amount": 5, "cvc": None}, dict[str, int])

    assert answer.body == {"n": 1}
    assert not answer.replayed
    assert len(set(seen)) == 1
    assert seen[0][1] == b'{"amount":5}'
    assert len(client.authorize_ms) == 1


async def test_a_dropped_line_is_asked_again_and_the_replay_is_told() -> None:
    calls = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise httpx.ReadError("dropped", request=request)
        return httpx.Response(200, json={}, headers={"Idempotency-Replayed": "true"})

    async with connection(handler) as client:
        answer = await client.post("/x", {}, dict[str, int], idempotency_key="mine")

    assert answer.replayed
    assert calls == 2


async def test_when_no_answer_comes_the_error_has_the_key_to_go_on_with() -> None:
    async with connection(lambda _: httpx.Response(503, headers={"Retry-After": "soon"})) as client:
        with pytest.raises(OutcomeUnknownError, match="3 attempts; ask again with Idempotency-Key mine") as caught:
            await client.post("/x", {}, dict[str, int], idempotency_key="mine")
        with pytest.raises(OutcomeUnknownError, match="is the service running"):
            await client.get("/x", dict[str, int])

    assert caught.value.idempotency_key == "mine"


async def test_a_429_is_not_asked_again() -> None:
    calls = 0

    def handler(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(429, json={"code": "RateLimited", "detail": "later", "retryAfter": 30})

    async with connection(handler) as client:
        with pytest.raises(RefusedError, match="429 RateLimited: later") as caught:
            await client.get("/x", dict[str, int])

    assert calls == 1
    assert caught.value.problem["retryAfter"] == 30


async def test_an_error_that_is_not_the_services_own_is_told_as_it_is() -> None:
    async with connection(lambda _: httpx.Response(502, text="<h1>proxy</h1>")) as client:
        with pytest.raises(RefusedError, match="502 Unknown: <h1>proxy</h1>"):
            await client.get("/x", dict[str, int])


async def test_without_a_key_none_is_sent() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"sent": "authorization" in request.headers})

    async with Connection("http://service", None, transport=httpx.MockTransport(handler)) as client:
        assert (await client.get("/x", dict[str, bool])).body == {"sent": False}
