"""Every limit of the service in one place: each stays where it is read, and is named here.

``python -m gift_ledger.bounds > docs/bounds.md`` makes the page; a test compares, and finds what is not named.
"""

from typing import Final

from gift_ledger.bounds.bound import Bound
from gift_ledger.bounds.of_actors import CHANNEL, RAY, SHARDS
from gift_ledger.bounds.of_bridge import EVENTS_IN, EVENTS_OUT, SMS
from gift_ledger.bounds.of_gateway import GUESSING, HTTP
from gift_ledger.bounds.of_service import LOG, RECOVERY, STACK
from gift_ledger.bounds.of_tokens import TOKENS

BOUNDS: Final[dict[str, tuple[Bound, ...]]] = {
    "HTTP": HTTP,
    "Tokens of an identity provider": TOKENS,
    "Guessing a CVC": GUESSING,
    "Shards": SHARDS,
    "The way to the shards": CHANNEL,
    "Ray": RAY,
    "Events out": EVENTS_OUT,
    "Events in": EVENTS_IN,
    "SMS": SMS,
    "Log": LOG,
    "The stack and its commands": STACK,
    "Verifying, backing up, restoring, reconciling": RECOVERY,
}
"""By what they belong to."""
