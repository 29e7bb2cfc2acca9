"""The gateway in a house of its own: the ASGI application over one shard and a log in memory. No server, no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

import msgspec

from actors.errors import ActorError
from actors.issuer import Issuer
from actors.settings import ActorSettings
from actors.shard import Shard
from gateway.app import create_app
from gateway.documentation import openapi
from gateway.guesses import kept_max
from gateway.services import Component, Condition, Health, Services
from gateway.settings import GatewaySettings
from ledger.commands import SYSTEM, AnyCommand, Origin, Place, PlannedLine, RecordPayment
from ledger.policy import Policy
from persistence.keys import ClientKey, MemoryKeyStore, hash_key
from persistence.memory import MemoryLog
from persistence.memory_windows import MemoryWindows
from persistence.vault import RECIPIENT, SMS, Recipient, Sms, Vault
from persistence.windows import Windows
from tests.unit.gateway.documented import Documented

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from actors.ports import Ask
    from ledger.answers import Answer
    from persistence.codes import CodeStore
    from persistence.log import Log

Json = Any
"""What a body is once it is read."""
App = Callable[..., Awaitable[None]]
"""An ASGI application."""

CODE = "GC-7K2M-9QXA"
OTHER = "GC-0000-0002"
UNKNOWN = "GC-0000-0404"
RUB = "RUB"
ORDER = "SO-1001"
ROLES = ("storefront", "pos", "payments", "support", "ops")
WELL = Component(status=Condition.OK)
VAULT = Vault.generate()
DOCUMENTED = Documented(openapi())


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_795_417_200_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000)


class OneShard:
    """The ledger with one shard. `trouble` is awaited before a call goes through."""

    def __init__(self) -> None:
        self.shard: Shard | None = None
        self.trouble: Callable[[], Awaitable[None]] | None = None
        self.asked: list[tuple[str, AnyCommand, Origin]] = []

    def ask_now(self, entity: str, command: AnyCommand, origin: Origin) -> asyncio.Future[Answer]:
        return asyncio.ensure_future(self.ask(entity, command, origin))

    async def ask_many(self, asks: Sequence[Ask]) -> list[Answer | ActorError]:
        outcomes = await asyncio.gather(*(self.ask(*ask) for ask in asks), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, ActorError):
                raise outcome
        return cast("list[Answer | ActorError]", outcomes)

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        self.asked.append((entity, command, origin))
        if self.trouble is not None:
            await self.trouble()
        assert self.shard is not None
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.shard.submit(entity, command, origin, done)
        return await future


class Probe:
    """Health as the test wants it."""

    def __init__(self) -> None:
        self.health_now = Health(storage=WELL, shards=WELL, kafka=WELL, sms=WELL)
        self.trouble: Callable[[], Awaitable[None]] | None = None
        self.asked = 0

    async def health(self) -> Health:
        self.asked += 1
        if self.trouble is not None:
            await self.trouble()
        return self.health_now


class Response(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Json:
        return msgspec.json.decode(self.content)

    @property
    def code(self) -> str:
        return str(self.body["code"])


class House:
    """A running gateway and everything behind it."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        fast_lane: bool,
        log: Log | None = None,
        policy: Policy | None = None,
        imported: CodeStore | None = None,
        windows: Windows | None = None,
        vault: Vault | None = None,
    ) -> None:
        self.clock = Clock()
        self.vault = vault or VAULT
        self.log = log or MemoryLog(clock=self.clock)
        self.ledger = OneShard()
        self.probe = Probe()
        self.keys = MemoryKeyStore([client_key(role) for role in ROLES] + [client_key("till-2", role="pos")])
        self.policy = policy or Policy()
        self.imported = imported
        self.windows = windows or MemoryWindows(settings.guess_window_seconds, kept_max(settings))
        self.services = Services(
            ledger=self.ledger,
            log=self.log,
            vault=self.vault,
            keys=self.keys,
            windows=self.windows,
            clock=self.clock,
            health=self.probe,
        )
        self.settings = settings
        self.app: App = create_app(self.services, settings, fast_lane=fast_lane)

    async def request(
        self,
        method: str,
        target: str,
        client: str | None = None,
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        chunks: Iterator[bytes] | None = None,
    ) -> Response:
        """Send a request as a server would hand it on. `client` names the key; `chunks` are parts of a body."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        if client is not None:
            given.setdefault("authorization", f"Bearer {client}")
        if content:
            given.setdefault("content-length", str(len(content)))
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value],
            "server": ("127.0.0.1", 8080),
            "client": ("127.0.0.1", 50_000),
            "state": {},
        }
        waiting = list(chunks or [content])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not waiting:
                await asyncio.Event().wait()
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or chunks is not None}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *parts = sent
        assert start["type"] == "http.response.start"
        names = [name.decode() for name, _ in start["headers"]]
        assert len(names) == len(set(names)), "a header stands twice"
        response = Response(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(part.get("body", b"") for part in parts),
        )
        DOCUMENTED.check(method, path, response.status, response.headers, response.content)
        return response

    async def post(
        self, call: str, body: object, client: str, code: str = CODE, headers: dict[str, str] | None = None
    ) -> Response:
        """Make a POST call on a certificate."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.request(
            "POST",
            f"/certificates/{code}/{call}",
            client,
            content=content,
            headers={"content-type": "application/json", **(headers or {})},
        )

    async def get(self, target: str, client: str | None = "support", headers: dict[str, str] | None = None) -> Response:
        return await self.request("GET", target, client, headers=headers)

    # --- stories -----------------------------------------------------------------------------------------------------

    async def sell(self, code: str = CODE, line: str = "1", client: str = "pos", order: str = ORDER) -> Response:
        return await self.post("authorize", {"purpose": "Sale", "orderId": order, "orderLineId": line}, client, code)

    async def hold(self, amount: int = 50_000, client: str = "pos", code: str = CODE, **more: object) -> Response:
        body = {"purpose": "Redemption", "amount": amount, "currency": RUB, **more}
        return await self.post("authorize", body, client, code)

    async def place(self, *lines: str, order: str = ORDER, version: int = 1, cancelled: bool = False) -> None:
        """Have the order's event come: each line plans 1 500.00."""
        recipient = msgspec.json.encode(Recipient(phone="+79990000001", locale="en"))
        sealed = self.vault.seal(recipient, RECIPIENT)
        planned = tuple(PlannedLine(line, 150_000, sealed) for line in lines)
        await self.ledger.ask(f"o:{order}", Place(version, cancelled, "OnlineStore", RUB, planned), SYSTEM)

    async def pay(self, *lines: str, order: str = ORDER, version: int = 1) -> None:
        """Have the payment's event come: it settles the order."""
        paid = dict.fromkeys(lines, 150_000)
        payment = RecordPayment(version, RUB, sum(paid.values()), 0, True, paid)
        await self.ledger.ask(f"o:{order}", payment, SYSTEM)

    async def issue(self, code: str = CODE, line: str = "1", client: str = "pos", order: str = ORDER) -> str:
        """Have an active certificate of 1 500.00, sold by `client`. Returns its CVC."""
        await self.place(line, order=order)
        await self.pay(line, order=order)
        sold = await self.sell(code, line, client, order)
        assert sold.body["status"] == "Active", sold.content
        return await self.cvc(code)

    async def cvc(self, code: str = CODE) -> str:
        """Return the CVC that the last SMS about the code holds."""
        messages = [message for message in await self.log.messages_due(self.clock.now) if message.entity == f"c:{code}"]
        newest = max(messages, key=lambda message: int(message.message_id.split("_")[1]))
        text = msgspec.json.decode(self.vault.unseal(newest.sealed, SMS), type=Sms).text
        return text.partition("CVC: ")[2][:4]


