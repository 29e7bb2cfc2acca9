"""What all views have in common."""

from typing import Final

import msgspec
from msgspec import Struct


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all views: camelCase, amounts in minor units, times in RFC 3339 UTC."""


_encoder: Final = msgspec.json.Encoder()


def encode(view: View) -> bytes:
    """JSON text of a view."""
    return _encoder.encode(view)
