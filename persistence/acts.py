"""Administrative acts: who did what with the command line, kept beside the ledger in a chain of their own.

Each act is two entries: what is about to be done, before it takes effect, and what came of it. So a command that died
in between has left the first. An entry is stored as a record of the log is: its link (a digest over the link before it
and its own bytes) and then the entry as msgpack. Beside the list stands where it ends, so an entry that was changed,
moved or dropped is found, at its end too. (As with the log: it shows careless hands; whoever can rewrite all of it can
make a new one.)
"""

from collections.abc import AsyncIterator, Mapping
from hashlib import blake2b
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from persistence.codec import LINK_BYTES, START, Position
from persistence.errors import UNDECODABLE, DamagedLogError, StorageRefusedError
from persistence.log import PAGE_MAX
from persistence.redis_client import Client, connect
from persistence.redis_errors import answered
from persistence.redis_keys import acts_end_key, acts_key
from persistence.redis_scripts import Script

ACT_SCHEMA: Final = 1
NAME: Final = "acts"
"""What the stream is called where a certificate or an order would be."""
FACT_CHARACTERS_MAX: Final = 200
"""Of each name and fact of an entry; there are a dozen at most, so an entry stays below some KB."""
TRIES_MAX: Final = 20
"""How often an entry is appended anew because another one was faster: commands are typed by people."""
CONNECTIONS_MAX: Final = 2
"""A command appends its entries one after the other, and reads a page at a time."""

Outcome = Literal["begun", "done", "failed"]


class Act(Struct, frozen=True, array_like=True):
    """One entry. A new field goes to the end and has a default.

    ``intent`` is the number of the entry that told of the act before it was done; its own, if this is that one.
    """

    schema: int
    number: int
    at: int
    """Milliseconds."""
    user: str
    """Of the operating system."""
    host: str
    command: str
    outcome: Outcome
    intent: int
    facts: dict[str, str] = {}
    """Arguments, and in the second entry what came of them: neither secrets nor personal data."""


