"""Moves everything that is sealed from old keys of the vault to its new one, and says when nothing needs the old ones.

The data keys are sealed anew, one order after the other; what they seal stays as it is. It can be broken off and begun
again at any time: what is done is seen to be done. Messages that were sealed with a key of the vault itself, as the
first version did, are gone after a day. A recipient that was sealed so stands in the log, which is never changed: he
needs his key until he is forgotten.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ledger.certificate import Certificate
from ledger.order import Order
from persistence import envelope
from persistence.errors import DamagedLogError
from persistence.log import KeyName, Loaded, Log
from persistence.reading import GROUP, groups, load_each, restored
from persistence.vault import SealBrokenError, Vault

DROP_AFTER_MS: Final = 600_000
"""How long the new key has to seal before an old one may be dropped: longer than any process seals with a key that it
has read before, and what it sealed is on its way to the log."""

OnProgress = Callable[[int, int | None], None]
"""Is told how much is done, and of how much if that is known."""


class Rotated(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done. ``unreadable`` are data keys that the vault cannot open: their key is missing, or another one."""

    orders: int
    resealed: int
    current: int
    """Data keys that were sealed with the new key already."""
    forgotten: int
    unreadable: int


class Tried(Struct, frozen=True, kw_only=True, rename="camel"):
    """Data keys that the vault opens, and that it does not; ``keys`` are the ids that these name, ``first`` is one."""

    opened: int
    unopened: int = 0
    keys: tuple[int, ...] = ()
    first: str = ""

    def __str__(self) -> str:
        keys = ", ".join(map(str, self.keys))
        total = self.opened + self.unopened
        return f"data keys that cannot be opened: {self.unopened:,} of {total:,}, sealed with {keys}, as {self.first}"


