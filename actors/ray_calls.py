"""Calls of Ray that wait for its cluster, beside the event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def call_ray(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of Ray in a thread that nobody waits for when the process ends.

    A call under which the cluster dies comes back after a minute, or never. A thread of the loop's own pool would keep
    the process from ending until then: :func:`asyncio.run` joins them, and so does the interpreter.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name=f"ray-{getattr(function, '__name__', 'call')}", daemon=True).start()
    return await asyncio.wrap_future(outcome)