class ActStore(Protocol):
    """Where the stream is kept. Every method may raise :class:`~persistence.errors.StorageError`."""

    async def end(self) -> Position:
        """Number and link of the last entry."""
        ...

    async def append(self, stored: bytes, before: Position, after: Position) -> bool:
        """Append an entry; durable when it returns.

        Returns:
            False, with nothing done, if the stream does not end at ``before``.
        """
        ...

    async def page(self, after: int, limit: int = PAGE_MAX) -> list[bytes]:
        """Entries ``after + 1`` to ``after + limit``, oldest first."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...


class RedisActStore:
    """Acts in Redis: ``PREFIX:acts`` has the entries, ``PREFIX:acts:end`` where they end.

    Args:
        client: of the server.
        prefix: first part of its keys.
        owns_client: whether to close it as well.
    """

    def __init__(self, client: Client, prefix: str = "gl", *, owns_client: bool = False) -> None:
        self._redis = client
        self._entries, self._end = acts_key(prefix), acts_end_key(prefix)
        self._owns_client = owns_client

    @classmethod
    def at(cls, url: str, prefix: str, timeout_seconds: float) -> "RedisActStore":
        """With connections of its own; after ``timeout_seconds`` a call counts as unanswered."""
        client = connect(url, connections_max=CONNECTIONS_MAX, timeout_seconds=timeout_seconds)
        return cls(client, prefix, owns_client=True)

    async def end(self) -> Position:
        """See :meth:`ActStore.end`."""
        return _end(await answered(self._redis.execute_command("GET", self._end)))

    async def append(self, stored: bytes, before: Position, after: Position) -> bool:
        """See :meth:`ActStore.append`."""
        words = (b"" if before == START else _stored(before), stored, _stored(after))
        # seldom enough to send the script itself
        done = await answered(self._redis.execute_command("EVAL", _APPEND.text, 2, self._entries, self._end, *words))
        return bool(done)

    async def page(self, after: int, limit: int = PAGE_MAX) -> list[bytes]:
        """See :meth:`ActStore.page`."""
        found: list[bytes] = await answered(
            self._redis.execute_command("LRANGE", self._entries, after, after + limit - 1)
        )
        return found

    async def close(self) -> None:
        """See :meth:`ActStore.close`."""
        if self._owns_client:
            await self._redis.aclose()


async def note(
    store: ActStore,
    at: int,
    who: tuple[str, str],
    command: str,
    outcome: Outcome,
    facts: Mapping[str, str],
    intent: int | None = None,
) -> int:
    """Append an entry; gives its number. It is durable when this returns.

    Args:
        store: the stream.
        at: milliseconds.
        who: user of the operating system, and host.
        command: what is done.
        outcome: how far it is.
        facts: arguments and results; cut to :data:`FACT_CHARACTERS_MAX` each.
        intent: number of the entry that told of it before; ``None``: this is that one.

    Raises:
        StorageError: it could not be written, or no answer came: then it may stand there.
    """
    short = {name: value[:FACT_CHARACTERS_MAX] for name, value in facts.items()}
    user, host = (name[:FACT_CHARACTERS_MAX] for name in who)
    for _ in range(TRIES_MAX):
        before = await store.end()
        number = before.version + 1
        act = Act(ACT_SCHEMA, number, at, user, host, command, outcome, number if intent is None else intent, short)
        stored, after = encode(before, act)
        if await store.append(stored, before, after):
            return number
    raise StorageRefusedError("others note administrative acts all the time: try again")


def encode(before: Position, act: Act) -> tuple[bytes, Position]:
    """Bytes to store for the entry that follows ``before``, and where the stream ends with it."""
    body = _encoder.encode(act)
    link = blake2b(before.link + body, digest_size=LINK_BYTES).digest()
    return link + body, Position(act.number, link)


def decode(stored: bytes) -> Act:
    """The entry in stored bytes; its place in the chain is not looked at.

    Raises:
        DamagedLogError: these bytes are none.
    """
    try:
        return _decoder.decode(memoryview(stored)[LINK_BYTES:])
    except UNDECODABLE as error:
        raise DamagedLogError(f"stored bytes are not an administrative act: {error}") from error


async def pages(store: ActStore) -> AsyncIterator[tuple[int, list[bytes]]]:
    """All entries, a page at a time, each with how many stand before it."""
    before = 0
    while page := await store.page(before):
        yield before, page
        before += len(page)


async def problems(store: ActStore) -> list[tuple[int | None, str]]:
    """What is wrong with the stream: entries, by number, that are not the ones that were written there.

    It can run beside commands that append. The chain is followed up to the first break: nothing behind it is proved.
    """
    try:
        earlier, position = await store.end(), START
        linked = not earlier.version
        async for before, page in pages(store):
            for number, stored in enumerate(page, before + 1):
                after = follow(position, stored)
                if after is None:
                    return [(number, "the chain breaks here: an entry was changed, dropped or moved")]
                position = after
                act = decode(stored)
                if act.number != number:
                    return [(number, f"the entry says that it is number {act.number}")]
                linked |= position == earlier
        later = await store.end()
    except DamagedLogError as error:
        return [(None, str(error))]
    return _problems_at_the_end(position, earlier, later, linked=linked)


def _problems_at_the_end(
    position: Position, earlier: Position, later: Position, *, linked: bool
) -> list[tuple[int | None, str]]:
    """Whether entries end where they should: where it was said before and after they were read."""
    if position.version < earlier.version:
        return [(position.version + 1, f"entries up to {earlier.version} were written, and are missing")]
    if not linked:
        return [(earlier.version, "it is not the entry that was written there")]
    if position.version > later.version:
        return [(later.version + 1, "nobody has appended this entry")]
    return []


def follow(before: Position, stored: bytes) -> Position | None:
    """Where the stream ends with an entry that follows ``before``; ``None`` if it is not the one that was written."""
    link = blake2b(before.link + stored[LINK_BYTES:], digest_size=LINK_BYTES).digest()
    return Position(before.version + 1, link) if link == stored[:LINK_BYTES] else None


def _stored(position: Position) -> bytes:
    return b"%d|%b" % (position.version, position.link)


def _end(stored: bytes | None) -> Position:
    """Where the stream ends, as it is stored.

    Raises:
        DamagedLogError: this is no end of one.
    """
    if stored is None:
        return START
    number, _, link = stored.partition(b"|")
    if not number.isdigit() or len(number) > _DIGITS_MAX or len(link) != LINK_BYTES:
        raise DamagedLogError("the end of the administrative acts is not one that was written")
    return Position(int(number), link)


_DIGITS_MAX: Final = 15
_APPEND: Final = Script("acts_append")
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Act)
