"""What tells one request from another under the same idempotency key, and nothing about its CVC.

The fingerprint covers the entity and the command as the ledger gets it, with the digest of its CVC under one pepper:
that which is current where it was made. Its number stands before the fingerprint, unless it is the first pepper. So a
leaked pepper tells nothing of CVCs that are used after it was replaced, although fingerprints stand in records; and
the same request that comes again after that is recognised by the digests under other peppers that it carries.
"""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, replace

from ledger import peppers
from ledger.commands import AnyCommand, Authorize, Inquire

FINGERPRINT_BYTES: Final = 8

_encoder: Final = msgspec.msgpack.Encoder()


def fingerprint(entity: str, command: AnyCommand) -> bytes:
    """That of a request under an idempotency key."""
    number = b""
    cvc = getattr(command, "cvc", None)
    if type(cvc) is bytes and len(cvc) != peppers.DIGEST_BYTES:
        digest = peppers.single(cvc)[0]
        command = replace(command, cvc=digest)
        if (pepper := peppers.pepper_of(digest)) != peppers.FIRST:
            number = bytes((pepper,))
    asked = b"%s\0%s" % (entity.encode(), _encoder.encode(_said(command)))
    return number + blake2b(asked, digest_size=FINGERPRINT_BYTES).digest()


def is_same(stored: bytes, entity: str, command: AnyCommand) -> bool | None:
    """Whether a request whose fingerprint is another than ``stored`` is the same one under another pepper.

    ``None``: it cannot be told, because what was stored is under a pepper that the request has no digest for.
    """
    if not isinstance(command, Authorize | Inquire) or command.cvc is None:
        return False
    digests = peppers.single(command.cvc)
    if any(fingerprint(entity, replace(command, cvc=digest)) == stored for digest in digests):
        return True
    numbered = len(stored) == 1 + FINGERPRINT_BYTES
    return None if numbered and stored[0] not in map(peppers.pepper_of, digests) else False


def _said(command: AnyCommand) -> tuple[Any, ...]:
    """The command's tag and fields without the defaults at its end.

    So a field that a later release adds there changes nothing for a request that came before it and is repeated after.
    """
    values, defaults = astuple(command), command.__struct_defaults__
    end, rest = len(values), len(defaults)
    while rest and values[end - 1] == defaults[rest - 1]:
        end, rest = end - 1, rest - 1
    return (command.__struct_config__.tag, *values[:end])
