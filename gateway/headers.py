"""Headers with a meaning of their own: ``Idempotency-Key``, ``If-None-Match``."""

import re
from typing import Final

from gateway.faults import invalid

IDEMPOTENCY_KEY: Final = b"idempotency-key"
IDEMPOTENCY_KEY_PATTERN: Final = r'^([!#-~][!-~]{0,63}|"([!#-\[\]-~]|\\["\\]){1,64}")$'
"""What an idempotency key may be, as the documentation tells it."""

_BARE: Final = re.compile(rb"[!#-~][!-~]{0,63}")
_QUOTED: Final = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\]){1,128})"')
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_VISIBLE: Final = re.compile(rb"[!-~]{1,64}")
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"([!#-~\x80-\xff]*)"')


def idempotency_key(headers: dict[bytes, bytes]) -> str | None:
    """The idempotency key, without its quotes (RFC 8941, 3.3.3) if it has any.

    Raises:
        ProblemError: 400 ``InvalidRequest``: not 1 to 64 visible ASCII characters.
    """
    value = headers.get(IDEMPOTENCY_KEY)
    if value is None:
        return None
    if _BARE.fullmatch(value):
        return value.decode()
    quoted = _QUOTED.fullmatch(value)
    key = _ESCAPED.sub(rb"\1", quoted[1]) if quoted else b""
    if not _VISIBLE.fullmatch(key):
        raise invalid("Idempotency-Key", "has to be 1 to 64 visible ASCII characters, bare or in double quotes")
    return key.decode()


def entity_tag(version: int) -> bytes:
    """The ``ETag`` of a version."""
    return b'"%d"' % version


def matches(if_none_match: bytes | None, tag: bytes) -> bool:
    """Whether ``If-None-Match`` names the tag (RFC 9110, 13.1.2: weak comparison, a list, or ``*``)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == b"*" or tag[1:-1] in _ENTITY_TAG.findall(if_none_match)
