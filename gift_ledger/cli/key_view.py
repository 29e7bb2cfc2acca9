"""An API key as it is shown."""

from enum import StrEnum

from msgspec import Struct

from ledger.money import rfc3339, rfc3339_or_none
from persistence.keys import ClientKey


class State(StrEnum):
    """Whether a key works."""

    LIVE = "live"
    ENDING = "ending"
    """It works, and has an end."""
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyView(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key as it is shown. ``key`` itself, and what it replaces, are known only when it is made."""

    key_id: str
    client: str
    role: str
    channel: str | None
    state: State
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    key: str = ""
    replaces: str = ""
    replaced_expires_at: str = ""


def view(key: ClientKey, now: int, used_at: int | None = None) -> KeyView:
    """The key as it is at ``now``; times in milliseconds."""
    return KeyView(
        key_id=key.key_id,
        client=key.client,
        role=key.role,
        channel=key.channel,
        state=_state(key, now),
        created_at=rfc3339(key.created_at),
        expires_at=rfc3339_or_none(key.expires_at),
        revoked_at=rfc3339_or_none(key.revoked_at),
        last_used_at=rfc3339_or_none(used_at),
    )


def _state(key: ClientKey, now: int) -> State:
    if key.revoked_at is not None:
        return State.REVOKED
    if key.expires_at is None:
        return State.LIVE
    return State.EXPIRED if key.ended(now) else State.ENDING
