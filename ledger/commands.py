"""What can be asked of a certificate or of an order.

Commands are frozen and carry everything a rule needs but the state, the time and the policy. They travel over the
channel as msgpack arrays with a tag; a new field goes to the end and has a default.
"""

from msgspec import Struct


class Origin(Struct, frozen=True, array_like=True):
    """Who asks, and under which idempotency key.

    ``key`` is a digest over client and idempotency key (empty: none was given); ``fingerprint`` is a digest over the
    request, by which a key that is used again for something else is recognised.
    """

    client: str
    channel: str | None = None
    own_only: bool = False
    """Only the client's own authorizations and operations may be captured or voided."""
    cvc_required: bool = False
    overrides_block: bool = False
    """A block does not keep this caller from voiding (support)."""
    key: bytes = b""
    fingerprint: bytes = b""
    key_id: str = ""
    """Of the API key that was shown; it goes into the records, and nothing is decided by it."""
    address: bytes = b""
    """Where the call came from, packed (:meth:`gateway.addresses.Addresses.source`); as ``key_id``."""


SYSTEM = Origin(client="ledger")
"""The ledger itself: timers, and what one entity asks of another."""

RESTORE = Origin(client="gift-ledger restore")
"""A restore: it tells an order what subscribers know of its lines, and the backup does not. No key has such a name."""


ANY_RESERVATION = 0
"""Which reservation of a code is meant is not told, as in what earlier versions wrote; else it is the version of the
certificate's record that made it. A code may be given back and reserved anew for the same line: what was granted to the
first reservation is nothing to the second."""


def same_reservation(one: int, other: int) -> bool:
    """Whether both may be the same reservation of a code."""
    return one == other or ANY_RESERVATION in {one, other}


class Command(Struct, frozen=True, array_like=True, tag_field="type"):
    """Base of all commands."""


# --- certificate: the sale -------------------------------------------------------------------------------------------


class Sell(Command, frozen=True, tag="sell"):
    """Sell the code: reserve it, and have its order put it on the line.

    More than one entity takes part, so no ``decide`` knows this command: the shard turns it into :class:`Reserve`,
    :class:`Allocate` and :class:`Report`.
    """

    order_id: str
    line_id: str


class Reserve(Command, frozen=True, tag="reserve"):
    """Reserve the code for an order line. ``probe`` asks what would be answered, and changes nothing.

    ``imported``: whether the code is one of an imported batch; found out only where that decides.
    """

    order_id: str
    line_id: str
    probe: bool = False
    imported: bool = False


class Join(Command, frozen=True, tag="join"):
    """Tell the certificate that its line holds it, and the plan if the order is known already."""

    order_id: str
    line_id: str
    planned: int | None = None
    currency: str | None = None
    reservation: int = ANY_RESERVATION


class Release(Command, frozen=True, tag="release"):
    """Give the code back: it is unknown again."""

    order_id: str
    line_id: str
    reason: str
    reservation: int = ANY_RESERVATION


class IssuedCvc(Struct, frozen=True, array_like=True):
    """A fresh CVC: its keyed hash, and the sealed SMS that brings it to the recipient (if there is one)."""

    digest: bytes
    message: bytes | None = None


class Activate(Command, frozen=True, tag="activate"):
    """Issue the value. ``cvc`` is filled in by the shard that owns the certificate."""

    order_id: str
    line_id: str
    denomination: int
    currency: str
    recipient: bytes | None = None
    """Sealed: name, phone, locale."""
    cvc: IssuedCvc | None = None
    reservation: int = ANY_RESERVATION


# --- certificate: redemption and refund ------------------------------------------------------------------------------


class Authorize(Command, frozen=True, tag="authorize"):
    """Hold ``amount`` minor units.

    ``cvc`` is the keyed hash of what the caller typed, never the digits; under several peppers: :mod:`ledger.peppers`.
    """

    amount: int
    currency: str
    cvc: bytes | None = None
    reference: str | None = None
    allow_partial: bool = False
    ttl_ms: int | None = None


