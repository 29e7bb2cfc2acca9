"""What subscribers were told of a certificate that the log does not know: its last events on the topics."""

from typing import Final

import msgspec
from msgspec import Struct

from ledger.identifiers import STATE_EVENT, TRANSACTION_EVENT, identifier
from persistence.errors import UNDECODABLE

TOPICS: Final = {STATE_EVENT: "state", TRANSACTION_EVENT: "transaction"}


class LostEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """An event on Kafka of an operation that the log does not have. Amounts are minor units."""

    code: str
    topic: str
    version: int
    event_id: str
    type: str | None = None
    amount: int | None = None
    balance: int | None = None
    occurred_at: str | None = None


class LostSale(Struct, frozen=True, kw_only=True, rename="camel"):
    """The order line that a certificate is on, as was published last. Amounts are minor units."""

    order_id: str
    order_line_id: str
    activated: bool
    """Whether its value was issued; if not, it was reserved, and what it is worth stands in its order."""
    denomination: int | None = None
    currency: str | None = None
    balance: int | None = None


class LostCertificate(Struct, frozen=True, kw_only=True, rename="camel"):
    """A certificate of which subscribers know more than the log."""

    code: str
    version: int
    """Of the log; 0 if it does not know the code."""
    published: int
    released: bool = False
    """The code was given back: it is on no line."""
    sale: LostSale | None = None
    """``None``: it was given back, or its last event cannot be read."""


class Beyond:
    """What the topics have of one certificate behind the end of its log. The two newest events are kept whole."""

    __slots__ = ("code", "move", "state")

    def __init__(self, code: str) -> None:
        self.code = code
        self.state: tuple[int, bytes] = (0, b"")
        self.move: tuple[int, bytes] = (0, b"")

    def saw(self, kind: str, version: int, value: bytes) -> None:
        """A topic has this, perhaps once more, perhaps late."""
        if kind == STATE_EVENT:
            self.state = max(self.state, (version, value))
        else:
            self.move = max(self.move, (version, value))

    def lost(self, version: int, published: int) -> LostCertificate:
        """The certificate, whose log ends at ``version``."""
        of_state = self.state[0] >= self.move[0]
        return LostCertificate(
            code=self.code,
            version=version,
            published=published,
            released=of_state and not self.state[1],
            sale=self._sale(of_state=of_state),
        )

    def _sale(self, *, of_state: bool) -> LostSale | None:
        told = _decoded(self.state[1] if of_state else self.move[1])
        if told is None or told.order_id is None or told.order_line_id is None:
            return None
        issued = told.amount if told.type == "Activate" else None
        return LostSale(
            order_id=told.order_id,
            order_line_id=told.order_line_id,
            # no money moves before the value is issued
            activated=not of_state or told.activated_at is not None,
            denomination=told.denomination if of_state else issued,
            currency=told.currency,
            balance=told.left,
        )


class _Told(Struct, rename="camel"):
    """What is read of an event of either topic."""

    type: str | None = None
    amount: int | None = None
    balance: int | None = None
    balance_after: int | None = None
    status: str | None = None
    occurred_at: str | None = None
    order_id: str | None = None
    order_line_id: str | None = None
    denomination: int | None = None
    currency: str | None = None
    activated_at: str | None = None

    @property
    def left(self) -> int | None:
        return self.balance_after if self.balance is None else self.balance


_decoder: Final = msgspec.json.Decoder(_Told)


def lost_event(code: str, kind: str, version: int, value: bytes) -> LostEvent:
    """What is shown of an event; of one that cannot be read, what its identifier tells."""
    told = (_decoded(value) if value else _Told(status="Released")) or _Told()
    return LostEvent(
        code=code,
        topic=TOPICS[kind],
        version=version,
        event_id=identifier(kind, code, version),
        type=told.type or told.status,
        amount=told.amount,
        balance=told.left,
        occurred_at=told.occurred_at,
    )


def _decoded(value: bytes) -> _Told | None:
    """``None``: a tombstone, or no event of ours."""
    try:
        return _decoder.decode(value) if value else None
    except UNDECODABLE:
        return None
