"""Envelopes: what is sealed with a data key of its own, which is kept beside the log and can be forgotten.

The log is never cut, so what was written into it once can only be made unreadable. Each recipient of an order is sealed
with a fresh *data key*; so is each message to him. The data key is kept in Redis, sealed with a key of the vault, under
the name of its order, order version and line. With the data key gone, nobody opens what it sealed: not with the log,
not with its snapshots, not with the secrets file.

============ ================================= ====================================================================
first byte   then                              is
============ ================================= ====================================================================
``0``        length, name, nonce, AES-GCM text an envelope; ``name`` is ``ORDER VERSION/LINE``
``1`` … 255  nonce, AES-GCM text               sealed with the vault's key of this id (:class:`persistence.vault.Vault`)
============ ================================= ====================================================================

In the place of a data key that was forgotten stands a tombstone: ``0`` and the time. It stays, so that an order that
is read once more does not bring back what was forgotten: a data key is only written where nothing stands.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.identifiers import entity_key, order_entity
from persistence.log import KeyName
from persistence.secrets_file import KEY_BYTES
from persistence.vault import NONCE_BYTES, SealBrokenError, Vault

DIRECT: Final = 0
"""Stands for the order version in the name of a data key that there is none of: of a recipient that was sealed with the
vault's own key. Only a tombstone is ever kept under it."""

_ENVELOPE: Final = b"\0"
_TOMBSTONE: Final = b"\0"


def key_name(order_id: str, order_version: int, line_id: str) -> KeyName:
    """Name of the data key of a line's recipient, as one version of an order has named him."""
    return order_entity(order_id), f"{order_version}/{line_id}"


def line_of(name: str) -> str:
    """The line, of the second part of a name."""
    return name.partition("/")[2]


def seal_new(vault: Vault, plain: bytes, context: str, key: KeyName) -> tuple[bytes, bytes]:
    """Seal with a fresh data key; gives the envelope, and the data key to be kept under the name."""
    data_key = vault.random(KEY_BYTES)
    return _sealed(vault, data_key, plain, context, key), vault.seal(data_key, _wrapping(key))


def seal_again(vault: Vault, plain: bytes, context: str, key: KeyName, kept: bytes) -> bytes:
    """Seal with a data key that is kept already.

    Raises:
        SealBrokenError: what is kept is no data key of this name, or the vault cannot open it.
    """
    return _sealed(vault, vault.unseal(kept, _wrapping(key)), plain, context, key)


def unseal(vault: Vault, sealed: bytes, context: str, kept: bytes) -> bytes:
    """What is in an envelope; ``kept`` is its data key.

    Raises:
        SealBrokenError: it was changed, it belongs to another context, or the data key is not its own or cannot be
            opened.
    """
    if sealed[:1] != _ENVELOPE:
        raise SealBrokenError("no envelope")
    key, rest = _parsed(sealed)
    data_key = vault.unseal(kept, _wrapping(key))
    try:
        return AESGCM(data_key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], _associated(context, key))
    except (InvalidTag, ValueError):
        raise SealBrokenError(f"not what was sealed as {context!r}") from None


def key_of(sealed: bytes) -> KeyName | None:
    """Which data key opens an envelope; ``None`` if a key of the vault does, without one.

    Raises:
        SealBrokenError: it is an envelope without a name.
    """
    return _parsed(sealed)[0] if sealed[:1] == _ENVELOPE else None


def resealed(vault: Vault, key: KeyName, kept: bytes) -> bytes:
    """A data key sealed anew, with the key that the vault seals with now.

    Raises:
        SealBrokenError: as :func:`seal_again`.
    """
    return vault.seal(vault.unseal(kept, _wrapping(key)), _wrapping(key))


def opens(vault: Vault, key: KeyName, kept: bytes) -> bool:
    """Whether the vault opens a data key."""
    try:
        vault.unseal(kept, _wrapping(key))
    except SealBrokenError:
        return False
    return True


def sealing_key_of(kept: bytes) -> int:
    """Id of the vault's key that a data key is sealed with; 0 for a tombstone."""
    return kept[0]


def tombstone(now: int) -> bytes:
    """What stands in the place of a data key that was forgotten at ``now`` (milliseconds)."""
    return _TOMBSTONE + str(now).encode()


def is_forgotten(kept: bytes) -> bool:
    """Whether it is a tombstone."""
    return kept[:1] == _TOMBSTONE


def _sealed(vault: Vault, data_key: bytes, plain: bytes, context: str, key: KeyName) -> bytes:
    name, nonce = _spelled(key), vault.random(NONCE_BYTES)
    text = AESGCM(data_key).encrypt(nonce, plain, _associated(context, key))
    return _ENVELOPE + bytes((len(name),)) + name + nonce + text


def _parsed(sealed: bytes) -> tuple[KeyName, bytes]:
    end = 2 + sealed[1] if len(sealed) > 1 else 2
    order_id, _, name = sealed[2:end].decode(errors="replace").partition(" ")
    if not name:
        raise SealBrokenError("an envelope that names no data key")
    return (order_entity(order_id), name), sealed[end:]


def _spelled(key: KeyName) -> bytes:
    entity, name = key
    return f"{entity_key(entity)} {name}".encode()


def _wrapping(key: KeyName) -> str:
    return f"data key\0{key[0]}\0{key[1]}"


def _associated(context: str, key: KeyName) -> bytes:
    return context.encode() + b"\0" + _spelled(key)
