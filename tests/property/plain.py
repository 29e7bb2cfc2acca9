"""What a certificate's money has to do, written down a second time with plain numbers and nothing of the ledger's."""

from dataclasses import dataclass, field

YEAR_MS = 365 * 86_400_000
MONTH_MS = 30 * 86_400_000


@dataclass
class PlainHold:
    """Money set aside."""

    client: str
    left: int
    until: int


@dataclass
class PlainCapture:
    """Money taken, of which ``left`` has not been put back."""

    client: str
    left: int


@dataclass
class PlainCertificate:
    """An issued certificate. Each method gives the name of a refusal, or ``None`` and does what was asked."""

    balance: int
    currency: str
    seller: str
    expires_at: int
    issued: int = 0
    redeemed: int = 0
    written_off: int = 0
    refunded: int = 0
    blocked: bool = False
    expired: bool = False
    cancelled: bool = False
    used: bool = False
    holds: dict[str, PlainHold] = field(default_factory=dict)
    closed: dict[str, tuple[str, str]] = field(default_factory=dict)
    captures: dict[str, PlainCapture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.issued = self.balance

    @property
    def held(self) -> int:
        return sum(hold.left for hold in self.holds.values())

    @property
    def available(self) -> int:
        return self.balance - self.held

    @property
    def status(self) -> str:
        for word, holds in (("Cancelled", self.cancelled), ("Expired", self.expired), ("Blocked", self.blocked)):
            if holds:
                return word
        return "Active" if self.balance else "Depleted"

    def pass_time(self, now: int) -> None:
        for name, hold in list(self.holds.items()):
            if hold.until <= now:
                self._close(name, "Expired")
        if not self.cancelled and self.expires_at <= now:
            self.expired = True
        self._write_off()

    def authorize(self, amount: int, currency: str, *, partial: bool) -> str | int:
        """Gives the refusal, or what was authorized."""
        closed = {
            "Cancelled": "CertificateNotActive",
            "Blocked": "CertificateBlocked",
            "Expired": "CertificateExpired",
        }
        if self.status in closed:
            return closed[self.status]
        if currency != self.currency:
            return "CurrencyMismatch"
        if partial and 0 < self.available < amount:
            return self.available
        return amount if amount <= self.available else "InsufficientFunds"

    def hold(self, name: str, client: str, amount: int, until: int) -> None:
        self.holds[name] = PlainHold(client, amount, until)

    def capture(self, name: str, client: str, amount: int | None, *, final: bool, own: bool) -> str | int:
        """Gives the refusal, or what was captured."""
        if name not in self.holds and name not in self.closed:
            return "AuthorizationNotFound"
        owner = self.holds[name].client if name in self.holds else self.closed[name][1]
        if own and owner != client:
            return "Forbidden"
        if name in self.closed:
            why = self.closed[name][0]
            return f"Authorization{'AlreadyCaptured' if why == 'Captured' else why}"
        hold = self.holds[name]
        taken = hold.left if amount is None else amount
        if taken > hold.left:
            return "CaptureExceedsAuthorization"
        hold.left -= taken
        self.balance -= taken
        self.redeemed += taken
        self.used = True
        if final or hold.left == 0:
            self._close(name, "Captured")
        self._write_off()
        return taken

    def take(self, name: str, client: str, amount: int) -> None:
        self.captures[name] = PlainCapture(client, amount)

    def void(self, name: str, client: str, amount: int | None, now: int, *, own: bool, support: bool) -> str | int:
        """Gives the refusal, or what was put back or let go."""
        owners = {key: hold.client for key, hold in self.holds.items()}
        owners |= {key: capture.client for key, capture in self.captures.items()}
        owners |= {key: owner for key, (_, owner) in self.closed.items()}
        if name == "activation":
            owners[name] = self.seller
        if name not in owners:
            return "OperationNotFound"
        if own and owners[name] != client:
            return "Forbidden"
        if self.blocked and not support:
            return "CertificateBlocked"
        return self._void(name, amount, now)

    def _void(self, name: str, amount: int | None, now: int) -> str | int:
        if name == "activation":
            return self._void_activation(amount)
        if name in self.closed:
            return "OperationAlreadyVoided" if self.closed[name][0] == "Voided" else "OperationNotVoidable"
        if name in self.holds:
            return self._void_hold(name, amount)
        return self._void_capture(name, amount, now)

    def _void_activation(self, amount: int | None) -> str | int:
        if self.cancelled:
            return "OperationAlreadyVoided"
        if self.expired:
            return "CertificateExpired"
        if self.used or self.holds:
            return "OperationNotVoidable"
        if amount is not None and amount != self.balance:
            return "VoidExceedsOperation" if amount > self.balance else "OperationNotVoidable"
        self.cancelled = True
        self.refunded, self.balance = self.balance, 0
        return self.refunded

    def _void_hold(self, name: str, amount: int | None) -> str | int:
        hold = self.holds[name]
        freed = hold.left if amount is None else amount
        if freed > hold.left:
            return "VoidExceedsOperation"
        hold.left -= freed
        if hold.left == 0:
            self._close(name, "Voided")
        self._write_off()
        return freed

    def _void_capture(self, name: str, amount: int | None, now: int) -> str | int:
        capture = self.captures[name]
        if capture.left == 0:
            return "OperationAlreadyVoided"
        if self.expired and now >= self.expires_at + MONTH_MS:
            return "CertificateExpired"
        back = capture.left if amount is None else amount
        if back > capture.left:
            return "VoidExceedsOperation"
        capture.left -= back
        self.balance += back
        self.redeemed -= back
        if self.expired:
            self.expired, self.expires_at = False, now + MONTH_MS
        return back

    def _close(self, name: str, why: str) -> None:
        self.closed[name] = (why, self.holds.pop(name).client)

    def _write_off(self) -> None:
        if self.expired:
            self.written_off += self.available
            self.balance = self.held
