"""What tests of shards need: a clock, shards over one log, the ways between them, and commands to give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import OutcomeUnknownError
from actors.issuer import Issuer
from actors.settings import ActorSettings
from actors.shard import Shard
from ledger.answers import Answer
from ledger.commands import (
    SYSTEM,
    Activate,
    AnyCommand,
    Authorize,
    Origin,
    Place,
    PlannedLine,
    RecordPayment,
    Report,
    Reserve,
    Sell,
)
from ledger.identifiers import is_certificate
from ledger.policy import Policy
from persistence.codec import decode
from persistence.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from ledger.records import Record
    from persistence.codes import CodeStore
    from persistence.log import Log

CODE = "GC-7K2M-9QXA"
CERTIFICATE = f"c:{CODE}"
ORDER = "o:SO-1"
POS = Origin(client="till", channel="POS", own_only=True)
RUB = "RUB"
SELL = Sell("SO-1", "1")
"""The sale of CODE for the first line of ORDER."""
LOST = OutcomeUnknownError("the other shard did not answer")
VAULT = Vault.generate()


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000)


class Direct:
    """The ledger as one or two shards see it: certificates live in one, orders in the other (or in the same)."""

    def __init__(self) -> None:
        self.certificates: Shard | None = None
        self.orders: Shard | None = None
        self.asked: list[tuple[str, AnyCommand]] = []
        self.trouble: list[Callable[[], Any]] = []
        """For each of the next calls: what is awaited before it goes through."""

    async def ask(self, entity: str, command: AnyCommand, origin: Origin) -> Answer:
        self.asked.append((entity, command))
        if self.trouble:
            await self.trouble.pop(0)()
        shard = self.certificates if is_certificate(entity) else self.orders
        assert shard is not None
        return await ask(shard, entity, command, origin)


class Stage:
    """Makes shards over one log.

    Args:
        clock: theirs.
        log: theirs.
        running: stops them.
    """

    def __init__(self, clock: FakeClock, log: Log, running: AsyncExitStack) -> None:
        self.clock = clock
        self.log = log
        self.ledger = Direct()
        self.shards: list[Shard] = []
        self._running = running

    async def shard(
        self,
        settings: ActorSettings | None = None,
        *,
        log: Log | None = None,
        policy: Policy | None = None,
        imported: CodeStore | None = None,
        vault: Vault = VAULT,
    ) -> Shard:
        """Return a shard that runs; the first one is where `ledger` finds every entity."""
        shard = Shard(
            f"certificates:{len(self.shards):02}",
            log or self.log,
            Issuer(vault),
            self.ledger,
            self.clock,
            policy or Policy(),
            settings or ActorSettings(),
            imported,
        )
        self.shards.append(shard)
        self.ledger.certificates = self.ledger.certificates or shard
        self.ledger.orders = self.ledger.orders or shard
        task = asyncio.create_task(shard.run(), name=shard.name)
        self._running.push_async_callback(stop, shard, task)
        return shard


async def stop(shard: Shard, task: asyncio.Task[None]) -> None:
    """Stop a shard and its loop."""
    await shard.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask(shard: Shard, entity: str, command: AnyCommand, origin: Origin = POS) -> Answer:
    """Give a command as a caller does, and wait for its outcome.

    Raises:
        ActorError: there is none.
    """
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(outcome: Answer | Exception) -> None:
        assert not future.done(), "an outcome was told twice"
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    shard.submit(entity, command, origin, done)
    return await future


async def issue(shard: Shard, code: str = CODE, denomination: int = 150_000) -> None:
    """Make an active certificate the short way, without its order."""
    await ask(shard, f"c:{code}", Reserve("SO-0", code), SYSTEM)
    await ask(shard, f"c:{code}", Report("allocate", code, code, None, denomination, RUB, order_id="SO-0"), SYSTEM)
    answer = await ask(shard, f"c:{code}", Activate("SO-0", code, denomination, RUB), SYSTEM)
    assert body(answer)["status"] == "Active"
    await until(lambda: shard.facts["errands"] == 0)


def authorize(amount: int = 1_000, ttl_ms: int | None = None, cvc: bytes | None = None) -> Authorize:
    return Authorize(amount, RUB, cvc, ttl_ms=ttl_ms)


def keyed(key: str, fingerprint: str = "the request") -> Origin:
    """Return the till with an idempotency key."""
    return msgspec.structs.replace(POS, key=key.encode(), fingerprint=fingerprint.encode())


def placed(*lines: str, planned: int = 150_000, version: int = 1, cancelled: bool = False) -> Place:
    """Return an order of such lines."""
    recipient = VAULT.seal(b'{"phone":"+79990000001"}', "recipient")
    planned_lines = tuple(PlannedLine(line, planned, recipient) for line in lines)
    return Place(version, cancelled, "OnlineStore", RUB, planned_lines)


def paid(*lines: str, amount: int = 150_000, version: int = 1) -> RecordPayment:
    """Return the payment that settles an order of such lines."""
    return RecordPayment(version, RUB, amount * len(lines), 0, True, dict.fromkeys(lines, amount))


def body(outcome: Answer | BaseException) -> dict[str, Any]:
    """Return what an answer shows; it has to show something."""
    assert isinstance(outcome, Answer), outcome
    assert outcome.refused is None, outcome.refused
    shown: dict[str, Any] = msgspec.json.decode(outcome.body)
    return shown


def refusal(answer: Answer) -> str:
    """Return the name of the refusal; it has to be one."""
    assert answer.refused is not None, answer.body
    return answer.refused.code.value


async def records(log: Log, entity: str = CERTIFICATE) -> list[Record]:
    """Return the whole history of an entity."""
    return [decode(stored) for stored in await log.history(entity)]


async def types(log: Log, entity: str = CERTIFICATE) -> list[str]:
    """Return what happened to an entity, in short."""
    return [str(record.body.__struct_config__.tag) for record in await records(log, entity)]


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else run until something holds; the test's own time-out bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


async def quiet(*shards: Shard) -> None:
    """Wait until no shard has anything under way."""
    await until(lambda: not any(shard.facts[what] for shard in shards for what in ("errands", "sales", "queued")))


def statuses(order: Answer) -> list[str]:
    """Return where the lines of an order stand."""
    return [line["status"] for line in body(order)["certificateLines"]]
