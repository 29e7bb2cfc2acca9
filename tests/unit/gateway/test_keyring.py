"""API keys: in memory, read again all the time, and never trusted for long without that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.faults import Fault, ProblemError
from gateway.keyring import Keyring
from gateway.services import Condition
from gateway.settings import GatewaySettings
from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, MemoryKeyStore
from tests.unit.gateway.house import Clock, client_key

if TYPE_CHECKING:
    from collections.abc import Sequence

RARELY = GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=0)
TILL = b"Bearer pos"
CLOCK = Clock()


class Store(MemoryKeyStore):
    """A store whose reading can be held up, and can fail."""

    def __init__(self, *clients: str) -> None:
        super().__init__([client_key(client) for client in clients])
        self.reads = 0
        self.read = asyncio.Event()
        self.failure: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def all(self) -> list[ClientKey]:
        self.reads += 1
        await self.go_on.wait()
        self.read.set()
        if self.failure is not None:
            raise self.failure
        return await super().all()


async def code_of(keyring: Keyring, authorization: bytes | None) -> Fault:
    with pytest.raises(ProblemError) as raised:
        await keyring.client(authorization)
    assert isinstance(raised.value.code, Fault)
    return raised.value.code


async def test_a_key_is_found_in_memory() -> None:
    store = Store("pos")
    async with Keyring(store, RARELY, CLOCK) as keyring:
        client = await keyring.client(TILL)

        assert (client.name, client.role, client.channel) == ("pos", "pos", "Store")
        assert keyring.find(b"bearer  pos ") == client
        assert keyring.find(None) is None
    assert store.reads == 1


async def test_a_new_key_is_found_at_once() -> None:
    store = Store()
    async with Keyring(store, RARELY, CLOCK) as keyring:
        await store.add(client_key("pos"))

        client = await keyring.client(TILL)

    assert client.name == "pos"


async def test_unknown_keys_do_not_have_the_keys_read_for_each() -> None:
    store = Store()
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=3_600), CLOCK) as keyring:
        codes = [await code_of(keyring, TILL) for _ in range(5)]

    assert codes == [Fault.UNAUTHENTICATED] * 5
    assert store.reads == 1


async def test_many_unknown_keys_at_once_have_the_keys_read_once() -> None:
    store = Store()
    async with Keyring(store, RARELY, CLOCK) as keyring:
        store.go_on.clear()
        asking = [asyncio.create_task(code_of(keyring, b"Bearer %d" % number)) for number in range(5)]
        await asyncio.sleep(0)
        store.go_on.set()

        codes = await asyncio.gather(*asking)

    assert codes == [Fault.UNAUTHENTICATED] * 5
    assert store.reads == 2


async def test_a_caller_who_goes_away_does_not_take_the_reading_with_him() -> None:
    store = Store()
    async with Keyring(store, RARELY, CLOCK) as keyring:
        await store.add(client_key("pos"))
        store.go_on.clear()
        first = asyncio.create_task(keyring.client(TILL))
        second = asyncio.create_task(keyring.client(TILL))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        store.go_on.set()

        assert (await second).name == "pos"


async def test_a_revoked_key_ends() -> None:
    store = Store("pos")
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.01), CLOCK) as keyring:
        await store.revoke("pos", 1)
        async with asyncio.timeout(60):
            while keyring.find(TILL) is not None:
                store.read.clear()
                await store.read.wait()
                await asyncio.sleep(0)

        assert await code_of(keyring, TILL) is Fault.UNAUTHENTICATED


@pytest.mark.parametrize("failure", [StorageUnavailableError("down"), TimeoutError()])
async def test_known_keys_work_for_a_while_without_storage(failure: Exception) -> None:
    store = Store("pos")
    async with Keyring(store, RARELY, CLOCK) as keyring:
        store.failure = failure

        assert await code_of(keyring, b"Bearer other") is Fault.UNAUTHENTICATED

        assert (await keyring.client(TILL)).name == "pos"
        assert keyring.component.status is Condition.DEGRADED


async def test_keys_that_cannot_be_read_for_long_are_no_longer_trusted(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("pos")
    settings = GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=0, keys_stale_seconds_max=0)
    async with Keyring(store, settings, CLOCK) as keyring:
        store.failure = StorageUnavailableError("down")

        codes = [await code_of(keyring, b"Bearer other"), await code_of(keyring, TILL)]

        assert codes == [Fault.STORAGE_UNAVAILABLE] * 2
        assert keyring.component.status is Condition.DOWN
    assert len(caplog.records) == 1, "an outage is told once"


async def test_it_starts_without_storage_and_recovers() -> None:
    store = Store("pos")
    store.failure = StorageUnavailableError("down")
    async with Keyring(store, RARELY, CLOCK) as keyring:
        before = await code_of(keyring, TILL), keyring.component.status
        store.failure = None
        after = (await keyring.client(TILL)).name, keyring.component.status

    assert before == (Fault.STORAGE_UNAVAILABLE, Condition.DOWN)
    assert after == ("pos", Condition.OK)


async def test_what_is_no_key_is_not_looked_up() -> None:
    store = Store()
    async with Keyring(store, RARELY, CLOCK) as keyring:
        for authorization in (None, b"", b"Basic x", b"Bearer " + b"x" * 300):
            assert await code_of(keyring, authorization) is Fault.UNAUTHENTICATED

    assert store.reads == 1


async def test_readiness_sees_that_the_task_has_died() -> None:
    store = Store("pos")
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.01), CLOCK) as keyring:
        store.failure = ArithmeticError("a defect")
        assert keyring._task is not None
        await asyncio.wait({keyring._task})

        assert keyring.component.status is Condition.DOWN


async def test_keys_of_every_kind_are_read() -> None:
    async def all_of(keys: Sequence[ClientKey]) -> set[str]:
        async with Keyring(MemoryKeyStore(keys), RARELY, CLOCK) as keyring:
            return {client.name for client in keyring._clients.values()}

    found = await all_of([client_key("pos"), client_key("auditor"), client_key("old", "pos", revoked_at=1)])

    assert found == {"pos"}
