"""Names of things: certificate codes, entities, and the identifiers handed to callers.

An identifier such as ``au_7_0kX…`` carries the version of the record that it stands for and a digest over its kind, the
code and that version. It can therefore be resolved without an index, belongs to exactly one certificate, and is the
same however often a command is replayed.
"""

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

CODE_PATTERN: Final = r"^[A-Z0-9-]{8,32}$"
"""A certificate code after upper-casing."""

AUTHORIZATION: Final = "au"
OPERATION: Final = "op"
STATE_EVENT: Final = "es"
TRANSACTION_EVENT: Final = "et"
MESSAGE: Final = "sms"

_CODE: Final = re.compile(CODE_PATTERN)
_DIGEST_BYTES: Final = 12  # 96 bits: a collision among 10^12 operations has a probability below 10^-4


def normalise_code(text: str) -> str | None:
    """Upper-case a certificate code; ``None`` if it is not 8 to 32 characters of ``[A-Z0-9-]``."""
    # "ß" is upper-cased to "SS": only ASCII may be, or strange text would name other codes
    code = text.upper() if text.isascii() else ""
    return code if _CODE.fullmatch(code) else None


def certificate_entity(code: str) -> str:
    """Entity name of a certificate, e.g. ``c:GC-7K2M-9QXA``."""
    return f"c:{code}"


def order_entity(order_id: str) -> str:
    """Entity name of an order, e.g. ``o:SO-1001``."""
    return f"o:{order_id}"


def entity_key(entity: str) -> str:
    """The code or order id inside an entity name."""
    return entity[2:]


def is_certificate(entity: str) -> bool:
    """Whether the entity is a certificate (the other kind is an order)."""
    return entity.startswith("c:")


def identifier(kind: str, code: str, version: int) -> str:
    """Identifier of what happened to ``code`` at ``version``: at most 40 characters of ``[A-Za-z0-9_-]``."""
    return f"{kind}_{version}_{_tag(kind, code, version)}"


def version_of(text: str, code: str, *kinds: str) -> int | None:
    """Version that an identifier names, or ``None`` if it was never handed out for this code and these kinds."""
    kind, _, rest = text.partition("_")
    digits, _, tag = rest.partition("_")
    if kind not in kinds or not digits.isascii() or not digits.isdigit() or len(digits) > 18:  # noqa: PLR2004
        return None
    version = int(digits)
    return version if tag == _tag(kind, code, version) and digits == str(version) else None


def _tag(kind: str, code: str, version: int) -> str:
    digest = blake2b(f"{kind}/{code}/{version}".encode(), digest_size=_DIGEST_BYTES).digest()
    return urlsafe_b64encode(digest).decode()
