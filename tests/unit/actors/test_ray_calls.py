"""Calls of Ray: their outcome comes back, and a call that never does keeps no process from ending."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from actors.ray_calls import call_ray

ENDED_SECONDS_MAX = 60.0
STUCK = """
import asyncio, threading
from actors.ray_calls import call_ray

async def main():
    try:
        async with asyncio.timeout(0.05):
            await call_ray(threading.Event().wait)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""


async def test_gives_what_the_function_gives() -> None:
    assert await call_ray(divmod, 7, 3) == (2, 1)


async def test_raises_what_the_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await call_ray(divmod, 7, 0)


async def test_runs_beside_the_event_loop() -> None:
    assert await call_ray(threading.get_ident) != threading.get_ident()


def test_a_call_that_never_comes_back_keeps_no_process_from_ending() -> None:
    ended = subprocess.run(  # noqa: S603 - the command is made by the test itself
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=ENDED_SECONDS_MAX, check=True
    )
    assert ended.stdout == "given up\n"
