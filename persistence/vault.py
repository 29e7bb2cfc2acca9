"""Secrets at rest: keyed digests of CVCs, and sealed names, phones and messages.

Four digits cannot be protected by slow hashing: there are only ten thousand of them. What protects them is a key (the
*pepper*) that is kept outside the store: who steals Redis alone learns no CVC. It stays for life, because a digest
cannot be made anew without the digits. The keys that seal can be replaced: each sealed value names its own.
"""

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from persistence.errors import UNDECODABLE

RECIPIENT: Final = "recipient"
"""Context of a sealed :class:`Recipient`."""
SMS: Final = "sms"
"""Context of a sealed :class:`Sms`."""

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_IDS_MAX: Final = 255
_SECRETS_BYTES_MAX: Final = 64 * 1024
"""Of the file: with all keys that it can hold it is smaller."""
_CVCS: Final = 10_000


class SecretsError(Exception):
    """The secrets file cannot be used; the message says what to do."""


class SealBrokenError(Exception):
    """Sealed bytes were changed, belong to another context, or were sealed with a key that this vault does not have."""


class Recipient(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who receives a certificate."""

    phone: str
    name: str | None = None
    locale: str | None = None

    def __repr__(self) -> str:
        return "Recipient(…)"


class Sms(Struct, frozen=True, kw_only=True, rename="camel"):
    """A message with a CVC in the clear: it exists only sealed, and on its way to the SMS gateway."""

    to: str
    text: str

    def __repr__(self) -> str:
        return "Sms(…)"


class _Secrets(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The secrets file. ``keys`` are by id (1 to 255); ``sealing_key`` is the id that seals from now on."""

    pepper: bytes
    keys: dict[int, bytes]
    sealing_key: int

    def __repr__(self) -> str:
        return "_Secrets(…)"


def new_cvc() -> str:
    """Four digits from a cryptographic source."""
    return f"{secrets.randbelow(_CVCS):04d}"


class Vault:
    """Holds the keys and works with them; nothing hands them out.

    Args:
        pepper: 32 bytes, for life.
        keys: sealing keys of 32 bytes by id (1 to 255).
        sealing_key: id of the one that seals; the others only unseal.
    """

    def __init__(self, pepper: bytes, keys: Mapping[int, bytes], sealing_key: int) -> None:
        if len(pepper) != KEY_BYTES or any(len(key) != KEY_BYTES for key in keys.values()):
            raise SecretsError(f"pepper and keys have {KEY_BYTES} bytes each")
        if sealing_key not in keys or not all(1 <= key_id <= _KEY_IDS_MAX for key_id in keys):
            raise SecretsError(f"sealingKey names one of the keys, whose ids are 1 to {_KEY_IDS_MAX}")
        self._pepper = pepper
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._sealing_key = sealing_key
        self.fingerprint = hmac.digest(pepper, b"gift-ledger: fingerprint of the pepper", "sha256").hex()[:16]
        """Tells one pepper from another and nothing about it."""

    def __repr__(self) -> str:
        return f"Vault(fingerprint={self.fingerprint!r})"

    @classmethod
    def generate(cls) -> Self:
        """A vault with fresh keys that are written nowhere; for tests."""
        return cls(secrets.token_bytes(KEY_BYTES), {1: secrets.token_bytes(KEY_BYTES)}, 1)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Make fresh secrets and write them to a new file that only its owner can read.

        The file appears whole or not at all, and is on disk when this returns. Of several callers at once one makes
        it, and the others get the error.

        Raises:
            SecretsError: the file exists already. It is never overwritten: without its pepper no CVC is ever right
            again.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        made = _Secrets(pepper=secrets.token_bytes(KEY_BYTES), keys={1: secrets.token_bytes(KEY_BYTES)}, sealing_key=1)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            _write_durably(draft, msgspec.json.format(msgspec.json.encode(made)))
            # a link fails where a rename would overwrite
            os.link(draft, target)
            _sync_directory(target.parent)
        except FileExistsError as error:
            raise SecretsError(f"{target} exists already; it is never overwritten") from error
        finally:
            draft.unlink(missing_ok=True)
        return cls(made.pepper, made.keys, made.sealing_key)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the secrets file.

        Raises:
            SecretsError: it is missing, others can read it, or it is not a secrets file.
        """
        try:
            # without O_NONBLOCK a pipe in its place would be waited for
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SecretsError(f"cannot open the secrets file {os.fspath(path)}: {error.strerror}") from error
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SecretsError(f"{os.fspath(path)} is not a file")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SecretsError(f"others can read {os.fspath(path)}: run `chmod 600 {os.fspath(path)}`")
            text = os.read(descriptor, _SECRETS_BYTES_MAX)
        finally:
            os.close(descriptor)
        try:
            stored = msgspec.json.decode(text, type=_Secrets)
        except UNDECODABLE as error:
            # what was decoded so far is kept out of the message: it may hold a key
            raise SecretsError(f"{os.fspath(path)} is not a secrets file of gift-ledger: {error}") from None
        return cls(stored.pepper, stored.keys, stored.sealing_key)

    def cvc_digest(self, code: str, cvc: str) -> bytes:
        """Keyed digest (32 bytes) of a CVC. The code is bound in: equal CVCs of two certificates look different."""
        return hmac.digest(self._pepper, f"cvc\0{code}\0{cvc}".encode(), "sha256")

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt and authenticate (AES-256-GCM). Only the same ``context`` opens it.

        The nonce is drawn at random: one key is good for 2^32 values (NIST SP 800-38D, 8.3), then add another.
        """
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self._sealing_key
        return bytes((key_id,)) + nonce + self._ciphers[key_id].encrypt(nonce, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """What was sealed.

        Raises:
            SealBrokenError: it was changed, sealed for another context or with a key that this vault does not have.
        """
        cipher = self._ciphers.get(sealed[0]) if sealed else None
        if cipher is None:
            raise SealBrokenError("sealed with a key that this vault does not have")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, context.encode())
        except (InvalidTag, ValueError):
            raise SealBrokenError(f"not what was sealed as {context!r}") from None


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
