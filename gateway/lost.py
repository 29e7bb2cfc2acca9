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
    """The order line that a certificate is on, and what it was, as was published last. Amounts are minor units."""

    order_id: str
    order_line_id: str
    activated: bool
    """Whether its value was issued; if not, it was reserved, and what it is worth stands in its order."""
    status: str | None = None
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
    """``None``: it was given back, or none of its events can be read."""


class Beyond:
    """What the topics have of one certificate behind the end of its log: of each topic the newest event."""

    __slots__ = ("_move", "_state", "_unreadable", "code")

    def __init__(self, code: str) -> None:
        self.code = code
        self._state: tuple[int, _Told | None] = (0, None)
        """``None``: a tombstone, or nothing yet."""
        self._move: tuple[int, _Told | None] = (0, None)
        self._unreadable = 0

    def saw(self, kind: str, version: int, value: bytes) -> None:
        """A topic has this, perhaps once more, perhaps late."""
        told = _decoded(value)
        if value and told is None:
            self._unreadable = max(self._unreadable, version)
        elif kind == STATE_EVENT and version > self._state[0]:
            self._state = version, told
        elif kind != STATE_EVENT and version > self._move[0]:
            self._move = version, told

    def lost(self, version: int, published: int) -> LostCertificate:
        """The certificate, whose log ends at ``version``."""
        (state_version, state), (move_version, move) = self._state, self._move
        tombstone = state_version > move_version and state is None
        return LostCertificate(
            code=self.code,
            version=version,
            published=published,
            released=tombstone and state_version > self._unreadable,
            sale=None if tombstone else _sale(state, move, newest=state if state_version >= move_version else move),
        )


def _sale(state: "_Told | None", move: "_Told | None", *, newest: "_Told | None") -> LostSale | None:
    if newest is None or newest.order_id is None or newest.order_line_id is None:
        return None
    issued = move.amount if move is not None and move.type == "Activate" else None
    return LostSale(
        order_id=newest.order_id,
        order_line_id=newest.order_line_id,
        # no money moves before the value is issued
        activated=newest is move or newest.activated_at is not None,
        status=None if state is None else state.status,
        denomination=issued if state is None or state.activated_at is None else state.denomination,
        currency=newest.currency,
        balance=newest.left,
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
