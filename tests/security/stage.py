"""What is attacked: gateways over real shards and a real Redis, with two clients of each role that owns something."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.host import wall_clock
from actors.router import Router
from gateway.guesses import kept_max
from gateway.services import Services
from gateway.settings import GatewaySettings
from ledger.commands import SYSTEM, Look, Place, PlannedLine, RecordPayment, Sell
from ledger.identifiers import certificate_entity, order_entity
from ledger.money import DAY_MS
from ledger.policy import Policy
from persistence.keys import MemoryKeyStore
from persistence.vault import RECIPIENT, SMS, Recipient, Sms, Vault
from persistence.windows import RedisWindows
from tests.integration.http_client import PATIENCE_SECONDS, PATIENT, Answer, Line, get, post
from tests.real.shards import Well, listening, sharded
from tests.unit.gateway.house import ROLES, client_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actors.errors import ActorError
    from actors.ports import Ask, BulkLedger
    from ledger.answers import Answer as Outcome
    from ledger.commands import AnyCommand, Origin
    from persistence.log import Log

RUB = "RUB"
DENOMINATION = 150_000
PHONE = "+79990000001"
NAME = "Annabella"
RECIPIENT_KNOWN = Recipient(phone=PHONE, name=NAME, locale="en")
OTHERS = {"storefront-2": "storefront", "till-2": "pos"}
"""Further clients of a role, whose operations are others'."""


class Watched:
    """The ledger as gateways ask it; keeps what it was asked."""

    def __init__(self, ledger: BulkLedger) -> None:
        self._ledger = ledger
        self.asked: list[Ask] = []

    def ask_now(self, entity: str, command: AnyCommand, origin: Origin) -> asyncio.Future[Outcome] | None:
        asking = self._ledger.ask_now(entity, command, origin)
        if asking is not None:
            self.asked.append((entity, command, origin))
        return asking

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Outcome:
        self.asked.append((entity, command, origin))
        return await self._ledger.ask(entity, command, origin)

    async def ask_many(self, asks: Sequence[Ask]) -> list[Outcome | ActorError]:
        self.asked += asks
        return await self._ledger.ask_many(asks)

    @property
    def changes(self) -> list[AnyCommand]:
        """What would change or tell something: all but looks at whether the ledger answers."""
        return [command for _, command, _ in self.asked if not isinstance(command, Look)]


class Door(NamedTuple):
    """A gateway, and how to reach it."""

    port: int
    ledger: Watched
    lines: list[Line]

    async def line(self, local: str | None = None) -> Line:
        """Return a new connection, from an address of this machine."""
        address = None if local is None else (local, 0)
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=address))
        self.lines.append(line)
        return line

    async def ask(self, data: bytes) -> Answer:
        """Send a request on a connection of its own."""
        line = await self.line()
        answer = await line.ask(data)
        await line.close()
        return answer

    async def at_once(self, requests: Sequence[bytes]) -> list[Answer]:
        """Send all of them before any answer, each on a connection of its own."""
        lines = [await self.line() for _ in requests]
        answers = await asyncio.gather(*(line.ask(data) for line, data in zip(lines, requests, strict=True)))
        for line in lines:
            await line.close()
        return list(answers)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; gives all that comes back until the gateway hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await writer.drain()
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


