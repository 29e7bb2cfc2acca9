"""Waiting for something that happens elsewhere, with an end to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_AGAIN_SECONDS = 0.03
PATIENCE_SECONDS = 60.0
"""What has to happen does so in milliseconds; on a busy machine it may take some seconds."""


async def eventually(
    look: Callable[[], Awaitable[T]], accept: Callable[[T], bool], *, within_seconds: float = PATIENCE_SECONDS
) -> T:
    """Look again and again until what is seen is accepted, or time is up.

    Returns:
        What was seen last, accepted or not, so that the caller can show it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_seconds
    while True:
        seen = await look()
        if accept(seen) or loop.time() >= deadline:
            return seen
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
