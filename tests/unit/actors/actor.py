"""An actor as a lane sees it, that answers as it is told, and a directory that knows where it listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.channel import ChannelServer
from actors.frames import Call
from actors.lane import NoSuchActorError
from ledger.answers import Answer
from ledger.commands import SYSTEM, Look, Sell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actors.errors import ActorError
    from actors.work import Done
    from ledger.commands import AnyCommand, Origin

TOKEN = b"a token of more than sixteen bytes"
NAME = "certificates:00"
SALE = Sell("SO-1", "1")
TIMEOUT = 5.0
"""Seconds that a lane of a test waits for an answer."""


class Taken:
    """A command that came to the actor."""

    def __init__(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        self.entity = entity
        self.command = command
        self.origin = origin
        self.done = done


class ScriptedActor:
    """Listens, and answers each command with its own name at once, unless it is told to hold or to refuse."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.came = asyncio.Event()
        self.holds = False
        self.versions: dict[str, int] = {}
        """Versions of the entities that exist."""
        self.refuses: Callable[[], ActorError] | None = None
        self.server = ChannelServer(self.take, TOKEN)

    @property
    def entities(self) -> list[str]:
        return [one.entity for one in self.taken]

    def take(self, entity: str, command: AnyCommand, origin: Origin, done: Done) -> None:
        one = Taken(entity, command, origin, done)
        self.taken.append(one)
        self.came.set()
        if self.refuses is not None:
            done(self.refuses())
        elif not self.holds:
            done(Answer(entity.encode(), version=self.versions.get(entity, 0)))

    def answer(self) -> None:
        """Answer what is held, in order."""
        for one in self.taken:
            one.done(Answer(one.entity.encode()))
        self.taken.clear()


class ScriptedDirectory:
    """Knows one actor, or that it does not run."""

    def __init__(self, address: str = "") -> None:
        self.place = address
        self.asked = 0
        self.knows_at_once = True
        self.awakened: list[tuple[str, bool]] = []
        self.lost = False

    async def holder(self, entity: str, *, wake: bool) -> str:
        self.awakened.append((entity, wake))
        if self.lost:
            raise NoSuchActorError("Ray does not answer")
        return NAME

    def holder_now(self, entity: str) -> str | None:
        return NAME if self.knows_at_once and entity else None

    async def address(self, name: str) -> str:
        self.asked += 1
        if not self.place:
            raise NoSuchActorError(name)
        return self.place


async def listening(actor: ScriptedActor, folder: Path, kind: str = "unix") -> str:
    """Have the actor listen, and return where."""
    if kind == "tcp":
        return await actor.server.listen_tcp("127.0.0.1")
    actor.server = ChannelServer(actor.take)
    return await actor.server.listen_unix(folder / f"{id(actor)}.sock")


def look(entity: str) -> Call:
    """Return a call for the actor."""
    return Call(entity, Look(), SYSTEM)
