"""Erases names and phones on request, by forgetting the data keys that they are sealed with.

Nothing of the log is changed: chain, balances and history stay what they are. What was sealed with the vault's own key,
as the first version did, cannot be erased so: it is marked, so that nobody uses it any more, and becomes unreadable
once that key is dropped (:mod:`persistence.rotation`).

What was forgotten is also noted in a file outside of the ledger (:class:`Journal`): a backup that was made before holds
the keys of its time, and whoever restores it has them forgotten again.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from ledger import records as r
from ledger.certificate import Certificate
from ledger.identifiers import certificate_entity, order_entity
from persistence import codec, envelope
from persistence.errors import UNDECODABLE
from persistence.log import PAGE_MAX, Log
from persistence.reading import restored
from persistence.secrets_file import sync_folder
from persistence.vault import SealBrokenError

FORGOTTEN: Final = "its recipient was forgotten"
"""Why a message is not sent that cannot be read any more."""
JOURNAL: Final = "forgotten.jsonl"


class Forgotten(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is forgotten of one order: ``names`` of data keys, of the recipients of ``lines``. ``at`` in milliseconds.

    ``direct`` are lines whose recipients were sealed with the vault's own key.
    """

    order_id: str
    lines: tuple[str, ...]
    names: tuple[str, ...]
    at: int
    direct: tuple[str, ...] = ()
    by: str = ""
    """Who did it: the user of the machine."""


_decoder: Final = msgspec.json.Decoder(Forgotten)


class Known(Struct, frozen=True, kw_only=True):
    """The recipients that an order ever had."""

    names: tuple[str, ...]
    direct: tuple[str, ...]
    codes: dict[str, frozenset[str]]
    """By line, all certificates that were ever on it."""


async def order_of(log: Log, code: str) -> tuple[str, str] | None:
    """Order and line that a certificate is reserved or was sold for; ``None`` if it is not known.

    Raises:
        DamagedLogError: what is stored cannot be what was written.
    """
    entity = certificate_entity(code)
    (loaded,) = await log.load([entity])
    match await restored(log, entity, loaded):
        case Certificate(order_id=str(order_id), line_id=str(line_id)):
            return order_id, line_id
        case _:
            return None


async def known_of(log: Log, order_id: str, line_id: str | None = None) -> Known | None:
    """The recipients of an order, or of one of its lines; ``None`` if there is no such order, or no such line in it."""
    entity = order_entity(order_id)
    (kept,) = await log.data_keys_of([entity])
    names, direct, codes = dict.fromkeys(kept), dict[str, None](), dict[str, set[str]]()
    lines: set[str] = set()
    async for body in _bodies(log, entity):
        match body:
            case r.Placed():
                lines |= {line.line_id for line in body.lines}
                for line in body.lines:
                    if line.recipient is not None and _is_direct(line.recipient):
                        direct[line.line_id] = None
                    elif line.recipient is not None:
                        names[envelope.key_name(order_id, body.order_version, line.line_id)[1]] = None
            case r.LineAllocated():
                lines.add(body.line_id)
                codes.setdefault(body.line_id, set()).add(body.code)
            case _:
                pass
    lines |= {envelope.line_of(name) for name in names}
    if not lines or (line_id is not None and line_id not in lines):
        return None
    ours = lines if line_id is None else {line_id}
    return Known(
        names=tuple(name for name in names if envelope.line_of(name) in ours),
        direct=tuple(line for line in direct if line in ours),
        codes={line: frozenset(found) for line, found in codes.items() if line in ours},
    )


def planned(order_id: str, known: Known, now: int, by: str = "") -> Forgotten:
    """What is to be forgotten of recipients; ``now`` in milliseconds."""
    direct = tuple(envelope.key_name(order_id, envelope.DIRECT, line)[1] for line in known.direct)
    names = tuple(dict.fromkeys((*known.names, *direct)))
    lines = tuple(dict.fromkeys(envelope.line_of(name) for name in names))
    return Forgotten(order_id=order_id, lines=lines, names=names, at=now, direct=known.direct, by=by)


async def forget(log: Log, forgotten: Forgotten) -> None:
    """Put tombstones in the place of data keys. Durable when it returns; doing it twice is as good as once."""
    if forgotten.names:
        tombstone = envelope.tombstone(forgotten.at)
        await log.forget_data_keys(order_entity(forgotten.order_id), forgotten.names, tombstone)


async def end_messages(log: Log, forgotten: Forgotten, codes: Iterable[str]) -> int:
    """Give up the messages that wait to be sent to those who were forgotten; gives how many.

    One that a shard queues at this very moment needs a key that is gone: the SMS sender gives it up. One that is on its
    way to the gateway already arrives.
    """
    order, names = order_entity(forgotten.order_id), frozenset(forgotten.names)
    direct = {certificate_entity(code) for code in codes}
    ended = 0
    for partition in range(log.partitions):
        async for message in log.messages(partition):
            try:
                key = envelope.key_of(message.sealed)
            except SealBrokenError:
                continue  # the sender gives it up
            if message.entity in direct if key is None else (key[0] == order and key[1] in names):
                await log.message_settle(message, FORGOTTEN)
                ended += 1
    return ended


class Journal:
    """A file of what was forgotten, one JSON object a line; it holds no personal data.

    Args:
        path: is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, data_folder: Path) -> Self:
        """The one in a data folder."""
        return cls(data_folder / JOURNAL)

    def note(self, forgotten: Forgotten) -> None:
        """Add a line; it is on disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = file.read()
            whole, last = content.rfind(b"\n") + 1, content[content.rfind(b"\n") + 1 :]
            if last and _is_whole(last):
                # only its end is lost, as an editor does it
                file.write(b"\n")
            else:
                # a crash has left half a line: nothing was done for it
                file.seek(whole)
                file.truncate()
            file.write(msgspec.json.encode(forgotten) + b"\n")
            file.flush()
            os.fsync(descriptor)
        if not content:
            sync_folder(self.path.parent)  # the file is new: it has to be found again after a power cut

    def read(self) -> Sequence[Forgotten]:
        """All lines, oldest first; none if there is no file.

        Raises:
            OSError: it cannot be read, a line in it is not ours, or the last one is cut off.
        """
        if not self.path.exists():
            return ()
        *lines, last = self.path.read_bytes().split(b"\n")
        if last and not _is_whole(last):
            raise OSError(
                f"the last line of {self.path} is cut off: copy the file once more; or, if that is how a `forget` left "
                "it that died, take the line out, and have it forgotten anew."
            )
        try:
            return [_decoder.decode(line) for line in (*lines, last) if line]
        except UNDECODABLE as error:
            raise OSError(f"{self.path} is no list of what was forgotten: {error}") from error


async def _bodies(log: Log, entity: str) -> AsyncIterator[r.AnyBody]:
    """What has happened to an entity, oldest first."""
    after = 0
    while stored := await log.history(entity, after, PAGE_MAX):
        for one in stored:
            yield codec.decode(one).body
        after += len(stored)


def _is_whole(line: bytes) -> bool:
    try:
        _decoder.decode(line)
    except UNDECODABLE:
        return False
    return True


def _is_direct(recipient: bytes) -> bool:
    try:
        return envelope.key_of(recipient) is None
    except SealBrokenError:
        return False
