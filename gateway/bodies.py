"""Reading the body of a request: bounded in size and time, strict in form, and clear about what is wrong."""

import asyncio
import json
import re
from functools import cache
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from litestar.types import Receive
from msgspec import NODEFAULT, Struct
from msgspec.inspect import Metadata, StructType, Type, UnionType, type_info
from msgspec.structs import FieldInfo, fields

from gateway.faults import Fault, FieldError, ProblemError, invalid, invalid_fields
from gateway.reply import CLOSE
from persistence.errors import UNDECODABLE

T = TypeVar("T", bound=Struct)

# No two runs of blanks stand beside each other: they could be parted in as many ways as there are blanks.
_MEDIA_TYPE: Final = re.compile(
    rb'\s*application/json\s*(?:;\s*(?:charset\s*=\s*"?utf-?8"?\s*(?:;\s*)?)?)?', re.IGNORECASE
)
_NAMES: Final = re.compile(rb'"([^"]*)"\s*:')
_LENGTH_DIGITS_MAX: Final = 18
"""Of a ``Content-Length``: more could not be a length of anything."""
FAULTS_MAX: Final = 20
"""Parts at fault that are told of one body: the answer to a thousand fields that are not known would be far longer than
they are."""


def check_media(headers: dict[bytes, bytes]) -> None:
    """Refuse what is not said to be JSON.

    Raises:
        ProblemError: 415 ``UnsupportedMediaType``.
    """
    media = headers.get(b"content-type")
    if media != b"application/json" and (media is None or not _MEDIA_TYPE.fullmatch(media)):
        if media is None and not has_body(headers):
            return
        raise ProblemError(Fault.UNSUPPORTED_MEDIA_TYPE, "Send the header `Content-Type: application/json`.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ProblemError(Fault.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")


def has_body(headers: dict[bytes, bytes]) -> bool:
    """Whether the head announces a body."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


async def read_body(headers: dict[bytes, bytes], receive: Receive, bytes_max: int, seconds: float) -> bytes:
    """The whole body.

    Raises:
        ProblemError: 413 ``RequestTooLarge`` as soon as that is known; 408 ``RequestTimeout`` if the rest does not
            come.
    """
    length = headers.get(b"content-length")
    if length is not None and (len(length) > _LENGTH_DIGITS_MAX or (length.isdigit() and int(length) > bytes_max)):
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            body = bytearray()
            while True:
                if message["type"] != "http.request":
                    # nobody will hear it
                    raise ProblemError(Fault.REQUEST_TIMEOUT, "The connection ended before the body was complete.")
                body += message.get("body", b"")
                check_length(body, bytes_max)
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
    except TimeoutError:
        # what is still to come cannot be told from a next request
        detail = f"The body did not come within {seconds:g} s; nothing happened."
        raise ProblemError(Fault.REQUEST_TIMEOUT, detail, headers=(CLOSE,)) from None


def check_length(body: bytes | bytearray, bytes_max: int) -> None:
    """Refuse what is too long.

    Raises:
        ProblemError: 413 ``RequestTooLarge``.
    """
    if len(body) > bytes_max:
        raise _too_large(bytes_max)


class BodyDecoder(Generic[T]):
    """Decodes one kind of body, made once. A union is told apart by its tag."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401 - a union of structs is no type to mypy
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._kind = type_info(kind)

    def decode(self, body: bytes) -> T:
        """The body as a struct.

        Raises:
            ProblemError: 400 ``InvalidRequest`` that names every field at fault.
        """
        try:
            request = self._decoder.decode(body or b"{}")
        except UNDECODABLE:
            raise self.explained(body) from None
        names = _NAMES.findall(body)
        if len(names) != len(set(names)) or b"\\" in body:
            _refuse_repeated(body)
        return request

    def explained(self, body: bytes) -> ProblemError:
        """What is wrong with a body that does not fit."""
        return invalid_fields(self._faults(body))

    def _faults(self, body: bytes) -> tuple[FieldError, ...]:
        try:
            given = msgspec.json.decode(body or b"{}")
        except UNDECODABLE as error:
            return (FieldError("", f"The body has to be JSON in UTF-8: {_reason(error)}."),)
        if not isinstance(given, dict):
            return (FieldError("", "The body has to be a JSON object."),)
        return tuple(_faults(self._kind, given)[:FAULTS_MAX]) or (FieldError("", "The body does not fit this call."),)


def _faults(kind: Type, given: dict[str, Any]) -> list[FieldError]:
    """What is wrong with each field: all of them, where the decoder stops at the first."""
    found = []
    if isinstance(kind, UnionType):
        variants = {cast("StructType", variant).tag: cast("StructType", variant) for variant in kind.types}
        tag_field = str(next(iter(variants.values())).tag_field)
        tag = given.get(tag_field)
        chosen = variants.get(tag) if isinstance(tag, str) else None
        if chosen is None:
            return [FieldError(tag_field, "has to be one of " + ", ".join(f'"{name}"' for name in variants))]
        kind = chosen
    struct = cast("StructType", kind)
    known = _fields_of(struct.cls)
    for name in given:
        if name not in known and name != struct.tag_field:
            allowed = ", ".join(known) or "none"
            found.append(FieldError(name[:64], f"is not known here; the fields are: {allowed}"))
    for name, field in known.items():
        if name not in given:
            if field.default is NODEFAULT and field.default_factory is NODEFAULT:
                found.append(FieldError(name, f"is missing; it has to be {_form(field.type)}"))
            continue
        try:
            msgspec.convert(given[name], field.type)
        except msgspec.ValidationError:
            found.append(FieldError(name, f"has to be {_form(field.type)}"))
    return found


@cache
def _fields_of(kind: type[Struct]) -> dict[str, FieldInfo]:
    """The fields by their names in JSON. Found out once: to look into a type takes longer than all the rest."""
    return {field.encode_name: field for field in fields(kind)}


def _form(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    kinds = [type_info(annotation)]
    if isinstance(kinds[0], UnionType):
        kinds = list(kinds[0].types)
    forms = [kind.extra["form"] for kind in kinds if isinstance(kind, Metadata) and kind.extra]
    return str(forms[0]) if forms else "of another form"


def _refuse_repeated(body: bytes) -> None:
    """Refuse a name that stands twice: readers of JSON differ in which of the two counts."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            raise invalid(repeated, "stands in the body more than once")
        return members

    json.loads(body, object_pairs_hook=unique)


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).removeprefix("JSON is ")


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError(Fault.REQUEST_TOO_LARGE, f"The body may have {bytes_max} bytes at most.")
