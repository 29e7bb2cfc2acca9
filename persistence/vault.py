"""Secrets at rest: keyed digests of CVCs, and sealed keys, names, phones and messages.

Four digits cannot be protected by slow hashing: there are only ten thousand of them. What protects them is a key (the
*pepper*) that is kept outside the store: who steals Redis alone learns no CVC. A digest cannot be made anew without the
digits, so a pepper stays for life; but new CVCs can be kept with a new one (:mod:`ledger.peppers`). The keys that seal
can be replaced: each sealed value names its own. Recipients and messages are sealed with data keys, and these with the
keys of the vault (:mod:`persistence.envelope`).
"""

import hmac
import logging
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from ledger import peppers
from persistence import secrets_file
from persistence.secrets_file import Secrets, SecretsError

RECIPIENT: Final = "recipient"
"""Context of a sealed :class:`Recipient`."""
SMS: Final = "sms"
"""Context of a sealed :class:`Sms`."""

LOOK_SECONDS: Final = 1.0
"""Between two looks whether the secrets file has changed: so long a running process may seal with the key before."""
NONCE_BYTES: Final = 12
_CVCS: Final = 10_000

_logger = logging.getLogger(__name__)


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


def new_cvc() -> str:
    """Four digits from a cryptographic source."""
    return f"{secrets.randbelow(_CVCS):04d}"


class Vault:
    """Holds the keys and works with them; nothing hands them out.

    Args:
        pepper: the first one, 32 bytes, for life.
        keys: sealing keys of 32 bytes by id (1 to 255).
        sealing_key: id of the one that seals; the others only unseal.
        path: of the file that they are from: what changes in it is taken over.
        later_peppers: those after the first one, by their numbers from 2 on.
        current_pepper: number of the one that new CVCs are kept with.
    """

    def __init__(
        self,
        pepper: bytes,
        keys: Mapping[int, bytes],
        sealing_key: int,
        path: str | os.PathLike[str] | None = None,
        later_peppers: Mapping[int, bytes] | None = None,
        current_pepper: int = peppers.FIRST,
    ) -> None:
        try:
            held = Secrets(
                pepper=pepper,
                keys=dict(keys),
                sealing_key=sealing_key,
                later_peppers=dict(later_peppers or {}),
                current_pepper=current_pepper,
            )
        except ValueError as error:
            raise SecretsError(str(error)) from None
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._failure = ""
        self._looked = time.monotonic()
        self._take(held)
        self.fingerprint = secrets_file.pepper_print(pepper)
        """Tells one first pepper from another and nothing about it."""

    def __repr__(self) -> str:
        return f"Vault(fingerprint={self.fingerprint!r})"

    @classmethod
    def generate(cls) -> Self:
        """A vault with fresh keys that are written nowhere; for tests."""
        made = secrets_file.fresh_secrets()
        return cls(made.pepper, made.keys, made.sealing_key)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> Self:
        """Make fresh secrets and write them to a new file that only its owner can read.

        Raises:
            SecretsError: the file exists already. It is never overwritten: without its pepper no CVC is ever right
            again.
        """
        made = secrets_file.create(Path(path))
        return cls(made.pepper, made.keys, made.sealing_key, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the secrets file.

        Raises:
            SecretsError: it is missing, others can read it, or it is not a secrets file.
        """
        stored = secrets_file.read(path)
        return cls(stored.pepper, stored.keys, stored.sealing_key, path, stored.later_peppers, stored.current_pepper)

    @property
    def sealing_key(self) -> int:
        """Id of the key that seals from now on."""
        self._look()
        return self._sealing_key

    @property
    def pepper(self) -> int:
        """Number of the pepper that new CVCs are kept with from now on."""
        self._look()
        return self._held.current_pepper

    @property
    def pepper_prints(self) -> dict[int, str]:
        """By number, what tells one later pepper from another and nothing about it."""
        return self._held.pepper_prints()

    def random(self, count: int) -> bytes:
        """So many bytes that nobody can guess."""
        return os.urandom(count)

    def cvc_digest(self, code: str, cvc: str) -> bytes:
        """Keyed digest of a new CVC under the current pepper, as it is stored (:mod:`ledger.peppers`).

        The code is bound in: equal CVCs of two certificates look different.
        """
        self._look()
        current = self._held.current_pepper
        return peppers.stored(current, _digest(self._peppers[current], code, cvc))

    def cvc_digests(self, code: str, cvc: str) -> bytes:
        """Digests of a CVC that somebody typed under all peppers, as a request carries them."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:  # asked here, too: this is done for each CVC
            self._look()
        if self._only is not None:
            return hmac.digest(self._only, f"cvc\0{code}\0{cvc}".encode(), "sha256")
        digests = {number: _digest(pepper, code, cvc) for number, pepper in self._peppers.items()}
        return peppers.carried(self._held.current_pepper, digests)

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt and authenticate (AES-256-GCM). Only the same ``context`` opens it.

        The nonce is drawn at random: one key is good for 2^32 values (NIST SP 800-38D, 8.3), then add another.
        """
        key_id = self.sealing_key
        nonce = self.random(NONCE_BYTES)
        return bytes((key_id,)) + nonce + self._ciphers[key_id].encrypt(nonce, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """What was sealed.

        Raises:
            SealBrokenError: it was changed, sealed for another context or with a key that this vault does not have.
        """
        cipher = self._ciphers.get(sealed[0]) if sealed else None
        if cipher is None and sealed:
            self._look(at_once=True)  # it may be one that was added since
            cipher = self._ciphers.get(sealed[0])
        if cipher is None:
            raise SealBrokenError("sealed with a key that this vault does not have")
        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, context.encode())
        except (InvalidTag, ValueError):
            raise SealBrokenError(f"not what was sealed as {context!r}") from None

    def _take(self, held: Secrets) -> None:
        self._held = held
        self._peppers = held.peppers
        self._only = None if held.later_peppers else held.pepper
        self._ciphers = {key_id: AESGCM(key) for key_id, key in held.keys.items()}
        self._sealing_key = held.sealing_key

    def _look(self, *, at_once: bool = False) -> None:
        """Take over what has changed in the file. One that cannot be read changes nothing."""
        now = time.monotonic()
        if self._path is None or (now - self._looked < LOOK_SECONDS and not at_once):
            return
        self._looked = now
        seen = _signature(self._path)
        if seen == self._seen:
            return
        try:
            held = secrets_file.read(self._path)
        except SecretsError as error:
            # read again at the next look: it may be readable then
            if str(error) != self._failure:
                self._failure = str(error)
                _logger.warning("the secrets are kept as they were read before: %s", error)
            return
        self._seen, self._failure = seen, ""
        if not held.keeps_peppers_of(self._held):
            _logger.error("the secrets file has another pepper now, or lacks one; it is not taken over")
            return
        self._take(held)


def _digest(pepper: bytes, code: str, cvc: str) -> bytes:
    return hmac.digest(pepper, f"cvc\0{code}\0{cvc}".encode(), "sha256")


def _signature(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Tells one state of the file from another: a change puts another file in its place."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