class Street:
    """Everything that is attacked, and its regular trade."""

    def __init__(self, log: Log, vault: Vault, ledger: BulkLedger, doors: list[Door]) -> None:
        self._log = log
        self._vault = vault
        self._ledger = ledger
        self.doors = doors

    @property
    def door(self) -> Door:
        """The first gateway."""
        return self.doors[0]

    async def issue(self, code: str, client: str = "pos") -> str:
        """Have an active certificate of 1 500.00, sold by a client. Returns its CVC."""
        order, entity = f"SO-{code}", certificate_entity(code)
        sealed = self._vault.seal(msgspec.json.encode(RECIPIENT_KNOWN), RECIPIENT)
        plan = (PlannedLine("1", DENOMINATION, sealed),)
        await self._ledger.ask(order_entity(order), Place(1, False, "OnlineStore", RUB, plan), SYSTEM)
        payment = RecordPayment(1, RUB, DENOMINATION, 0, True, {"1": DENOMINATION})
        await self._ledger.ask(order_entity(order), payment, SYSTEM)
        if client == "system":
            sold = (await self._ledger.ask(entity, Sell(order, "1"), SYSTEM)).body
        else:
            body = {"purpose": "Sale", "orderId": order, "orderLineId": "1"}
            sold = (await self.door.ask(call(code, "authorize", body, client))).content
        assert msgspec.json.decode(sold)["status"] == "Active", sold
        due = await self._log.messages_due(wall_clock() + DAY_MS, 10_000)
        (message,) = [one for one in due if one.entity == entity]
        text = msgspec.json.decode(self._vault.unseal(message.sealed, SMS), type=Sms).text
        return text.partition("CVC: ")[2][:4]

    async def hold(self, code: str, client: str, amount: int = 1_000, cvc: str | None = None) -> str:
        """Have a client authorize. Returns the authorizationId."""
        answer = await self.door.ask(call(code, "authorize", redemption(amount, cvc), client))
        assert answer.status == 201, answer
        return str(msgspec.json.decode(answer.content)["authorizationId"])

    async def state(self, code: str) -> dict[str, Any]:
        """The certificate as support sees it."""
        answer = await self.door.ask(get(f"/certificates/{code}", client="support"))
        found: dict[str, Any] = msgspec.json.decode(answer.content)
        return found


@asynccontextmanager
async def street(
    redis_url: str,
    folder: Path,
    gateways: int = 1,
    **bounds: Any,  # noqa: ANN401 - those of the settings
) -> AsyncIterator[Street]:
    """Run the shards and some gateways over them, on an empty Redis. Keys are the clients' names."""
    settings = GatewaySettings(port=0, **(PATIENT | bounds))
    clients = dict(zip(ROLES, ROLES, strict=True)) | OTHERS
    keys = MemoryKeyStore([client_key(name, role=role) for name, role in clients.items()])
    vault, doors = Vault.generate(), list[Door]()
    async with AsyncExitStack() as stack:
        directory, log = await stack.enter_async_context(sharded(redis_url, folder, vault, Policy()))
        for _ in range(gateways):
            router = await stack.enter_async_context(Router(directory, directory.settings))
            ledger = Watched(router)
            windows = RedisWindows(
                redis_url, "gl", settings.guess_window_seconds, kept_max(settings), timeout_seconds=PATIENCE_SECONDS
            )
            stack.push_async_callback(windows.close)
            services = Services(
                ledger=ledger, log=log, vault=vault, keys=keys, windows=windows, clock=wall_clock, health=Well()
            )
            url = await stack.enter_async_context(listening(services, settings))
            doors.append(Door(int(url.rsplit(":", 1)[1]), ledger, []))
        quiet = await stack.enter_async_context(Router(directory, directory.settings))
        try:
            yield Street(log, vault, quiet, doors)
        finally:
            for line in [line for door in doors for line in door.lines]:
                await line.close()


def redemption(amount: int = 1_000, cvc: str | None = None) -> dict[str, object]:
    """The body of an authorization."""
    body: dict[str, object] = {"purpose": "Redemption", "amount": amount, "currency": RUB}
    return body if cvc is None else body | {"cvc": cvc}


def call(code: str, name: str, body: object, client: str, *headers: str) -> bytes:
    """A POST call on a certificate, as bytes."""
    return post(f"/certificates/{code}/{name}", msgspec.json.encode(body), *headers, client=client)


def told(answer: Answer) -> tuple[int, str]:
    """Status and, of a problem, its code."""
    return answer.status, "" if answer.status < 400 else answer.code
