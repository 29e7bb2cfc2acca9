"""A world for the command line: a ledger in memory with some history, keys in memory, roles that only take notes."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from typer.testing import CliRunner, Result

from actors.reports import ActorReport
from gift_ledger.cli import app
from gift_ledger.cli.context import Context
from gift_ledger.cli.doors import Doors, Ready
from gift_ledger.endpoints import Endpoints
from gift_ledger.settings import Settings
from ledger import certificate, order, publications
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import Origin, PlannedLine
from ledger.identifiers import MESSAGE, certificate_entity, identifier, order_entity
from ledger.order import Order
from persistence import codec
from persistence.acts import ActStore
from persistence.keys import KeyStore, MemoryKeyStore
from persistence.log import Batch, Change, Log, QueuedMessage
from persistence.memory import MemoryLog
from persistence.memory_acts import MemoryActStore
from persistence.settings import StorageSettings

CODE = "GC-7K2M-9QXA"
ORDER = "SO-1001"
NOON = 1_795_500_000_000
"""Milliseconds; 2026-11-24T06:00:00Z."""
ENDPOINTS = Endpoints(
    http="http://127.0.0.1:18080",
    redis="redis://ledger:hidden@127.0.0.1:16379/0",
    kafka="127.0.0.1:19092",
    ray_dashboard="http://127.0.0.1:18265",
    sms_inbox="http://127.0.0.1:18081",
    ray="127.0.0.1:16380",
)
TILL = Origin(client="till-1", channel="POS")


class World:
    """What the commands find, and what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"GIFT_LEDGER_REDIS_URL": "redis://:hidden@127.0.0.1:1/0"}
        self.log = MemoryLog()
        self.keys = MemoryKeyStore()
        self.acts = MemoryActStore()
        self.reports: list[ActorReport] = []
        self.ran: list[tuple[str, Settings]] = []
        self.doors = Doors(log=self._log, keys=self._keys, acts=self._acts, reports=self._reports, up=self._up)
        self.runner = CliRunner()
        self.stopped_with: int | None = None

    def use(self, **doors: object) -> None:
        """Put something else behind a door."""
        self.doors = msgspec.structs.replace(self.doors, **doors)

    def run(self, *args: str) -> Result:
        """Run the command line."""
        context = Context(environ=self.environ, folder=self.folder, doors=self.doors)
        return self.runner.invoke(app, list(args), obj=context, catch_exceptions=False)

    def role(self, name: str, code: int = 0) -> Callable[[Settings], Awaitable[int]]:
        """A role that notes that it ran."""

        async def run(settings: Settings) -> int:
            self.ran.append((name, settings))
            return code

        return run

    def start_stack(self) -> None:
        """Leave the endpoints of a running stack in the data folder."""
        data_dir = self.folder / "data"
        data_dir.mkdir(mode=0o700)
        ENDPOINTS.write(data_dir)
        self.environ = {"GIFT_LEDGER_DATA_DIR": str(data_dir)}

    async def _log(self, _settings: StorageSettings) -> Log:
        return self.log

    async def _keys(self, _settings: StorageSettings) -> KeyStore:
        return self.keys

    async def _acts(self, _settings: StorageSettings) -> ActStore:
        return self.acts

    async def _reports(self, _settings: Settings) -> list[ActorReport]:
        return self.reports

    async def _up(self, settings: Settings, ready: Ready) -> int:
        self.ran.append(("up", settings))
        self.stopped_with = await ready(ENDPOINTS)
        return self.stopped_with or 0


async def fill(log: Log) -> None:
    """A certificate of 1 500.00 that was sold, used in part and has an open hold; and its order."""
    bodies: Sequence[r.AnyBody] = (
        r.Reserved(ORDER, "1", NOON + 86_400_000),
        r.Joined(150_000, "RUB"),
        r.Activated(ORDER, "1", 150_000, "RUB", NOON + 31_536_000_000, b"digest", b"sealed"),
        r.Held(50_000, NOON + 900_000, "POS-7/991"),
        r.Captured(4, 50_000, final=True),
        r.Held(20_000, NOON + 900_000),
    )
    state, position, stored, outbox = Certificate(code=CODE), codec.START, [], []
    for body in bodies:
        (record,), state = certificate.advance(state, NOON, TILL, body)
        encoded, position = codec.encode(position, record)
        stored.append(encoded)
        outbox += [
            (certificate_entity(CODE), codec.encode_publication(event))
            for event in publications.publications(state, record)
        ]
    message = QueuedMessage(identifier(MESSAGE, CODE, 3), certificate_entity(CODE), b"sealed", NOON, NOON, tries=2)
    change = Change(certificate_entity(CODE), 0, tuple(stored), NOON + 900_000, codec.snapshot(state, position))
    assert await log.append(Batch((change,), tuple(outbox), messages=(message,))) is None
    assert await log.append(Batch((await _order(),))) is None


async def _order() -> Change:
    bodies: Sequence[r.AnyBody] = (
        r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", 150_000), PlannedLine("2", 70_000))),
        r.LineAllocated("1", CODE),
        r.LinePlanTold("1", 150_000, "RUB"),
        r.PaymentRecorded(1, "RUB", 220_000, 0, True, {"1": 150_000, "2": 70_000}),
        r.LineActivated("1", CODE),
        r.LineAllocated("2", "GC-OTHER-01"),
        r.LineStuck("2", "GC-OTHER-01", "activate", "CodeAlreadySold"),
        r.LineReleased("2", "GC-OTHER-01", "line not in the order"),
        r.Placed(2, True, "OnlineStore", "RUB"),
    )
    records, _ = order.advance(Order(order_id=ORDER), NOON, Origin(client="orders"), *bodies)
    stored, position = [], codec.START
    for record in records:
        encoded, position = codec.encode(position, record)
        stored.append(encoded)
    return Change(order_entity(ORDER), 0, tuple(stored))
