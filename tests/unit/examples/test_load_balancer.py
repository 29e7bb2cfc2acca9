import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from examples.load_balancer import LoadBalancer
from examples.patience import eventually

OK = b'{"status":"ok","components":{"storage":{"status":"ok"}}}'
DEGRADED = b'{"status":"degraded","components":{"kafka":{"status":"degraded","detail":"it waits"}}}'
DOWN = b'{"status":"down","components":{"storage":{"status":"down"},"kafka":{"status":"ok"}}}'


@asynccontextmanager
async def balancer(*answers: tuple[int, bytes] | None) -> AsyncIterator[LoadBalancer]:
    """A load balancer in front of a service that answers so, and then always as the last time."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        found = left.pop(0) if len(left) > 1 else left[0]
        if found is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(found[0], content=found[1])

    made = LoadBalancer("http://service", every_seconds=0.001)
    await made._http.aclose()
    made._http = httpx.AsyncClient(base_url="http://service", transport=httpx.MockTransport(answer))
    async with made:
        yield made


async def asked(made: LoadBalancer, times: int) -> None:
    async def so_far() -> int:
        return made.asked

    assert await eventually(so_far, lambda seen: seen > times) > times


async def test_it_asks_all_the_while_and_notes_what_was_no_200() -> None:
    async with balancer((200, OK), (503, DOWN), None, (502, b"<h1>proxy</h1>"), (200, OK)) as made:
        await asked(made, 6)

    assert made.refusals == ["503 down (storage down)", "ConnectError", "DecodeError"]


async def test_it_rests_once_it_is_left() -> None:
    async with balancer((200, OK)) as made:
        await asked(made, 1)
    before = made.asked

    for _ in range(20):
        await asyncio.sleep(0)

    assert made.asked == before


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [(200, OK, "ok"), (200, DEGRADED, "degraded (kafka degraded: it waits)"), (503, DOWN, "down (storage down)")],
)
async def test_what_the_service_says_is_told_in_words(status: int, body: bytes, told: str) -> None:
    async with balancer((status, body)) as made:
        assert str(await made.ask()) == told


async def test_what_was_never_entered_can_be_left() -> None:
    await LoadBalancer("http://service").__aexit__(None, None, None)
