"""Frames between callers and shards: over Unix sockets and TCP, on asyncio's loop and on uvloop, which Ray uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from actors import channel, frames
from actors.channel import ChannelServer, Connection, connect, encode_calls
from actors.errors import LeavingError, OutcomeUnknownError, OverloadedError
from actors.frames import FRAME_BYTES_MAX, GOODBYE, Call, CallFrame, ReplyFrame
from ledger.answers import Answer
from ledger.commands import SYSTEM, Look
from ledger.refusals import Refusal, Refused
from tests.unit.actors.actor import SALE, TOKEN, ScriptedActor, listening
from tests.unit.actors.stage import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK = Call("c:GC-7K2M-9QXA", Look(), SYSTEM)


class Caller:
    """The caller's end of a connection, with what came back."""

    def __init__(self) -> None:
        self.frames: list[ReplyFrame] = []
        self.came = asyncio.Event()
        self.ended = asyncio.Event()
        self.connection: Connection | None = None
        self.polite = True

    async def connect(self, address: str, token: bytes | None = TOKEN) -> None:
        self.connection = await connect(address, token, self._replied, self._lost)

    def send(self, *calls: Call, frame: int = 1) -> None:
        assert self.connection is not None
        self.connection.send(encode_calls(frame, list(calls)))

    def write(self, data: bytes) -> None:
        """Send bytes that may be no frame."""
        assert self.connection is not None
        self.connection.transport.write(data)

    async def reply(self) -> ReplyFrame:
        await self.came.wait()
        self.came.clear()
        return self.frames[-1]

    def _replied(self, connection: Connection, frame: ReplyFrame) -> None:
        if frame == GOODBYE and self.polite:
            connection.transport.close()
            return
        self.frames.append(frame)
        self.came.set()

    def _lost(self, _: Connection) -> None:
        self.ended.set()


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = Caller()
    yield caller
    if caller.connection is not None:
        caller.connection.transport.abort()
        await caller.ended.wait()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_commands_go_out_and_answers_come_back(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, kind: str
) -> None:
    address = await listening(actor, tmp_path, kind)
    assert address.startswith(f"{kind}:")

    await caller.connect(address)
    caller.send(LOOK, Call("o:SO-1", Look(), SYSTEM), frame=7)
    frame = await caller.reply()

    assert (frame.frame, frame.turn) == (7, True)
    assert [reply.outcome for reply in frame.replies] == [Answer(b"c:GC-7K2M-9QXA"), Answer(b"o:SO-1")]


@pytest.mark.parametrize(
    "outcome",
    [
        Answer(refused=Refused(Refusal.INSUFFICIENT_FUNDS, "too little", {"available": 1})),
        LeavingError("stopping"),
        OverloadedError("full"),
        OutcomeUnknownError("lost"),
    ],
)
async def test_every_kind_of_outcome_crosses_the_channel(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, outcome: Answer | OverloadedError
) -> None:
    await caller.connect(await listening(actor, tmp_path))
    actor.holds = True
    caller.send(LOOK)
    await actor.came.wait()

    actor.taken[0].done(outcome)
    (reply,) = (await caller.reply()).replies

    assert type(reply.outcome) is type(outcome)
    assert reply.outcome == outcome or str(reply.outcome) == str(outcome)


async def test_a_sale_does_not_hold_up_its_frame(actor: ScriptedActor, caller: Caller, tmp_path: Path) -> None:
    await caller.connect(await listening(actor, tmp_path))
    actor.holds = True
    caller.send(Call("c:1", SALE, SYSTEM), LOOK, frame=1)
    await until(lambda: len(actor.taken) == 2)

    actor.taken[1].done(Answer(b"quick"))
    quick = await caller.reply()
    actor.taken[0].done(Answer(b"sold"))
    late = await caller.reply()

    assert [(reply.position, reply.outcome) for reply in quick.replies] == [(1, Answer(b"quick"))]
    assert [(reply.position, reply.outcome) for reply in late.replies] == [(0, Answer(b"sold"))]
    assert (quick.turn, late.turn) == (True, False)


