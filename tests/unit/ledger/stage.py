"""A certificate and an order that are led through their lives one command at a time."""

from ledger import certificate, order
from ledger.attempts import NO_ATTEMPTS, Attempts
from ledger.certificate import Certificate
from ledger.commands import (
    SYSTEM,
    Activate,
    CertificateCommand,
    IssuedCvc,
    Join,
    OrderCommand,
    Origin,
    Place,
    PlannedLine,
    RecordPayment,
    Reserve,
)
from ledger.decision import Decision
from ledger.identifiers import AUTHORIZATION, OPERATION, identifier
from ledger.money import DAY_MS
from ledger.order import Order
from ledger.policy import DEFAULT_POLICY
from ledger.records import AnyBody, Record

CODE = "GC-7K2M-9QXA"
OTHER = "GC-OTHER-01"
ORDER_ID = "SO-1001"
START = 1_700_000_000_000
YEAR_MS = 365 * DAY_MS
CVC = b"hash of the right digits"
RECIPIENT = b"sealed recipient"

SHOP = Origin("shop", "OnlineStore", own_only=True)
SITE = Origin("site", "OnlineStore", own_only=True, cvc_required=True)
TILL = Origin("till", "Pos", own_only=True, key=b"key", fingerprint=b"print")
OTHER_TILL = Origin("till-2", "Pos", own_only=True)
PAYMENTS = Origin("payments")
SUPPORT = Origin("support", overrides_block=True)


class OnStage:
    """A certificate with its history and its clock."""

    def __init__(self) -> None:
        self.now = START
        self.state = Certificate(code=CODE)
        self.records: list[Record] = []

    def ask(
        self, command: CertificateCommand, origin: Origin = TILL, attempts: Attempts = NO_ATTEMPTS
    ) -> Decision[Certificate]:
        """Decide, and change nothing."""
        return certificate.decide(self.state, command, origin, self.now, DEFAULT_POLICY, attempts)

    def tell(self, command: CertificateCommand, origin: Origin = TILL) -> tuple[AnyBody, ...]:
        """Decide and go on from there; gives the bodies of the new records."""
        decision = self.ask(command, origin)
        assert decision.refused is None, decision.refused
        self.state = decision.state
        self.records.extend(decision.records)
        return tuple(record.body for record in decision.records)

    def refusal(self, command: CertificateCommand, origin: Origin = TILL) -> str | None:
        """Name of the refusal that the command would get."""
        refused = self.ask(command, origin).refused
        return None if refused is None else refused.code.value

    def last(self, kind: str = OPERATION) -> str:
        """Identifier of the latest record."""
        return identifier(kind, CODE, self.state.version)

    def hold(self) -> str:
        """The latest record as an authorization."""
        return self.last(AUTHORIZATION)


def reserved(*, planned: int | None = None) -> OnStage:
    """A code that is reserved, and joined to its line if there is a plan."""
    stage = OnStage()
    stage.tell(Reserve(ORDER_ID, "1"), SHOP)
    if planned is not None:
        stage.tell(Join(ORDER_ID, "1", planned, "RUB"), SYSTEM)
    return stage


def active(denomination: int = 1_000, *, recipient: bytes | None = RECIPIENT) -> OnStage:
    """An active certificate."""
    stage = reserved()
    stage.tell(activate(denomination, recipient=recipient), SYSTEM)
    return stage


def activate(denomination: int = 1_000, *, recipient: bytes | None = RECIPIENT) -> Activate:
    """The command that activates it."""
    return Activate(ORDER_ID, "1", denomination, "RUB", recipient, IssuedCvc(CVC, b"sealed SMS"))


class OrderOnStage:
    """An order with its history."""

    def __init__(self) -> None:
        self.now = START
        self.state = Order(order_id=ORDER_ID)
        self.records: list[Record] = []

    def tell(self, command: OrderCommand) -> tuple[AnyBody, ...]:
        """Decide and go on from there; gives the bodies of the new records."""
        decision = order.decide(self.state, command, SYSTEM, self.now)
        assert decision.refused is None, decision.refused
        self.state = decision.state
        self.records.extend(decision.records)
        return tuple(record.body for record in decision.records)

    def refusal(self, command: OrderCommand) -> str | None:
        """Name of the refusal that the command would get."""
        refused = order.decide(self.state, command, SYSTEM, self.now).refused
        return None if refused is None else refused.code.value

    def owed(self) -> list[tuple[str, str]]:
        """What the order owes, as names of errands and their codes."""
        return [(errand.name, errand.code) for errand in order.errands(self.state, self.now)]

    def line(self, line_id: str = "1") -> str:
        """Status of a line."""
        return self.state.line_status(line_id).value


def placed(version: int = 1, *, cancelled: bool = False, currency: str = "RUB", **plan: int) -> Place:
    """``All_SalesOrder``; ``l1=100`` plans 100 on line 1."""
    lines = tuple(PlannedLine(name[1:], planned, RECIPIENT) for name, planned in plan.items())
    return Place(version, cancelled, "OnlineStore", currency, lines, "All_SalesOrder/0/1")


def paid(
    version: int = 1, *, outstanding: int = 0, settled: bool = True, currency: str = "RUB", **collected: int
) -> RecordPayment:
    """``All_Payments``; ``l1=100`` says that 100 were collected on line 1."""
    lines = {name[1:]: amount for name, amount in collected.items()}
    return RecordPayment(version, currency, sum(lines.values()), outstanding, settled, lines, "All_Payments/0/1")
