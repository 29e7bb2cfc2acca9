"""Reads ``All_SalesOrder`` and ``All_Payments``: events of other systems become commands of the ledger.

Types and bounds are strict, since a wrong amount would become money. Fields that we do not know are passed over: the
other systems may add some whenever they like.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway.requests import END, Currency, OrderId, OrderLineId
from ledger.commands import LineKey, Place, PlannedLine, RecordPayment
from ledger.identifiers import order_entity
from ledger.money import AMOUNT_MAX
from persistence.envelope import key_name, seal_new
from persistence.vault import RECIPIENT, Recipient, Vault

LINES_MAX: Final = 1_000
"""Most certificate lines of one order; with more, an order would no longer be one small record of the log."""
NAME_CHARACTERS_MAX: Final = 200
"""Of the name of a recipient: it is kept in the record of the order."""
VERSION_MAX: Final = 2**63 - 1
_VALUE: Final = re.compile(r"(Invalid (?:enum )?value) .*(?= - at `)", re.DOTALL)
"""What msgspec says of a value that is none of those allowed, with the value."""
_LOCALE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,34}")

Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Denomination = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Version = Annotated[int, Meta(ge=1, le=VERSION_MAX)]
Channel = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,64}}{END}")]
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
Phone = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,64}}{END}")]


class InputError(Exception):
    """An event can never be applied. ``reason`` is a stable name, the message says what is wrong in it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Event(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what other systems publish. Unknown fields are passed over."""


class IntendedRecipient(Event, frozen=True):
    """Who is to receive a certificate."""

    phone: Phone
    name: Name | None = None
    locale: str | None = None


class CertificateLine(Event, frozen=True):
    """One certificate of an order; the denomination in minor units."""

    order_line_id: OrderLineId
    planned_denomination: Denomination
    intended_recipient: IntendedRecipient | None = None


class SalesOrder(Event, frozen=True):
    """Value of ``All_SalesOrder``."""

    order_id: OrderId
    channel: Channel
    currency: Currency
    order_version: Version = 1
    status: Literal["Placed", "Cancelled"] = "Placed"
    certificate_lines: Annotated[tuple[CertificateLine, ...], Meta(max_length=LINES_MAX)] | None = None


class CertificateAllocation(Event, frozen=True):
    """What was collected for one line so far, in minor units."""

    order_line_id: OrderLineId
    collected_amount: Amount


class Payment(Event, frozen=True):
    """Value of ``All_Payments``; amounts are cumulative for the order."""

    order_id: OrderId
    payment_version: Version
    currency: Currency
    captured_amount: Amount
    outstanding_amount: Amount
    is_order_settled: bool
    certificate_allocations: Annotated[tuple[CertificateAllocation, ...], Meta(max_length=LINES_MAX)]


class Input(Struct, frozen=True):
    """A command, and the entity that it is for."""

    entity: str
    command: Place | RecordPayment


Read = Callable[[bytes, str, Vault], Input]
"""Reads the value of an event; the text says where it was read: ``topic/partition/offset``."""

_Event = TypeVar("_Event", bound=Event)
_orders: Final = msgspec.json.Decoder(SalesOrder)
_payments: Final = msgspec.json.Decoder(Payment)
_encoder: Final = msgspec.json.Encoder()


def read_order(value: bytes, source: str, vault: Vault) -> Input:
    """An order; names and phones are sealed at once, each with a key of its own.

    Raises:
        InputError: it can never be applied.
    """
    order = _decoded(_orders, value)
    cancelled = order.status == "Cancelled"
    if order.certificate_lines is None and not cancelled:
        raise InputError("WrongShape", "Object missing required field `certificateLines`")
    lines = order.certificate_lines or ()
    _check_unique("certificateLines", [line.order_line_id for line in lines])
    planned, keys = [], []
    for line in lines:
        line_id, recipient = line.order_line_id, None
        if line.intended_recipient is not None and not cancelled:  # who gets nothing need not be known
            name = key_name(order.order_id, order.order_version, line_id)
            recipient, data_key = seal_new(vault, _plain(line.intended_recipient), RECIPIENT, name)
            keys.append(LineKey(line_id, data_key))
        planned.append(PlannedLine(line_id, line.planned_denomination, recipient))
    command = Place(order.order_version, cancelled, order.channel, order.currency, tuple(planned), source, tuple(keys))
    return Input(order_entity(order.order_id), command)


def read_payment(value: bytes, source: str, _vault: Vault) -> Input:
    """A payment.

    Raises:
        InputError: it can never be applied.
    """
    payment = _decoded(_payments, value)
    allocations = payment.certificate_allocations
    _check_unique("certificateAllocations", [allocation.order_line_id for allocation in allocations])
    command = RecordPayment(
        payment.payment_version,
        payment.currency,
        payment.captured_amount,
        payment.outstanding_amount,
        payment.is_order_settled,
        {allocation.order_line_id: allocation.collected_amount for allocation in allocations},
        source,
    )
    return Input(order_entity(payment.order_id), command)


def _decoded(decoder: "msgspec.json.Decoder[_Event]", value: bytes) -> _Event:
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        # a value that stands where another is expected may be anybody's phone
        raise InputError("WrongShape", _VALUE.sub(r"\1", str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError("NotJson", str(error)) from None
    except RecursionError:
        raise InputError("NotJson", "nested too deeply") from None


def _check_unique(field: str, line_ids: list[str]) -> None:
    if len(set(line_ids)) < len(line_ids):
        raise InputError("WrongShape", f"`{field}` names an `orderLineId` twice")


def _plain(recipient: IntendedRecipient) -> bytes:
    # it only picks the language of a text: one that is of no use is no reason to turn an order away
    usable = recipient.locale is not None and _LOCALE.fullmatch(recipient.locale)
    locale = usable.group().replace("_", "-") if usable else None  # ru_RU is ru-RU
    known = Recipient(phone=recipient.phone, name=recipient.name, locale=locale)
    return _encoder.encode(known)