class Needed(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is sealed with keys of the vault that are to be dropped. ``unread``: entities that cannot be looked at."""

    data_keys: int
    messages: int
    recipients: int
    unread: int = 0

    @property
    def total(self) -> int:
        """All of it: the keys may be dropped when it is none."""
        return self.data_keys + self.messages + self.recipients + self.unread


async def rotate(log: Log, vault: Vault, on_progress: OnProgress) -> Rotated:
    """Seal all data keys with the key that ``vault`` seals with.

    Raises:
        StorageError: the log does not answer; what is done stays done.
    """
    counts: Counter[str] = Counter()
    async for group in _groups(log):
        changes: dict[str, list[tuple[str, bytes, bytes]]] = {}
        for order, kept in group.items():
            for name, value in kept.items():
                if envelope.is_forgotten(value):
                    counts["forgotten"] += 1
                elif envelope.sealing_key_of(value) == vault.sealing_key:
                    # its number alone says nothing: somebody may have made another key of the same one
                    counts["current" if envelope.opens(vault, (order, name), value) else "unreadable"] += 1
                else:
                    try:
                        resealed = envelope.resealed(vault, (order, name), value)
                    except SealBrokenError:
                        counts["unreadable"] += 1
                    else:
                        changes.setdefault(order, []).append((name, value, resealed))
        counts["resealed"] += sum(await asyncio.gather(*(log.replace_data_keys(*one) for one in changes.items())))
        counts["orders"] += len(group)
        on_progress(counts["orders"], None)
    return Rotated(
        orders=counts["orders"],
        resealed=counts["resealed"],
        current=counts["current"],
        forgotten=counts["forgotten"],
        unreadable=counts["unreadable"],
    )


async def tried(
    log: Log, vault: Vault, orders_max: int | None = None, passed: Collection[KeyName] = frozenset()
) -> Tried:
    """Try to open data keys, of all orders or of so many, but for those that are passed over.

    Raises:
        StorageError: the log does not answer, or not to this user.
    """
    opened = unopened = orders = 0
    keys: set[int] = set()
    first = ""
    async for group in _groups(log):
        for order, kept in group.items():
            for name, value in kept.items():
                if envelope.is_forgotten(value) or (order, name) in passed:
                    continue
                if envelope.opens(vault, (order, name), value):
                    opened += 1
                else:
                    unopened += 1
                    keys.update(value[:1])
                    first = first or f"{order} {name}"
        orders += len(group)
        if orders_max is not None and orders >= orders_max:
            break
    return Tried(opened=opened, unopened=unopened, keys=tuple(sorted(keys)), first=first)


async def unfinished(log: Log, sealing_key: int) -> bool:
    """Whether any data key is sealed with another key than this one."""
    async for group in _groups(log):
        used = {envelope.sealing_key_of(value) for kept in group.values() for value in kept.values()}
        if used - {0, sealing_key}:
            return True
    return False


async def needed(log: Log, key_ids: Iterable[int], on_progress: OnProgress) -> Needed:
    """What is sealed with keys of the vault. All entities are read: it takes as long as a quick proof of the log.

    Raises:
        StorageError: the log does not answer.
    """
    ids = frozenset(key_ids)
    sealed_keys = 0
    async for group in _groups(log):
        sealed_keys += sum(envelope.sealing_key_of(value) in ids for kept in group.values() for value in kept.values())
    total, done, recipients, unread, messages = sum(await log.entity_counts()), 0, 0, 0, 0
    for partition in range(log.partitions):
        async for message in log.messages(partition):
            messages += message.sealed[:1] != b"" and message.sealed[0] in ids
        named = [entity async for entity in log.entities(partition)]
        for some in groups(named):
            found, failed = await _recipients(log, some)
            direct = [name for name, sealed in found if sealed[:1] and sealed[0] in ids]
            kept_values = await log.data_keys(direct) if direct else []
            recipients += sum(value is None for value in kept_values)
            unread += failed
            done += len(some)
            on_progress(done, total)
    return Needed(data_keys=sealed_keys, messages=messages, recipients=recipients, unread=unread)


async def _groups(log: Log) -> AsyncIterator[dict[str, dict[str, bytes]]]:
    """The data keys of all orders, each once, as many orders together as one round trip reads."""
    seen: set[str] = set()
    waiting: list[str] = []
    async for order in log.orders_with_data_keys():
        if order not in seen:
            seen.add(order)
            waiting.append(order)
        if len(waiting) >= GROUP:
            yield dict(zip(waiting, await log.data_keys_of(waiting), strict=True))
            waiting = []
    if waiting:
        yield dict(zip(waiting, await log.data_keys_of(waiting), strict=True))


async def _recipients(log: Log, entities: list[str]) -> tuple[list[tuple[KeyName, bytes]], int]:
    """Recipients in the states of entities, each with where the tombstone would be of one that was sealed directly.

    The second part is how many entities could not be read.
    """
    found: list[tuple[KeyName, bytes]] = []
    failed = 0
    for entity, loaded in zip(entities, await load_each(log, entities), strict=True):
        try:
            state = await restored(log, entity, await _readable(log, entity, loaded))
        except DamagedLogError:
            failed += 1
            continue
        match state:
            case Certificate(order_id=str(order_id), line_id=str(line_id), recipient=bytes(sealed)):
                found.append((envelope.key_name(order_id, envelope.DIRECT, line_id), sealed))
            case Order():
                found += (
                    (envelope.key_name(state.order_id, envelope.DIRECT, line_id), line.recipient)
                    for line_id, line in state.lines.items()
                    if line.recipient is not None
                )
            case _:
                pass
    return found, failed


async def _readable(log: Log, entity: str, loaded: Loaded | DamagedLogError) -> Loaded | DamagedLogError:
    """What is there of an entity of which the register knows more, as of one that a restore has shut.

    Records that are lost need no key. A snapshot that is newer than the records says that there is more damage.
    """
    if isinstance(loaded, DamagedLogError) or loaded.damage is None:
        return loaded
    (whole,) = await log.load([entity], snapshots=False)
    if whole.registered is None or not loaded.snapshot_version <= whole.version < whole.registered:
        return loaded
    return replace(whole, damage=None)