class Capture(Command, frozen=True, tag="capture"):
    """Take captured money from a hold. ``final`` releases what is left of it."""

    authorization_id: str
    amount: int | None = None
    final: bool = True


class Void(Command, frozen=True, tag="void"):
    """Undo an authorization, a capture (in parts if wanted) or an unused activation."""

    operation_id: str
    amount: int | None = None
    reason: str | None = None


class Inquire(Command, frozen=True, tag="inquire"):
    """Balance inquiry; the CVC rules of :class:`Authorize` apply."""

    cvc: bytes | None = None


class Block(Command, frozen=True, tag="block"):
    """Stop redemption."""

    reason: str


class Unblock(Command, frozen=True, tag="unblock"):
    """Allow redemption again."""

    reason: str


class ReissueCvc(Command, frozen=True, tag="reissue_cvc"):
    """Replace the CVC and send the new one.

    ``cvc`` is filled in by the shard that owns the certificate, unless the recipient was forgotten.
    """

    cvc: IssuedCvc | None = None


# --- order -----------------------------------------------------------------------------------------------------------


class PlannedLine(Struct, frozen=True, array_like=True):
    """One certificate line of an order. ``recipient`` is sealed."""

    line_id: str
    planned: int
    recipient: bytes | None = None


class LineKey(Struct, frozen=True, array_like=True):
    """The data key that the recipient of a line is sealed with; itself sealed."""

    line_id: str
    sealed: bytes


class Place(Command, frozen=True, tag="place"):
    """``All_SalesOrder``: the plan of an order, or its cancellation."""

    order_version: int
    cancelled: bool
    channel: str
    currency: str
    lines: tuple[PlannedLine, ...] = ()
    source: str = ""
    """Where the event was read: ``topic/partition/offset``."""
    keys: tuple[LineKey, ...] = ()
    """Of the recipients; kept beside the log, never in it."""


class RecordPayment(Command, frozen=True, tag="record_payment"):
    """``All_Payments``: what has been collected so far, cumulatively."""

    payment_version: int
    currency: str
    captured: int
    outstanding: int
    settled: bool
    collected: dict[str, int]
    source: str = ""


class Allocate(Command, frozen=True, tag="allocate"):
    """Put a code on a line. ``probe`` asks what would be answered, and changes nothing."""

    line_id: str
    code: str
    probe: bool = False
    reservation: int = ANY_RESERVATION


class LapseAllocation(Command, frozen=True, tag="lapse_allocation"):
    """The reservation's time is up: take the code off its line unless money was collected on it."""

    line_id: str
    code: str
    reservation: int = ANY_RESERVATION


# --- both ------------------------------------------------------------------------------------------------------------


class Report(Command, frozen=True, tag="report"):
    """What came of an errand: an entity tells itself what another one answered.

    ``errand`` is the tag of the command that was sent; ``code`` the certificate concerned; ``refusal`` the name of the
    refusal, or ``None`` if it was done.
    """

    errand: str
    line_id: str
    code: str
    refusal: str | None = None
    planned: int | None = None
    currency: str | None = None
    retained: bool = False
    order_id: str = ""
    """The order concerned: a code that was given back may be another order's by the time a late report comes."""
    reservation: int = ANY_RESERVATION


class Tick(Command, frozen=True, tag="tick"):
    """The entity's timer is due."""


class Look(Command, frozen=True, tag="look"):
    """Read the entity; ``as_of`` (milliseconds) for how it was."""


CertificateCommand = (
    Reserve
    | Join
    | Release
    | Activate
    | Authorize
    | Capture
    | Void
    | Inquire
    | Block
    | Unblock
    | ReissueCvc
    | Report
    | Tick
    | Look
)
OrderCommand = Place | RecordPayment | Allocate | LapseAllocation | Report | Tick | Look
AnyCommand = CertificateCommand | OrderCommand | Sell
