"""The provider's keys in memory: read again all the time, at once for a new one, and never trusted for long without."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.jwks import JwksError
from gateway.services import Condition
from gateway.signing_keys import WAITING_MAX, SigningKeys
from tests.unit.gateway.provider import Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.token_settings import TokenSettings

RARELY = {"keys_refresh_seconds": 3_600.0, "keys_stale_seconds_max": 7_200.0}
OFTEN = {"keys_refresh_seconds": 0.01, "keys_stale_seconds_max": 7_200.0}


class Document:
    """A document whose reading can be held up, and can fail."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.text: bytes | None = None
        self.failure: Exception | None = None
        self.reads = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self) -> bytes:
        self.reads += 1
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        return self.provider.document if self.text is None else self.text


class Known(SigningKeys):
    """Keys that count how often it was told that one has gone."""

    def __init__(self, settings: TokenSettings, document: Document) -> None:
        super().__init__(settings, document)
        self.forgotten = 0
        self.forget = self._count

    def _count(self) -> None:
        self.forgotten += 1


@asynccontextmanager
async def known(document: Document, **settings: float) -> AsyncIterator[Known]:
    given: dict[str, Any] = RARELY | settings
    async with Known(document.provider.settings(**given), document) as keys:
        yield keys


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what a timer or a task does."""
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - a timer has no event to wait for
            await asyncio.sleep(0.002)


async def test_it_starts_without_waiting_and_the_first_token_waits() -> None:
    document = Document()
    document.go_on.clear()
    async with known(document) as keys:
        before = keys.component.status, keys.fresh
        asking = asyncio.create_task(keys.find("ec", "ES256"))
        await until(lambda: document.reads == 1)
        document.go_on.set()

        assert await asking is not None
        assert before == (Condition.DOWN, False)
        assert (keys.component.status, keys.fresh) == (Condition.OK, True)
    assert document.reads == 1


async def test_a_known_key_is_not_asked_for() -> None:
    document = Document()
    async with known(document) as keys:
        found = [await keys.find("ec", "ES256") for _ in range(5)]

        assert all(key is not None and key == found[0] for key in found)
    assert document.reads == 1


async def test_a_new_key_is_read_at_once_and_the_old_one_stays() -> None:
    document = Document()
    async with known(document) as keys:
        old = await keys.find("ec", "ES256")
        document.provider.add("new", "ES256")

        assert await keys.find("new", "ES256") is not None
        assert await keys.find("ec", "ES256") == old
        assert keys.forgotten == 0
    assert document.reads == 2


async def test_unknown_keys_do_not_have_them_read_for_each() -> None:
    document = Document()
    async with known(document, keys_refresh_seconds_min=3_600.0) as keys:
        assert await keys.find("ec", "ES256") is not None

        assert [await keys.find(f"k{number}", "ES256") for number in range(50)] == [None] * 50
        assert keys.fresh, "so they are refused for good"
    assert document.reads == 1


async def test_many_unknown_keys_at_once_wait_for_one_reading_and_no_more_than_so_many() -> None:
    document = Document()
    async with known(document) as keys:
        await keys.find("ec", "ES256")
        document.go_on.clear()
        asking = [asyncio.create_task(keys.find(f"k{number}", "ES256")) for number in range(WAITING_MAX + 10)]
        await until(lambda: sum(task.done() for task in asking) == 10)

        sure = [keys.fresh]
        document.go_on.set()
        assert await asyncio.gather(*asking) == [None] * (WAITING_MAX + 10)
        sure.append(keys.fresh)
    assert sure == [False, True], "whether those ten exist was not known"
    assert document.reads == 2


async def test_a_caller_who_goes_away_does_not_take_the_reading_with_him() -> None:
    document = Document()
    document.go_on.clear()
    async with known(document) as keys:
        first, second = (asyncio.create_task(keys.find("ec", "ES256")) for _ in range(2))
        await until(lambda: document.reads == 1)
        first.cancel()
        await asyncio.wait({first})
        document.go_on.set()

        assert await second is not None


async def test_a_key_that_the_provider_has_dropped_ends() -> None:
    document = Document()
    document.provider.add("leaked", "ES256")
    async with known(document, **OFTEN) as keys:
        assert await keys.find("leaked", "ES256") is not None
        del document.provider.keys["leaked"]

        await until(lambda: keys.forgotten == 1)
        assert await keys.find("leaked", "ES256") is None
        assert await keys.find("ec", "ES256") is not None


async def test_another_key_of_the_same_id_takes_its_place() -> None:
    document = Document()
    async with known(document, **OFTEN) as keys:
        old = await keys.find("ec", "ES256")
        document.provider.add("ec", "ES256")

        await until(lambda: keys.forgotten == 1)
        new = await keys.find("ec", "ES256")
        assert new is not None
        assert new != old


async def test_a_provider_without_a_key_degrades_the_service(caplog: pytest.LogCaptureFixture) -> None:
    document = Document()
    document.text = b'{"keys":[]}'
    async with known(document) as keys:
        assert await keys.find("ec", "ES256") is None

        assert (keys.component.status, keys.fresh) == (Condition.DEGRADED, True)
    assert "no key" not in caplog.text or caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize("failure", ["unread", "malformed"])
async def test_known_keys_work_on_while_the_provider_is_away(failure: str, caplog: pytest.LogCaptureFixture) -> None:
    document = Document()
    async with known(document) as keys:
        old = await keys.find("ec", "ES256")
        if failure == "unread":
            document.failure = JwksError("no answer")
        else:
            document.text = b"<html>Maintenance</html>"

        assert await keys.find("new", "ES256") is None
        assert await keys.find("other", "ES256") is None
        assert await keys.find("ec", "ES256") == old
        assert (keys.component.status, keys.fresh, keys.trusted) == (Condition.DEGRADED, False, True)
        assert keys.forgotten == 0

        document.failure, document.text = None, None
        document.provider.add("new", "ES256")
        assert await keys.find("new", "ES256") is not None
        assert keys.component.status is Condition.OK
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1, "an outage is told once"


async def test_keys_that_cannot_be_read_for_long_are_no_longer_trusted() -> None:
    document = Document()
    async with known(document, keys_stale_seconds_max=0.05) as keys:
        await keys.find("ec", "ES256")
        document.failure = JwksError("no answer")

        await until(lambda: keys.forgotten == 1)
        assert await keys.find("ec", "ES256") is None
        assert (keys.component.status, keys.trusted, keys.fresh) == (Condition.DOWN, False, False)

        document.failure = None
        assert await keys.find("ec", "ES256") is not None


async def test_a_failed_reading_is_repeated_soon() -> None:
    document = Document()
    document.failure = JwksError("no answer")
    async with known(document, keys_refresh_seconds_min=0.01) as keys:
        await until(lambda: document.reads >= 3)
        document.failure = None

        await until(lambda: keys.component.status is Condition.OK)


async def test_readiness_sees_that_the_task_has_died() -> None:
    document = Document()
    document.failure = ArithmeticError("a defect")
    async with known(document) as keys:
        assert keys._task is not None
        await asyncio.wait({keys._task})

        assert keys.component.status is Condition.DOWN
        assert "died" in keys.component.detail


async def test_it_ends_while_it_reads() -> None:
    document = Document()
    document.go_on.clear()
    async with known(document) as keys:
        await until(lambda: document.reads == 1)
    assert keys._task is not None
    assert keys._task.cancelled()
