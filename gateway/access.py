"""Who may do what: the roles, their calls, and what the ledger is told about a caller."""

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from gateway.faults import ProblemError
from ledger.commands import AnyCommand, Origin
from ledger.fingerprints import fingerprint
from ledger.refusals import Refusal
from persistence.keys import ClientKey

KEY_DIGEST_BYTES: Final = 16


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


CHANNELS: Final = {Role.STOREFRONT: "OnlineStore", Role.POS: "POS"}
"""Sales channel of a client that has named none; only these two roles sell."""


class Reach(StrEnum):
    """What a role may use a call on."""

    NO = "no"
    OWN = "own"
    """What the same client has authorized or sold."""
    ALL = "all"


class Grant(Struct, frozen=True):
    """What a role may with a call."""

    reach: Reach
    cvc_required: bool = False
    """It learns nothing about a certificate without its CVC."""
    overrides_block: bool = False
    """It works on a blocked certificate too."""


_NO: Final = Grant(Reach.NO)
_OWN: Final = Grant(Reach.OWN)
_ALL: Final = Grant(Reach.ALL)
_CVC: Final = Grant(Reach.ALL, cvc_required=True)
_EVEN_BLOCKED: Final = Grant(Reach.ALL, overrides_block=True)

WHO_MAY_WHAT: Final[dict[Call, tuple[Grant, ...]]] = {
    # the order of the roles: storefront, pos, payments, support, ops
    Call.AUTHORIZE: (_CVC, _ALL, _NO, _NO, _NO),
    Call.AUTHORIZATIONS: (_CVC, _ALL, _NO, _NO, _NO),
    Call.CAPTURE: (_OWN, _OWN, _ALL, _NO, _NO),
    Call.CAPTURES: (_OWN, _OWN, _ALL, _NO, _NO),
    Call.VOID: (_OWN, _OWN, _ALL, _EVEN_BLOCKED, _NO),
    Call.VOIDS: (_OWN, _OWN, _ALL, _EVEN_BLOCKED, _NO),
    Call.BALANCE: (_CVC, _ALL, _NO, _NO, _NO),
    Call.BLOCK: (_NO, _NO, _NO, _ALL, _NO),
    Call.UNBLOCK: (_NO, _NO, _NO, _ALL, _NO),
    Call.CVC: (_NO, _NO, _NO, _ALL, _NO),
    Call.CERTIFICATE: (_NO, _NO, _ALL, _ALL, _ALL),
    Call.OPERATIONS: (_NO, _NO, _ALL, _ALL, _ALL),
    Call.ORDER: (_NO, _NO, _ALL, _ALL, _ALL),
    Call.METRICS: (_NO, _NO, _NO, _NO, _ALL),
}
"""The whole of the authorization: by it requests are let in, and of it the documentation is made."""

_GRANTS: Final = {
    role: {call: grants[column] for call, grants in WHO_MAY_WHAT.items()} for column, role in enumerate(Role)
}


def grant(role: Role, call: Call) -> Grant:
    """What a role may with a call."""
    return _GRANTS[role][call]


def roles_of(call: Call) -> list[Role]:
    """Who may use a call, at least on what is his own."""
    return [role for role in Role if grant(role, call).reach is not Reach.NO]


class Client(Struct, frozen=True, kw_only=True):
    """A caller whose key or token is valid."""

    name: str
    role: Role
    channel: str | None
    key_id: str = ""
    """Of the key, or of the token, that he has shown."""

    @property
    def speaks_for_shoppers(self) -> bool:
        """Whether it passes on what shoppers ask for: where they are goes into no record."""
        return self.role is Role.STOREFRONT

    def require(self, call: Call) -> None:
        """Let through what the role may do.

        Raises:
            ProblemError: 403 ``Forbidden``.
        """
        if _GRANTS[self.role][call].reach is Reach.NO:
            raise ProblemError(Refusal.FORBIDDEN, f"The role {self.role} may not use {call}.")

    def origin(
        self, call: Call, entity: str, command: AnyCommand, idempotency_key: str | None, address: bytes = b""
    ) -> Origin:
        """What the ledger is told about who asks.

        The fingerprint, by which a key that is used again for something else is recognised, covers the entity and the
        command as the ledger gets it. So no digit of a CVC goes into it, only its keyed digest: it is stored for a day,
        and four digits are guessed from a plain digest at once. Nor does what the records say besides go into it, the
        id of the key and ``address`` (:meth:`gateway.addresses.Addresses.source`): whoever repeats a request may do so
        with the key that replaces his own, and from another place. :mod:`ledger.fingerprints` says what becomes of it
        when the pepper is replaced.
        """
        return self.origins(call, address)(entity, command, idempotency_key)

    def origins(self, call: Call, address: bytes = b"") -> Callable[[str, AnyCommand, str | None], Origin]:
        """As :meth:`origin` for many commands: what is the same for all of them is found out once."""
        name, channel, granted = self.name, self.channel, _GRANTS[self.role][call]
        own_only, cvc_required = granted.reach is Reach.OWN, granted.cvc_required
        overrides_block, key_id = granted.overrides_block, self.key_id

        def origin(entity: str, command: AnyCommand, idempotency_key: str | None) -> Origin:
            key = asked = b""
            if idempotency_key is not None:
                key = blake2b(f"{name}\0{idempotency_key}".encode(), digest_size=KEY_DIGEST_BYTES).digest()
                asked = fingerprint(entity, command)
            return Origin(name, channel, own_only, cvc_required, overrides_block, key, asked, key_id, address)

        return origin


def client_of(key: ClientKey) -> Client | None:
    """The client that a stored key stands for; ``None`` for a role that this version does not know."""
    try:
        return Client(name=key.client, role=Role(key.role), channel=key.channel, key_id=key.key_id)
    except ValueError:
        return None