def client_key(
    client: str, role: str | None = None, revoked_at: int | None = None, expires_at: int | None = None
) -> ClientKey:
    """Return a stored key whose text is the client's name."""
    return ClientKey(
        key_id=client,
        key_hash=hash_key(client),
        client=client,
        role=role or client,
        channel={"storefront": "OnlineStore", "pos": "Store"}.get(role or client),
        created_at=0,
        revoked_at=revoked_at,
        expires_at=expires_at,
    )


@asynccontextmanager
async def opened(
    settings: GatewaySettings | None = None,
    *,
    fast_lane: bool = True,
    log: Log | None = None,
    policy: Policy | None = None,
    imported: CodeStore | None = None,
    windows: Windows | None = None,
    vault: Vault | None = None,
) -> AsyncIterator[House]:
    """Run a house: its shard, and the lifespan of its application."""
    shard = furnished(
        settings, fast_lane=fast_lane, log=log, policy=policy, imported=imported, windows=windows, vault=vault
    )
    async with shard as house, lifespan(house.app):
        yield house
        house.ledger.trouble = None


@asynccontextmanager
async def furnished(
    settings: GatewaySettings | None = None,
    *,
    fast_lane: bool = True,
    log: Log | None = None,
    policy: Policy | None = None,
    imported: CodeStore | None = None,
    windows: Windows | None = None,
    vault: Vault | None = None,
) -> AsyncIterator[House]:
    """Run a house's shard; whoever serves its application runs the lifespan."""
    house = House(
        settings or GatewaySettings(),
        fast_lane=fast_lane,
        log=log,
        policy=policy,
        imported=imported,
        windows=windows,
        vault=vault,
    )
    async with AsyncExitStack() as stack:
        shard = Shard(
            "certificates:00",
            house.log,
            Issuer(house.vault),
            house.ledger,
            house.clock,
            house.policy,
            ActorSettings(),
            house.imported,
        )
        house.ledger.shard = shard
        running = asyncio.create_task(shard.run(), name="shard")
        stack.push_async_callback(_stopped, shard, running)
        yield house


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    """Start an ASGI application, and end it."""
    up, down, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    received = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        kind = next(received)
        if kind == "lifespan.shutdown":
            await down.wait()
        return {"type": kind}

    async def send(message: dict[str, str]) -> None:
        (up if not up.is_set() else done).set()
        assert message["type"].endswith(".complete"), message

    task = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    try:
        yield
    finally:
        down.set()
        await task


async def _stopped(shard: Shard, running: asyncio.Task[None]) -> None:
    await shard.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
