"""API keys: in memory, read again all the time, and never trusted for long without that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.faults import Fault, ProblemError
from gateway.keyring import Keyring
from gateway.services import Condition
from gateway.settings import GatewaySettings
from gift_ledger.settings import Settings
from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, MemoryKeyStore
from tests.unit.gateway.house import Clock, client_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
        self.noted: list[dict[str, int]] = []
        self.note_failure: Exception | None = None

    async def all(self) -> list[ClientKey]:
        self.reads += 1
        await self.go_on.wait()
        self.read.set()
        if self.failure is not None:
            raise self.failure
        return await super().all()

    async def note_used(self, used: Mapping[str, int]) -> None:
        self.noted.append(dict(used))
        if self.note_failure is not None:
            raise self.note_failure
        await super().note_used(used)


class Secret(bytes):
    """A text that counts how often it is compared with another one."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Secret.compared += 1
        return super().__eq__(other)

    __hash__ = bytes.__hash__


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what a timer or a task does."""
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - a timer has no event to wait for
            await asyncio.sleep(0.002)


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
    async with Keyring(
        store, GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=3_600), CLOCK
    ) as keyring:
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


# --- how long a key works --------------------------------------------------------------------------------------------


async def test_a_key_ends_when_it_expires_whether_keys_can_be_read_or_not() -> None:
    store, clock = Store("ops"), Clock()
    await store.add(client_key("pos", expires_at=clock.now + 30))
    async with Keyring(store, RARELY, clock) as keyring:
        store.failure = StorageUnavailableError("down")
        found = keyring.find(TILL), keyring.find(TILL)  # the second time by its header alone

        clock.advance(0.03)
        await until(lambda: keyring.find(TILL) is None)

        assert all(client is not None and client.name == "pos" for client in found)
        assert keyring.find(b"Bearer ops") is not None, "the others stay"
    assert store.reads == 1


async def test_a_key_does_not_end_before_its_time() -> None:
    store, clock = Store(), Clock()
    await store.add(client_key("pos", expires_at=clock.now + 1))
    async with Keyring(store, RARELY, clock) as keyring:
        timer = keyring._timer
        await until(lambda: keyring._timer is not timer)  # it has looked, and the clock stands still

        assert keyring.find(TILL) is not None


async def test_an_end_that_is_planned_later_is_met_too() -> None:
    store, clock = Store("pos"), Clock()
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.01), clock) as keyring:
        (key,) = await store.all()
        await store.add(client_key("pos-2", "pos"), replaced=key, ends_at=clock.now + 1_000)
        await until(lambda: keyring.find(b"Bearer pos-2") is not None)
        assert keyring.find(TILL) is not None, "until then both work"

        clock.advance(1)
        await until(lambda: keyring.find(TILL) is None)

        assert keyring.find(b"Bearer pos-2") is not None
        assert await code_of(keyring, TILL) is Fault.UNAUTHENTICATED


async def test_keys_work_no_longer_than_they_are_trusted_though_no_reading_ends() -> None:
    store = Store("pos")
    settings = GatewaySettings(keys_refresh_seconds=3_600, keys_refresh_seconds_min=0, keys_stale_seconds_max=0.5)
    async with Keyring(store, settings, CLOCK) as keyring:
        assert keyring.find(TILL) is not None
        store.go_on.clear()
        asking = asyncio.create_task(keyring.client(b"Bearer other"))

        await until(lambda: keyring.find(TILL) is None)

        assert keyring.component.status is Condition.DOWN
        store.go_on.set()
        await asyncio.wait({asking})
        assert isinstance(asking.exception(), ProblemError), "this reading began too long ago"
        assert (await keyring.client(TILL)).name == "pos"


async def test_keys_are_as_old_as_the_beginning_of_their_reading() -> None:
    store = Store("pos")
    store.go_on.clear()
    settings = GatewaySettings(keys_refresh_seconds=3_600, keys_stale_seconds_max=0.1)
    opening = asyncio.create_task(Keyring(store, settings, CLOCK).__aenter__())
    await asyncio.sleep(0.11)  # an answer that took longer than keys are trusted
    store.go_on.set()
    keyring = await opening

    assert keyring.find(TILL) is None

    await keyring.__aexit__(None, None, None)


def test_a_revoked_key_works_for_five_seconds_at_most_where_keys_are_read() -> None:
    http = Settings().http()

    # the reading that just missed the revocation, to the beginning of the next one, and that one's own time
    assert http.keys_refresh_seconds + http.keys_refresh_seconds <= 5


def test_it_can_be_had_that_a_revoked_key_works_for_five_seconds_at_most_whatever_happens() -> None:
    assert Settings(keys_stale_seconds=5).contradictions() == []
    assert Settings(keys_stale_seconds=5).http().keys_stale_seconds_max == 5
    assert "keys_stale_seconds is below twice" in Settings(keys_stale_seconds=3.9).contradictions()[0]


async def test_no_secret_is_compared_with_what_somebody_sends() -> None:
    store = Store("pos")
    async with Keyring(store, RARELY, CLOCK) as keyring:
        client = await keyring.client(TILL)
        keyring._recent = {Secret(TILL): client}
        keyring._clients = {Secret(digest): client for digest in keyring._clients}
        Secret.compared = 0

        for guess in (b"Bearer po", b"Bearer poS", b"Bearer pos2", b"Bearer " + b"p" * 60):
            assert keyring.find(guess) is None

        assert Secret.compared == 0, "a wrong guess is told from a key by hashes that it does not know"
        assert keyring.find(TILL) is client
        assert Secret.compared == 1


# --- the use of keys -------------------------------------------------------------------------------------------------


async def test_the_use_of_keys_is_noted_at_the_next_reading() -> None:
    store, clock = Store("pos", "ops"), Clock()
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.01), clock) as keyring:
        for _ in range(3):
            assert keyring.find(TILL) is not None
        await until(lambda: bool(store.noted))
        await until(lambda: keyring._telling is None)

        assert keyring.find(b"Bearer ops") is not None
        reads = store.reads
        await until(lambda: store.reads > reads + 2)

    assert store.noted == [{"pos": clock.now}], "the next note is written a minute later"
    assert keyring._used == {"ops": clock.now}
    assert await store.used() == {"pos": clock.now}


@pytest.mark.parametrize("failure", [StorageUnavailableError("down"), TimeoutError()])
async def test_a_use_that_could_not_be_noted_is_noted_later(failure: Exception) -> None:
    store, clock = Store("pos", "ops"), Clock()
    store.note_failure = failure
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.01), clock) as keyring:
        assert keyring.find(TILL) is not None
        await until(lambda: len(store.noted) > 1)
        first = clock.now
        clock.advance(5)
        assert keyring.find(b"Bearer ops") is not None
        store.note_failure = None
        await until(lambda: "ops" in store._used)

        assert keyring.component.status is Condition.OK
    assert await store.used() == {"pos": first, "ops": clock.now}


async def test_a_note_that_takes_long_keeps_nobody_from_anything() -> None:
    held = asyncio.Event()

    class Slow(Store):
        async def note_used(self, used: Mapping[str, int]) -> None:
            self.noted.append(dict(used))
            await held.wait()

    store = Slow("pos")
    async with Keyring(store, GatewaySettings(keys_refresh_seconds=0.5), CLOCK) as keyring:
        assert keyring.find(TILL) is not None
        await until(lambda: bool(store.noted))
        reads = store.reads
        await until(lambda: store.reads > reads)

        assert keyring.find(TILL) is not None
