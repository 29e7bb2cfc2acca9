"""All that the log knows of one certificate or order, put together for operators."""

from typing import Final

from msgspec import UNSET, Struct

from actors.placement import dedicated_name, may_be_dedicated, shard_of
from actors.settings import ActorSettings
from ledger import records as r
from ledger import views
from ledger.certificate import Certificate
from ledger.identifiers import MESSAGE, entity_key, is_certificate, version_of
from ledger.money import rfc3339, rfc3339_or_none
from ledger.order import Order
from ledger.records import Record
from ledger.views import CertificateView, OrderView
from persistence.codec import Position, decode, decode_publication, restore_certificate, restore_order
from persistence.errors import SnapshotUnreadableError
from persistence.log import PAGE_MAX, Log, partition_of

_FOREVER_MS: Final = 2**53 - 1


class _Shown(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base: camelCase, amounts in minor units, times in RFC 3339 UTC."""


class Step(_Shown, frozen=True, kw_only=True):
    """One record of the history. Amounts are those after it; an order has none."""

    version: int
    occurred_at: str
    type: str
    client: str
    channel: str | None
    amount: int | None = None
    balance: int | None = None
    held: int | None = None
    detail: str = ""


class Place(_Shown, frozen=True, kw_only=True):
    """Where an entity lives: ``actor`` holds it once it is touched; ``timer`` is when it is woken next."""

    entity: str
    version: int
    partition: int
    actor: str
    snapshot_version: int
    timer: str | None
    outbox_size: int
    """Publications that wait in the whole partition."""


class WaitingEvent(_Shown, frozen=True, kw_only=True):
    """A publication that Kafka has yet to take."""

    topic: str
    event_id: str
    occurred_at: str


class WaitingMessage(_Shown, frozen=True, kw_only=True):
    """An SMS that has yet to be accepted, or was given up; its content is shown to nobody."""

    message_id: str
    state: str


class EntityReport(_Shown, frozen=True, kw_only=True):
    """One entity; ``timeline`` holds the latest records, oldest first."""

    certificate: CertificateView | None = None
    order: OrderView | None = None
    timeline: list[Step]
    place: Place
    outbox: list[WaitingEvent]
    messages: list[WaitingMessage]


async def read_entity(log: Log, actors: ActorSettings, entity: str, last: int) -> EntityReport | None:
    """Read an entity with its ``last`` records; ``None`` if it was never seen.

    Raises:
        StorageError: the log does not answer, or is damaged.
    """
    state, snapshot_version = await _restored(log, entity)
    if state.version == 0:
        return None
    partition = partition_of(entity, log.partitions)
    timers = await log.timers([partition])
    page = await log.outbox(partition, PAGE_MAX)
    stored = await log.history(entity, after=max(0, state.version - last), limit=last)
    key = entity_key(entity)
    published = [decode_publication(entry) for entry in page.entries]
    return EntityReport(
        certificate=views.certificate(state) if isinstance(state, Certificate) else None,
        order=views.order(state) if isinstance(state, Order) else None,
        timeline=[step(entity, decode(one), getattr(state, "currency", None)) for one in stored],
        place=Place(
            entity=entity,
            version=state.version,
            partition=partition,
            actor=_actor(entity, actors, log.partitions),
            snapshot_version=snapshot_version,
            timer=rfc3339_or_none(timers.get(entity)),
            outbox_size=page.size,
        ),
        outbox=[
            WaitingEvent(topic=event.topic, event_id=event.event_id, occurred_at=rfc3339(event.at))
            for event in published
            if is_certificate(entity) and event.key == key
        ],
        messages=await _messages(log, entity) if is_certificate(entity) else [],
    )


async def _restored(log: Log, entity: str) -> tuple[Certificate | Order, int]:
    """The state, and the version of the snapshot that it was made from (0: from the records alone)."""
    for snapshots in (True, False):
        (loaded,) = await log.load([entity], snapshots=snapshots)
        restored: tuple[Certificate | Order, Position]
        try:
            if is_certificate(entity):
                restored = restore_certificate(entity_key(entity), loaded)
            else:
                restored = restore_order(entity_key(entity), loaded)
        except SnapshotUnreadableError:
            continue  # the records say the same, only slower
        return restored[0], loaded.snapshot_version
    raise AssertionError("a state without a snapshot has none that could be unreadable")


async def _messages(log: Log, entity: str) -> list[WaitingMessage]:
    waiting = [
        WaitingMessage(message_id=message.message_id, state=f"{message.tries} tries, next {rfc3339(message.due)}")
        for message in await log.messages_due(_FOREVER_MS)
        if message.entity == entity
    ]
    code = entity_key(entity)
    given_up = [
        WaitingMessage(message_id=message_id, state=f"given up: {reason}")
        for message_id, reason in (await log.message_failures()).items()
        if version_of(message_id, code, MESSAGE) is not None
    ]
    return waiting + given_up


def _actor(entity: str, actors: ActorSettings, partitions: int) -> str:
    if may_be_dedicated(entity, actors.placement):
        return dedicated_name(entity)
    return shard_of(entity, actors.placement, actors.shards, partitions)


def step(entity: str, record: Record, currency: str | None) -> Step:
    """A record as operators see it. ``currency``: of the certificate, if it is known."""
    if not is_certificate(entity):
        kind, detail = _order_step(record.body)
        return Step(
            version=record.version,
            occurred_at=rfc3339(record.at),
            type=kind,
            client=record.client,
            channel=record.channel,
            detail=detail,
        )
    shown = views.operation(entity_key(entity), record, currency)
    told = (
        ("order", shown.order_id),
        ("line", shown.order_line_id),
        ("authorization", shown.authorization_id),
        ("voids", shown.voids),
        ("reference", shown.reference),
        ("reason", shown.reason),
        ("until", shown.expires_at),
    )
    return Step(
        version=record.version,
        occurred_at=shown.occurred_at,
        type=shown.type,
        client=record.client,
        channel=record.channel,
        amount=None if shown.amount is UNSET else shown.amount,
        balance=record.balance,
        held=record.held,
        detail="  ".join(f"{name} {value}" for name, value in told if value is not UNSET),
    )


def _order_step(body: r.AnyBody) -> tuple[str, str]:  # noqa: PLR0911 - one return for each kind of record
    """What a record of an order is called, and what it says."""
    match body:
        case r.Placed(cancelled=True):
            return "Cancel", f"order version {body.order_version}"
        case r.Placed():
            lines = ", ".join(f"{line.line_id}: {line.planned}" for line in body.lines)
            return "Place", f"order version {body.order_version}  {body.currency}  lines {lines or 'none'}"
        case r.PaymentRecorded():
            settled = "  settled" if body.settled else ""
            return "Pay", (
                f"payment version {body.payment_version}  {body.currency}  captured {body.captured}  "
                f"outstanding {body.outstanding}{settled}"
            )
        case r.LineAllocated():
            return "Allocate", f"line {body.line_id}  {body.code}"
        case r.LineReleased():
            return "Release", f"line {body.line_id}  {body.code}  {body.reason}"
        case r.LinePlanTold():
            return "Tell", f"line {body.line_id}  planned {body.planned} {body.currency}"
        case r.LineActivated():
            return "Activate", f"line {body.line_id}  {body.code}"
        case r.LineStuck():
            return "Stick", f"line {body.line_id}  {body.code}  {body.errand} refused: {body.refusal}"
        case _:
            return type(body).__name__, ""
