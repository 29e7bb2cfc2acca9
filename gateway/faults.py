"""What can be wrong with a request before the ledger is asked, and with the service itself."""

from enum import StrEnum

from msgspec import Struct

from gateway.reply import Header
from ledger.refusals import Refusal


class Fault(StrEnum):
    """Stable names of the gateway's own problems."""

    INVALID_REQUEST = "InvalidRequest"
    UNAUTHENTICATED = "Unauthenticated"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    REQUEST_TIMEOUT = "RequestTimeout"
    REQUEST_TOO_LARGE = "RequestTooLarge"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType"
    INTERNAL_ERROR = "InternalError"
    OVERLOADED = "Overloaded"
    STORAGE_UNAVAILABLE = "StorageUnavailable"


Code = Fault | Refusal


class FieldError(Struct, frozen=True):
    """A part of the request that is at fault: its name, and what it has to be."""

    field: str
    message: str


class ProblemError(Exception):
    """Ends the handling of a request with a problem.

    Args:
        code: a fault, or one of the ledger's refusals that the gateway gives itself.
        detail: for people: what is wrong and what to do.
        errors: the fields at fault.
        figures: numbers the caller acts on.
        headers: further headers of the response.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        figures: dict[str, int] | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.figures = figures or {}
        self.headers = headers


def invalid(field: str, message: str) -> ProblemError:
    """A request with one part at fault."""
    return invalid_fields((FieldError(field, message),))


def invalid_fields(errors: tuple[FieldError, ...]) -> ProblemError:
    """A request with these parts at fault."""
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)
    return ProblemError(Fault.INVALID_REQUEST, detail, errors=errors)
