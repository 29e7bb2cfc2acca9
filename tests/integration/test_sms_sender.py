"""CVCs get to a real SMS gateway over HTTP, once."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from actors.host import wall_clock
from examples.sms_gateway import SmsGateway
from gateway.bridge_settings import BridgeSettings
from gateway.sms import SmsSender
from ledger.identifiers import MESSAGE, certificate_entity, identifier
from persistence.log import Batch, QueuedMessage
from persistence.memory import MemoryLog
from persistence.vault import SMS, Sms, Vault
from tests.integration.kafka_stage import running, until
from tests.real.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PHONE = "+79990000001"


@asynccontextmanager
async def gateway(**options: int) -> AsyncIterator[tuple[SmsGateway, str]]:
    inbox = SmsGateway(**options)
    url = await inbox.start()
    try:
        yield inbox, f"{url}/"
    finally:
        await inbox.stop()


def message(vault: Vault, number: int = 1) -> QueuedMessage:
    code = f"GC-{number:08d}"
    sealed = vault.seal(msgspec.json.encode(Sms(to=PHONE, text=f"CVC {number:04d}")), SMS)
    now = wall_clock()
    return QueuedMessage(identifier(MESSAGE, code, 3), certificate_entity(code), sealed, now, now)


@asynccontextmanager
async def sender(log: MemoryLog, vault: Vault, url: str) -> AsyncIterator[SmsSender]:
    async with httpx.AsyncClient() as client:
        settings = BridgeSettings(bootstrap="127.0.0.1:1", sms_url=url)
        async with running(SmsSender(log, vault, settings, wall_clock, client)) as running_sender:
            yield running_sender


async def settled(log: MemoryLog) -> None:
    while await log.messages_waiting():  # noqa: ASYNC110 - the log sets no event
        await asyncio.sleep(0.02)


async def test_messages_arrive_and_leave_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    log, vault = MemoryLog(), Vault.generate()
    queued = [message(vault, number) for number in range(100)]
    await log.append(Batch(messages=tuple(queued)))

    async with gateway() as (inbox, url), sender(log, vault, url) as sms:
        await until(lambda: sms.report()["accepted"] == 100)

    assert await log.messages_waiting() == 0
    assert {one.message_id for one in inbox.messages} == {one.message_id for one in queued}
    assert {(one.to, one.text) for one in inbox.messages} == {(PHONE, f"CVC {number:04d}") for number in range(100)}
    assert PHONE not in caplog.text
    assert "CVC 00" not in caplog.text


async def test_a_gateway_that_fails_at_first_is_tried_again() -> None:
    log, vault = MemoryLog(), Vault.generate()
    await log.append(Batch(messages=(message(vault),)))

    async with gateway(fail_first=1) as (inbox, url), sender(log, vault, url) as sms:
        await until(lambda: sms.report()["retried"])
        assert not sms.ready()
        assert sms.report()["lastError"] == "HTTP 500"
        await until(lambda: sms.report()["accepted"])
        assert sms.ready()

    assert len(inbox.messages) == 1


async def test_a_gateway_that_is_away_is_tried_again() -> None:
    log, vault = MemoryLog(), Vault.generate()
    await log.append(Batch(messages=(message(vault),)))
    inbox, port = SmsGateway(), free_port()

    async with sender(log, vault, f"http://127.0.0.1:{port}/") as sms:
        await until(lambda: sms.report()["lastError"] == "ConnectError")
        assert not sms.ready()
        await inbox.start(port=port)
        await until(lambda: sms.report()["accepted"])
    await inbox.stop()

    assert len(inbox.messages) == 1


async def test_a_message_that_was_sent_before_a_crash_is_known_by_its_key() -> None:
    log, vault = MemoryLog(), Vault.generate()
    queued = message(vault)
    async with gateway() as (inbox, url):
        for _ in range(2):
            await log.append(Batch(messages=(queued,)))
            async with sender(log, vault, url):
                await settled(log)

    assert len(inbox.messages) == 1


async def test_a_slow_gateway_does_not_keep_the_sender_from_stopping() -> None:
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    log, vault = MemoryLog(), Vault.generate()
    await log.append(Batch(messages=(message(vault),)))
    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with sender(log, vault, f"http://127.0.0.1:{port}/"):
            await asked.wait()

    assert await log.messages_waiting() == 1
