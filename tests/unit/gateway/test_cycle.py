"""What a response writes, on its way to the connection."""

import asyncio
from typing import cast

from gateway.cycle import Outgoing


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing


async def test_what_is_written_in_one_turn_leaves_together() -> None:
    transport = Transport()
    outgoing = Outgoing(cast("asyncio.Transport", transport), lambda: None, asyncio.get_running_loop())

    outgoing.write(b"head ")
    outgoing.write(b"body")
    await asyncio.sleep(0)

    assert transport.written == [b"head body"]


async def test_a_client_that_has_hung_up_gets_nothing_more() -> None:
    transport = Transport()
    outgoing = Outgoing(cast("asyncio.Transport", transport), lambda: None, asyncio.get_running_loop())
    outgoing.write(b"head")

    transport.closing = True
    await asyncio.sleep(0)
    transport.closing = False
    outgoing.flush()

    assert transport.written == []
