"""The secrets file: the peppers and the sealing keys, for its owner alone. It is replaced whole, or not at all."""

import fcntl
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ledger.peppers import FIRST
from persistence.errors import UNDECODABLE

KEY_BYTES: Final = 32
KEY_IDS_MAX: Final = 255
SECRETS_BYTES_MAX: Final = 64 * 1024
"""Of the file: with all keys that it can hold it is smaller."""


class SecretsError(Exception):
    """The secrets file cannot be used; the message says what to do."""


class Secrets(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What the file holds. ``keys`` are by id (1 to 255); ``sealing_key`` is the id that seals from now on.

    ``next_key`` is one that does not seal yet, so that every machine can be given it first; ``sealing_since`` is when
    the sealing key became it (milliseconds; 0: with the file).

    ``pepper`` is the first one, which the ledger is known by. ``later_peppers`` are those after it, numbered from 2 on.
    New CVCs are kept with ``current_pepper``, since ``pepper_since`` (milliseconds; 0: with the file). One after it is
    not used yet, so that every machine can be given it first.
    """

    pepper: bytes
    keys: dict[int, bytes]
    sealing_key: int
    next_key: int | None = None
    sealing_since: int = 0
    later_peppers: dict[int, bytes] = {}
    current_pepper: int = FIRST
    pepper_since: int = 0

    def __post_init__(self) -> None:
        if len(self.pepper) != KEY_BYTES or any(len(key) != KEY_BYTES for key in self.keys.values()):
            raise ValueError(f"pepper and keys have {KEY_BYTES} bytes each")
        if self.sealing_key not in self.keys or not all(1 <= key_id <= KEY_IDS_MAX for key_id in self.keys):
            raise ValueError(f"sealingKey names one of the keys, whose ids are 1 to {KEY_IDS_MAX}")
        if self.next_key is not None and (self.next_key not in self.keys or self.next_key == self.sealing_key):
            raise ValueError("nextKey names another one of the keys")
        numbers = range(FIRST + 1, FIRST + 1 + len(self.later_peppers))
        if sorted(self.later_peppers) != list(numbers) or numbers.stop - 1 > KEY_IDS_MAX:
            raise ValueError(f"laterPeppers are numbered from {FIRST + 1} to {KEY_IDS_MAX}, and none is missing")
        if any(len(pepper) != KEY_BYTES for pepper in self.later_peppers.values()):
            raise ValueError(f"pepper and keys have {KEY_BYTES} bytes each")
        if not FIRST <= self.current_pepper <= self.last_pepper <= self.current_pepper + 1:
            raise ValueError("currentPepper names the last of the peppers, or the one before it")

    def __repr__(self) -> str:
        return "Secrets(…)"

    @property
    def old_keys(self) -> frozenset[int]:
        """Ids of keys that only open what they sealed once."""
        return frozenset(self.keys) - {self.sealing_key, self.next_key}

    @property
    def peppers(self) -> dict[int, bytes]:
        """All peppers by their numbers."""
        return {FIRST: self.pepper, **self.later_peppers}

    @property
    def last_pepper(self) -> int:
        """Number of the newest pepper, whether it is in use or not."""
        return FIRST + len(self.later_peppers)

    @property
    def next_pepper(self) -> int | None:
        """Number of the one that is not in use yet."""
        return self.last_pepper if self.last_pepper > self.current_pepper else None

    def pepper_prepared(self) -> "Secrets":
        """With a fresh pepper that is not in use yet; as it is if there is one.

        Raises:
            SecretsError: it holds as many peppers as it can.
        """
        if self.next_pepper is not None:
            return self
        if self.last_pepper == KEY_IDS_MAX:
            raise SecretsError(f"the secrets file holds {KEY_IDS_MAX} peppers, which is all that there can be")
        fresh = {self.last_pepper + 1: secrets.token_bytes(KEY_BYTES)}
        return replace(self, later_peppers=self.later_peppers | fresh)

    def pepper_unprepared(self, number: int, pepper: bytes) -> "Secrets":
        """Without the next pepper, if it is still this one: nothing is kept with it."""
        if self.next_pepper is None or self.next_pepper != number or self.later_peppers[number] != pepper:
            return self
        kept = {other: held for other, held in self.later_peppers.items() if other != number}
        return replace(self, later_peppers=kept)

    def pepper_switched(self, now: int) -> "Secrets":
        """With the next pepper in use from ``now`` (milliseconds) on."""
        if self.next_pepper is None:
            return self
        return replace(self, current_pepper=self.next_pepper, pepper_since=now)

    def pepper_prints(self) -> dict[int, str]:
        """By number, what tells one later pepper from another and nothing about it."""
        return {number: pepper_print(pepper) for number, pepper in self.later_peppers.items()}

    def keeps_peppers_of(self, before: "Secrets") -> bool:
        """Whether all peppers that were in use are still there, each as it was."""
        now = self.peppers
        return all(
            now.get(number) == held for number, held in before.peppers.items() if number <= before.current_pepper
        )

    def prepared(self) -> "Secrets":
        """With a fresh key that does not seal yet; as it is if there is one.

        Raises:
            SecretsError: it holds as many keys as it can.
        """
        if self.next_key is not None:
            return self
        # the next number, so that people can tell which one is newer; after 255 whatever is free
        candidates = (*range(max(self.keys) + 1, KEY_IDS_MAX + 1), *range(1, KEY_IDS_MAX + 1))
        fresh = next((key_id for key_id in candidates if key_id not in self.keys), None)
        if fresh is None:
            raise SecretsError("the secrets file holds 255 keys: drop the old ones first")
        return replace(self, keys=self.keys | {fresh: secrets.token_bytes(KEY_BYTES)}, next_key=fresh)

    def unprepared(self, key_id: int, key: bytes) -> "Secrets":
        """Without the next key, if it is still this one: it has sealed nothing."""
        if self.next_key is None or self.next_key != key_id or self.keys[key_id] != key:
            return self
        return replace(self, keys={held: key for held, key in self.keys.items() if held != key_id}, next_key=None)

    def fingerprints(self) -> dict[int, str]:
        """By id, what tells one sealing key from another and nothing about it."""
        text = b"gift-ledger: fingerprint of a sealing key"
        return {key_id: hmac.digest(key, text, "sha256").hex()[:16] for key_id, key in self.keys.items()}

    def switched(self, now: int) -> "Secrets":
        """Sealing with the next key from ``now`` (milliseconds) on."""
        if self.next_key is None:
            return self
        return replace(self, sealing_key=self.next_key, next_key=None, sealing_since=now)

    def without(self, key_ids: Collection[int]) -> "Secrets":
        """Without those of these keys that are old."""
        gone = self.old_keys & frozenset(key_ids)
        return replace(self, keys={key_id: key for key_id, key in self.keys.items() if key_id not in gone})


def pepper_print(pepper: bytes) -> str:
    """Tells one pepper from another and nothing about it."""
    return hmac.digest(pepper, b"gift-ledger: fingerprint of the pepper", "sha256").hex()[:16]


def fresh_secrets() -> Secrets:
    """A new pepper and a first key, written nowhere."""
    return Secrets(pepper=secrets.token_bytes(KEY_BYTES), keys={1: secrets.token_bytes(KEY_BYTES)}, sealing_key=1)


def create(target: Path) -> Secrets:
    """Write fresh secrets to a new file that only its owner can read.

    The file appears whole or not at all, and is on disk when this returns. Of several callers at once one makes it, and
    the others get the error.

    Raises:
        SecretsError: the file exists already.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    made = fresh_secrets()
    with _draft(target, made) as draft:
        try:
            # a link fails where a rename would overwrite
            os.link(draft, target)
        except FileExistsError as error:
            raise SecretsError(f"{target} exists already; it is never overwritten") from error
        sync_folder(target.parent)
    return made


def change(target: Path, how: Callable[[Secrets], Secrets]) -> Secrets:
    """Replace what the file holds by what ``how`` makes of it; gives what it holds then.

    Whoever reads the file meanwhile sees one or the other. Changes wait for each other. Peppers that were in use stay,
    and so does the file's owner, whoever runs this: the service has to read it.

    Raises:
        SecretsError: the file cannot be read, or a new one cannot be given to its owner.
        OSError: it cannot be written.
    """
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = read(target)
        after = how(before)
        if not after.keeps_peppers_of(before):
            raise SecretsError("a pepper stays for life: a digest cannot be made anew without the digits")
        if after != before:
            with _draft(target, after, target.stat()) as draft:
                draft.replace(target)
                sync_folder(target.parent)
    finally:
        os.close(folder)
    return after


def read(path: str | os.PathLike[str]) -> Secrets:
    """What the file holds.

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
        text = os.read(descriptor, SECRETS_BYTES_MAX)
    finally:
        os.close(descriptor)
    try:
        return msgspec.json.decode(text, type=Secrets)
    except UNDECODABLE as error:
        # what was decoded so far is kept out of the message: it may hold a key
        raise SecretsError(f"{os.fspath(path)} is not a secrets file of gift-ledger: {error}") from None


@contextmanager
def _draft(target: Path, content: Secrets, owned_as: os.stat_result | None = None) -> Iterator[Path]:
    """The content in a file beside the target, on disk; it is gone with the block unless it was moved."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if owned_as is not None:
                _give(target, descriptor, owned_as)
            file.write(msgspec.json.format(msgspec.json.encode(content)))
            file.flush()
            os.fsync(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _give(target: Path, descriptor: int, owned_as: os.stat_result) -> None:
    """Have a new file belong to whom the old one does; its group as well if we may: it gives nobody a right."""
    made = os.fstat(descriptor)
    if made.st_uid != owned_as.st_uid:
        try:
            os.fchown(descriptor, owned_as.st_uid, -1)
        except OSError as error:
            raise SecretsError(
                f"{target} belongs to user {owned_as.st_uid}, and a new file cannot be given to him "
                f"({error.strerror}): run this as that user. Nothing was changed."
            ) from error
    if made.st_gid != owned_as.st_gid:
        with suppress(OSError):
            os.fchown(descriptor, -1, owned_as.st_gid)


def sync_folder(path: Path) -> None:
    """Have the names of a folder's files on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
