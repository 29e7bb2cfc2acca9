"""A gateway that answers as it is told, a log with messages, and the sender between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from gateway import sms
from gateway.bridge_settings import BridgeSettings
from gateway.sms import SmsSender
from ledger.identifiers import MESSAGE, certificate_entity, identifier
from ledger.records import RECORD_SCHEMA, Activated, AnyBody, CvcReissued, Record, Status
from persistence import codec
from persistence.errors import StorageUnavailableError
from persistence.log import Batch, Change, QueuedMessage
from persistence.memory import MemoryLog
from persistence.vault import SMS, Sms, Vault

NOON = 1_795_500_000_000
PHONE, TEXT = "+79990000001", "CVC 4821"
URL = "https://sms.example/send?token=hidden"
VAULT = Vault.generate()
CODE = "GC-00000001"
CERTIFICATE = certificate_entity(CODE)

Answer = httpx.Response | Exception


def reply(status: int, text: str = "", **headers: str) -> httpx.Response:
    """An answer that is read from the connection, as a real one is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(text.encode()))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


class FlakyLog(MemoryLog):
    """A log that is away as often as it is told."""

    away = 0

    async def messages_due(self, now: int, limit: int = 1_000) -> list[QueuedMessage]:
        self._answer()
        return await super().messages_due(now, limit)

    async def message_settle(self, message: QueuedMessage, failure: str | None = None) -> None:
        self._answer()
        await super().message_settle(message, failure)

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise StorageUnavailableError("away")


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sms, "POLL_SECONDS", 0.0)
        monkeypatch.setattr(sms, "STORAGE_SECONDS", 0.0)
        self.clock = Clock()
        self.log = FlakyLog()
        self.requests: list[httpx.Request] = []
        self.answer: Callable[[httpx.Request], Answer] = lambda _: reply(202)
        self.position = codec.START

    async def queue(self, number: int = 1, sealed: bytes | None = None) -> QueuedMessage:
        if sealed is None:
            sealed = VAULT.seal(msgspec.json.encode(Sms(to=PHONE, text=TEXT)), SMS)
        message = QueuedMessage(f"sms_{number}", certificate_entity(f"GC-{number:08d}"), sealed, NOON, NOON)
        assert await self.log.append(Batch(messages=(message,))) is None
        return message

    async def issue(self, *bodies: AnyBody) -> list[str]:
        """Let these things happen to one certificate; gives the ids of the messages that are sent for them."""
        ids: list[str] = []
        for body in bodies:
            self.position, stored = self._stored(body)
            version = self.position.version
            messages: tuple[QueuedMessage, ...] = ()
            if isinstance(body, Activated | CvcReissued):
                sealed = VAULT.seal(msgspec.json.encode(Sms(to=PHONE, text=f"CVC {version:04d}")), SMS)
                ids.append(identifier(MESSAGE, CODE, version))
                messages = (QueuedMessage(ids[-1], CERTIFICATE, sealed, self.clock.now, self.clock.now),)
            change = Change(CERTIFICATE, version - 1, (stored,))
            assert await self.log.append(Batch(changes=(change,), messages=messages)) is None
        return ids

    def _stored(self, body: AnyBody) -> tuple[codec.Position, bytes]:
        version = self.position.version + 1
        record = Record(RECORD_SCHEMA, version, NOON, "ledger", None, b"", b"", Status.ACTIVE, 0, 0, body)
        stored, position = codec.encode(self.position, record)
        return position, stored

    def sent(self) -> list[str]:
        """Ids of the messages that got to the gateway, in order."""
        return [request.headers["idempotency-key"] for request in self.requests]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def running(self, handle: object = None) -> AsyncIterator[SmsSender]:
        settings = BridgeSettings(bootstrap="127.0.0.1:1", sms_url=URL)
        transport = httpx.MockTransport(handle or self.handle)  # type: ignore[arg-type]
        stop = asyncio.Event()
        async with httpx.AsyncClient(transport=transport) as client:
            sender = SmsSender(self.log, VAULT, settings, self.clock, client)
            task = asyncio.create_task(sender.run(stop))
            try:
                yield sender
            finally:
                stop.set()
                async with asyncio.timeout(60):
                    await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0)
