"""What ``gift-ledger bench`` is to look at."""

from collections.abc import Mapping

from msgspec import Struct

from gift_ledger.settings import Settings


class Look(Struct, frozen=True, kw_only=True):
    """What is to be done, and where."""

    url: str
    keys: Mapping[str, str]
    """API keys by role: ``pos``, ``ops`` and ``support``."""
    settings: Settings
    """Name the broker and the topics."""
    certificates: int
    connections: int
    seconds: float
    rate: float
    """Authorizations a second; 0: the next one as soon as a connection is free."""
