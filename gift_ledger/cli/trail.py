"""What an audit reads: records of the ledger and administrative acts, in bounded memory; and which are wanted."""

from collections.abc import AsyncIterator, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal

from msgspec import Struct

from gift_ledger.cli.entity import Step, step
from ledger.identifiers import entity_key, is_certificate
from ledger.money import rfc3339
from ledger.records import Record
from persistence import acts, codec
from persistence.acts import Act, ActStore
from persistence.errors import DamagedLogError
from persistence.log import Log
from persistence.reading import groups, histories


class RecordLine(Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="record"):
    """A record as it is shown. Amounts are minor units."""

    occurred_at: str
    certificate_code: str | None
    order_id: str | None
    version: int
    type: str
    client: str
    channel: str | None
    key_id: str | None
    address: str | None
    """Where the call came from; of a storefront its own, never a shopper's."""
    amount: int | None
    detail: str


class ActLine(Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="act"):
    """An entry of the administrative acts as it is shown."""

    occurred_at: str
    number: int
    intent: int
    user: str
    host: str
    command: str
    outcome: Literal["begun", "done", "failed"]
    facts: dict[str, str]


class DamageLine(Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="damage"):
    """What cannot be read. The rest is shown all the same."""

    where: str
    problem: str


NOT_SHOWN: Final = (DamagedLogError, KeyError, ValueError, OverflowError)
"""What comes of bytes that are no record, of a record that belongs elsewhere, of a time beyond all calendars."""

AnyLine = RecordLine | ActLine | DamageLine


class Wanted(Struct, frozen=True, kw_only=True):
    """Which of them. What is ``None`` is not asked for; times are milliseconds, ``since`` counts in, ``until`` not."""

    client: str | None = None
    key_id: str | None = None
    network: IPv4Network | IPv6Network | None = None
    order_id: str | None = None
    """Of acts alone: which entities are read says the caller."""
    since: int | None = None
    until: int | None = None

    def has(self, record: Record) -> bool:
        """Whether a record is."""
        return (
            self._in_time(record.at)
            and self.client in {None, record.client}
            and self.key_id in {None, record.key_id}
            and (self.network is None or (bool(record.address) and ip_address(record.address) in self.network))
        )

    def has_act(self, act: Act) -> bool:
        """Whether an act is: one on the client or the key, since acts are not done by either, nor from an address."""
        facts = act.facts
        return (
            self._in_time(act.at)
            and self.client in {None, facts.get("client")}
            and self.key_id in {None, facts.get("keyId"), facts.get("replaces")}
            and self.order_id in {None, facts.get("orderId")}
            and self.network is None
        )

    def _in_time(self, at: int) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


async def acts_of(store: ActStore, wanted: Wanted) -> AsyncIterator[AnyLine]:
    """Administrative acts, in the order in which they were noted.

    Raises:
        StorageError: they could not be read.
    """
    async for before, page in acts.pages(store):
        for number, stored in enumerate(page, before + 1):
            try:
                act = acts.decode(stored)
                if wanted.has_act(act):
                    yield _act_line(act)
            except NOT_SHOWN as error:
                yield DamageLine(where=f"{acts.NAME}, entry {number}", problem=str(error))


async def records_of(log: Log, entities: Iterable[str], wanted: Wanted) -> AsyncIterator[AnyLine]:
    """Records of entities: of one after the other, each in the order of its versions, which is that of time.

    Raises:
        StorageError: the log could not be read.
    """
    for group in groups(entities):
        async for entity, before, page in histories(log, group):
            if isinstance(page, DamagedLogError):
                yield DamageLine(where=entity, problem=str(page))
                continue
            for version, stored in enumerate(page, before + 1):
                try:
                    record = codec.decode(stored)
                    if wanted.has(record):
                        yield _record_line(entity, record)
                except NOT_SHOWN as error:
                    yield DamageLine(where=f"{entity}, version {version}", problem=str(error))


def _record_line(entity: str, record: Record) -> RecordLine:
    shown: Step = step(entity, record, None)
    name = entity_key(entity)
    return RecordLine(
        occurred_at=shown.occurred_at,
        certificate_code=name if is_certificate(entity) else None,
        order_id=None if is_certificate(entity) else name,
        version=record.version,
        type=shown.type,
        client=record.client,
        channel=record.channel,
        key_id=record.key_id or None,
        address=str(ip_address(record.address)) if record.address else None,
        amount=shown.amount,
        detail=shown.detail,
    )


def _act_line(act: Act) -> ActLine:
    return ActLine(
        occurred_at=rfc3339(act.at),
        number=act.number,
        intent=act.intent,
        user=act.user,
        host=act.host,
        command=act.command,
        outcome=act.outcome,
        facts=act.facts,
    )
