"""Who may do what: the roles, their calls, and what the ledger is told about a caller."""

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from gateway.faults import ProblemError
from ledger.commands import AnyCommand, Origin
from ledger.refusals import Refusal
from persistence.keys import ClientKey

KEY_DIGEST_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 8


class Call(StrEnum):
    """What can be asked; the name stands in metrics and logs."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    BALANCE = "balance"
    BLOCK = "block"
    UNBLOCK = "unblock"
    CVC = "cvc"
    AUTHORIZATIONS = "authorizations"
    CAPTURES = "captures"
    VOIDS = "voids"
    CERTIFICATE = "certificate"
    OPERATIONS = "operations"
    ORDER = "order"
    METRICS = "metrics"


class Role(StrEnum):
    """What a client is."""

    STOREFRONT = "storefront"
    POS = "pos"
    PAYMENTS = "payments"
    SUPPORT = "support"
    OPS = "ops"


_READ: Final = frozenset({Call.CERTIFICATE, Call.OPERATIONS, Call.ORDER})
_CAPTURE: Final = frozenset({Call.CAPTURE, Call.CAPTURES})
_VOID: Final = frozenset({Call.VOID, Call.VOIDS})
_SELL: Final = frozenset({Call.AUTHORIZE, Call.AUTHORIZATIONS, Call.BALANCE}) | _CAPTURE | _VOID

MAY: Final[dict[Role, frozenset[Call]]] = {
    Role.STOREFRONT: _SELL,
    Role.POS: _SELL,
    Role.PAYMENTS: _READ | _CAPTURE | _VOID,
    Role.SUPPORT: _READ | _VOID | {Call.BLOCK, Call.UNBLOCK, Call.CVC},
    Role.OPS: _READ | {Call.METRICS},
}
"""The whole of the authorization: each role and its calls."""

OWN_ONLY: Final = frozenset({Role.STOREFRONT, Role.POS})
"""Roles that capture and void only what they have authorized themselves."""
CVC_REQUIRED: Final = frozenset({Role.STOREFRONT})
"""Roles that learn nothing about a certificate without its CVC."""
OVERRIDES_BLOCK: Final = frozenset({Role.SUPPORT})
"""Roles that void on blocked certificates too."""

_encoder: Final = msgspec.msgpack.Encoder()


class Client(Struct, frozen=True, kw_only=True):
    """A caller whose key is valid."""

    name: str
    role: Role
    channel: str | None

    def require(self, call: Call) -> None:
        """Let through what the role may do.

        Raises:
            ProblemError: 403 ``Forbidden``.
        """
        if call not in MAY[self.role]:
            raise ProblemError(Refusal.FORBIDDEN, f"The role {self.role} may not use {call}.")

    def origin(self, entity: str, command: AnyCommand, idempotency_key: str | None) -> Origin:
        """What the ledger is told about who asks.

        The fingerprint, by which a key that is used again for something else is recognised, covers the entity and the
        command as the ledger gets it. So no digit of a CVC goes into it, only its keyed digest: it is stored for a day,
        and four digits are guessed from a plain digest at once.
        """
        return self.origins()(entity, command, idempotency_key)

    def origins(self) -> Callable[[str, AnyCommand, str | None], Origin]:
        """As :meth:`origin` for many commands: what is the same for all of them is found out once."""
        name, channel, role = self.name, self.channel, self.role
        own_only, cvc_required, overrides_block = role in OWN_ONLY, role in CVC_REQUIRED, role in OVERRIDES_BLOCK

        def origin(entity: str, command: AnyCommand, idempotency_key: str | None) -> Origin:
            key = fingerprint = b""
            if idempotency_key is not None:
                key = blake2b(f"{name}\0{idempotency_key}".encode(), digest_size=KEY_DIGEST_BYTES).digest()
                asked = b"%s\0%s" % (entity.encode(), _encoder.encode(_said(command)))
                fingerprint = blake2b(asked, digest_size=FINGERPRINT_BYTES).digest()
            return Origin(name, channel, own_only, cvc_required, overrides_block, key, fingerprint)

        return origin


def _said(command: AnyCommand) -> tuple[Any, ...]:
    """The command's tag and fields without the defaults at its end.

    So a field that a later release adds there changes nothing for a request that came before it and is repeated after.
    """
    values, defaults = astuple(command), command.__struct_defaults__
    end, rest = len(values), len(defaults)
    while rest and values[end - 1] == defaults[rest - 1]:
        end, rest = end - 1, rest - 1
    return (command.__struct_config__.tag, *values[:end])


def client_of(key: ClientKey) -> Client | None:
    """The client that a stored key stands for; ``None`` for a role that this version does not know."""
    try:
        return Client(name=key.client, role=Role(key.role), channel=key.channel)
    except ValueError:
        return None
