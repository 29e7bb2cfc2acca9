"""What stands between a request and its connection, in the places that uvicorn has for them."""

import asyncio
from asyncio import Transport
from collections.abc import Callable
from typing import Final


class ShortCycle:
    """What uvicorn knows of a request that is answered without a task."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.message_event = _nobody_waits


class _NobodyWaits:
    """Stands for the event that wakes the task of a request."""

    def set(self) -> None:
        """Wake nobody."""


_nobody_waits: Final = _NobodyWaits()


class Outgoing:
    """The transport as a response knows it, whose end is the connection's to make.

    Head and body come one after the other and leave together: that is a system call less here, and one wake-up of the
    client instead of two.
    """

    def __init__(self, transport: Transport, end: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self.is_closing = transport.is_closing
        self._write = transport.write
        self._end = end
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Have ``data`` leave with whatever else is written in this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what is held; a client that has hung up meanwhile gets nothing."""
        if self._held:
            if not self.is_closing():
                self._write(b"".join(self._held))
            self._held.clear()

    def close(self) -> None:
        """The response wants no more of this connection."""
        self._end()