async def test_a_frame_of_sales_gives_the_turn_back_at_once(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    await caller.connect(await listening(actor, tmp_path))
    actor.holds = True

    caller.send(Call("c:1", SALE, SYSTEM))

    assert await caller.reply() == ReplyFrame(1, [], turn=True)


async def test_frames_may_come_in_pieces_or_together(actor: ScriptedActor, caller: Caller, tmp_path: Path) -> None:
    await caller.connect(await listening(actor, tmp_path))
    data = framed(encode_calls(1, [LOOK])) + framed(encode_calls(2, [LOOK])) + framed(encode_calls(3, [LOOK]))

    for byte in data[:20]:
        caller.write(bytes((byte,)))
        await asyncio.sleep(0)
    caller.write(data[20:])
    await until(lambda: len(caller.frames) == 3)

    assert [frame.frame for frame in caller.frames] == [1, 2, 3]


async def test_nothing_that_follows_a_wrong_token_is_carried_out(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    await caller.connect(await listening(actor, tmp_path, "tcp"), token=None)

    caller.write(framed(b"a guess of more than 16 bytes") + framed(encode_calls(1, [LOOK])))
    await caller.ended.wait()

    assert actor.taken == []


async def test_commands_without_a_token_are_not_carried_out(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    await caller.connect(await listening(actor, tmp_path, "tcp"), token=None)

    caller.send(LOOK)
    await caller.ended.wait()

    assert actor.taken == []


async def test_who_shows_no_token_is_not_waited_for(
    actor: ScriptedActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await listening(actor, tmp_path, "tcp")
    monkeypatch.setattr(channel, "CONNECT_SECONDS_MAX", 0.01)  # of our own way to connect, too: so it is not taken
    reader, writer = await asyncio.open_connection(*address.removeprefix("tcp:").rsplit(":", 1))

    assert await reader.read() == b""
    assert actor.taken == []
    writer.close()


async def test_who_has_shown_the_token_may_be_silent(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await listening(actor, tmp_path, "tcp")
    monkeypatch.setattr(channel, "CONNECT_SECONDS_MAX", 0.5)
    await caller.connect(address)

    await asyncio.sleep(0.7)  # longer than a connection without a token may be open
    caller.send(LOOK)

    assert len((await caller.reply()).replies) == 1


async def test_a_connection_too_many_is_cut_and_there_is_room_again_later(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await listening(actor, tmp_path, "unix")
    monkeypatch.setattr(channel, "CONNECTIONS_MAX", 1)
    first, second = Caller(), Caller()
    await first.connect(address)

    await second.connect(address)
    await second.ended.wait()

    assert actor.server.callers == 1
    assert first.connection is not None
    first.connection.transport.close()
    await until(lambda: actor.server.callers == 0)
    await caller.connect(address)
    caller.send(LOOK)
    assert len((await caller.reply()).replies) == 1


async def test_before_its_token_nobody_may_send_much(actor: ScriptedActor, caller: Caller, tmp_path: Path) -> None:
    await caller.connect(await listening(actor, tmp_path, "tcp"), token=None)

    caller.write((channel.TOKEN_BYTES_MAX + 1).to_bytes(4, "little"))

    await caller.ended.wait()


@pytest.mark.parametrize("token", [None, b"", b"too short"])
async def test_tcp_is_not_opened_without_a_token_that_is_worth_it(token: bytes | None) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        await ChannelServer(ScriptedActor().take, token).listen_tcp("127.0.0.1")


@pytest.mark.parametrize(
    "nonsense",
    [
        framed(b"\xc1 is no msgpack"),
        framed(msgspec.msgpack.encode([1, "no calls"])),
        (FRAME_BYTES_MAX + 1).to_bytes(4, "little"),
    ],
)
async def test_who_speaks_otherwise_is_cut(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, nonsense: bytes
) -> None:
    await caller.connect(await listening(actor, tmp_path))

    caller.write(nonsense + framed(encode_calls(1, [LOOK])))
    await caller.ended.wait()

    assert actor.taken == []


async def test_replies_that_cannot_be_read_end_the_connection(caller: Caller, tmp_path: Path) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(framed(b"no reply"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(speak, tmp_path / "s.sock")
    await caller.connect(f"unix:{tmp_path / 's.sock'}")

    await caller.ended.wait()

    assert caller.frames == []
    server.close()
    await server.wait_closed()


async def test_answers_that_are_too_long_together_come_apart(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.connect(await listening(actor, tmp_path))
    monkeypatch.setattr(channel, "FRAME_BYTES_MAX", 3_000)
    actor.holds = True
    caller.send(*[LOOK] * 5)
    await until(lambda: len(actor.taken) == 5)

    for one in actor.taken[:4]:
        one.done(Answer(b"x" * 1_000))
    actor.taken[4].done(Answer(b"x" * 4_000))
    await until(lambda: bool(caller.frames) and caller.frames[-1].turn)

    replies = [reply for frame in caller.frames for reply in frame.replies]
    assert [reply.position for reply in replies] == [0, 1, 2, 3, 4]
    assert all(reply.outcome == Answer(b"x" * 1_000) for reply in replies[:4])
    assert isinstance(replies[4].outcome, OutcomeUnknownError)
    assert [frame.turn for frame in caller.frames].count(True) == 1


async def test_who_does_not_read_is_cut(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "UNREAD_BYTES_MAX", 1_000)
    await caller.connect(await listening(actor, tmp_path))
    assert caller.connection is not None
    caller.connection.transport.pause_reading()
    actor.holds = True
    caller.send(LOOK)
    await actor.came.wait()

    actor.taken[0].done(Answer(b"x" * 8_000_000))
    await until(lambda: not actor.server._connections)

    caller.connection.transport.resume_reading()
    await caller.ended.wait()
    assert caller.frames == []


async def test_an_answer_for_a_caller_that_is_gone_is_dropped(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    await caller.connect(await listening(actor, tmp_path))
    actor.holds = True
    caller.send(LOOK)
    await actor.came.wait()
    assert caller.connection is not None
    caller.connection.transport.abort()
    await until(lambda: not actor.server._connections)

    actor.answer()

    assert caller.frames == []


async def test_a_listener_that_closes_sends_what_it_has_and_hangs_up(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    address = await listening(actor, tmp_path)
    await caller.connect(address)
    caller.send(LOOK)
    await actor.came.wait()

    await actor.server.close()
    await caller.ended.wait()

    assert len(caller.frames) == 1
    with pytest.raises(OSError, match=r"(?i)no such file"):
        await Caller().connect(address)


async def test_who_leaves_says_goodbye_and_answers_what_it_is_asked_until_the_caller_has_gone(
    actor: ScriptedActor, caller: Caller, tmp_path: Path
) -> None:
    address = await listening(actor, tmp_path)
    caller.polite = False
    await caller.connect(address)
    caller.send(LOOK)
    await caller.reply()

    await actor.server.leave()
    caller.send(LOOK, frame=2)
    await until(lambda: len(caller.frames) == 3)

    assert caller.frames[1] == GOODBYE
    assert caller.frames[2].frame == 2
    with pytest.raises(OSError, match=r"(?i)no such file"):
        await Caller().connect(address)


async def test_who_does_not_go_is_not_waited_for(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GOODBYE_SECONDS_MAX", 0.01)
    caller.polite = False
    await caller.connect(await listening(actor, tmp_path))
    caller.send(LOOK)
    await caller.reply()

    await actor.server.close()

    await caller.ended.wait()


async def test_a_connection_that_is_hung_up_at_once_is_none(
    actor: ScriptedActor, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await listening(actor, tmp_path)
    made = Connection.connection_made

    def closed_soon(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        asyncio.get_running_loop().call_soon(connection.transport.abort)

    monkeypatch.setattr(Connection, "connection_made", closed_soon)

    with pytest.raises(ConnectionResetError):
        await caller.connect(address)

    await caller.ended.wait()


def test_a_frame_of_calls_says_what_it_is() -> None:
    frame = msgspec.msgpack.decode(encode_calls(3, [LOOK]), type=CallFrame)

    assert frame == CallFrame(3, [LOOK])
