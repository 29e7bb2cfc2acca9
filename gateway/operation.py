"""A call of the API as the documentation tells it: what it takes, gives, and can be refused for."""

from typing import Any, Final

from msgspec import Struct

from gateway.access import Call
from gateway.bulk_requests import BULK_BODIES
from gateway.certificates import BODIES
from gateway.faults import Code, Fault
from ledger.refusals import Refusal

JSON_MEDIA: Final = "application/json"
KEYED: Final = (Fault.INVALID_REQUEST, Fault.UNAUTHENTICATED, Refusal.FORBIDDEN, Refusal.RATE_LIMITED)
SERVED: Final = (Fault.INTERNAL_ERROR, Fault.OVERLOADED, Fault.STORAGE_UNAVAILABLE)


class Query(Struct, frozen=True):
    """A parameter of the query."""

    name: str
    description: str
    schema: dict[str, Any]


class Outcome(Struct, frozen=True):
    """An answer that is no problem. ``views`` are what its body can show; ``example`` has such bodies by name."""

    status: int
    description: str
    views: tuple[Any, ...] = ()
    example: Any = None
    media: str = JSON_MEDIA


class Operation(Struct, frozen=True, kw_only=True):
    """One call. ``call`` is ``None`` for what needs no key; ``requests`` are example bodies by name."""

    method: str
    path: str
    call: Call | None = None
    tag: str
    summary: str
    description: str = ""
    requests: dict[str, dict[str, Any]] = {}
    query: tuple[Query, ...] = ()
    outcomes: tuple[Outcome, ...]
    problems: tuple[Code, ...] = ()
    tagged: bool = False
    """Has an ``ETag``, and honours ``If-None-Match``."""

    @property
    def keyed(self) -> bool:
        """Takes the header ``Idempotency-Key``."""
        return self.method == "POST" and self.call not in BULK_BODIES

    @property
    def body(self) -> Any:  # noqa: ANN401 - a struct or a union of some
        """What the call takes; ``None``: it takes no body."""
        if self.call in BULK_BODIES:
            return BULK_BODIES[self.call][0]
        return BODIES.get(self.call) if self.call else None
