"""``dlq``: events that could never be applied, and giving them to the ledger once more."""

import re
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct

from gift_ledger.acting import Acting
from gift_ledger.cli.context import (
    EXIT_CODES,
    CommandError,
    Context,
    Exit,
    JsonOption,
    finish,
    of,
    print_json,
    row,
    screen,
    table,
)

if TYPE_CHECKING:
    from gateway.dead_letter_desk import DeadLetterDesk, Letter

app = typer.Typer(no_args_is_help=True, help="Look at events that could never be applied, and try them once more.")

NAME: Final = re.compile(r"[0-9]{1,10}:[0-9]{1,19}")
LIMIT_DEFAULT: Final = 200
LIMIT_MAX: Final = 100_000
"""Letters of one list: they are held in memory."""


class LetterView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A dead letter as it is shown. The value is not: it holds names and phone numbers."""

    letter: str
    at: str
    reason: str
    detail: str
    topic: str
    partition: str
    offset: str
    key: str | None
    size: int
    replayed: bool


class ReplayView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a replay. ``problem`` is why a letter was left alone."""

    letter: str
    topic: str
    key: str | None
    replayed: bool
    problem: str | None = None


@app.command("list", epilog=EXIT_CODES)
def list_letters(
    ctx: typer.Context,
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Show so many, the latest of each partition.")
    ] = LIMIT_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters: when, why, where each event was read, its key and size.

    The values are not shown, for they hold names and phone numbers.

    Example: gift-ledger dlq list
    """
    finish(_list(of(ctx), limit, as_json=as_json))


@app.command(epilog=EXIT_CODES)
def replay(
    ctx: typer.Context,
    letter: Annotated[
        str | None, typer.Argument(help="PARTITION:OFFSET of one letter, as `dlq list` shows it.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All letters that `--all` has not replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish dead letters, as they first came, to the topics that they came from.

    For when the cause is gone. Replaying twice does no harm: the ledger knows what it has applied. An event that still
    cannot be applied becomes a new letter; the old one stays until its topic forgets it.

    Examples: gift-ledger dlq replay 0:17, gift-ledger dlq replay --all --dry-run
    """
    finish(_replay(of(ctx), letter, every=every, dry_run=dry_run, as_json=as_json))


async def _list(context: Context, limit: int, *, as_json: bool) -> int:
    total = 0
    latest: deque[LetterView] = deque(maxlen=limit)
    async with context.doors.dead_letters(context.settings("kafka_bootstrap").bridge()) as desk:
        async for letter in desk.letters():
            total += 1
            latest.append(_view(letter))
    if as_json:
        print_json(list(latest))
        return Exit.OK
    if not total:
        screen(stderr=True).print("There are no dead letters.")
        return Exit.OK
    made = table("LETTER", "WHEN", "WHY", "READ AT", "KEY", "BYTES>", "REPLAYED", "WHAT IS WRONG")
    for view in latest:
        place = f"{view.topic}/{view.partition}/{view.offset}"
        answer = "yes" if view.replayed else None
        row(made, view.letter, view.at, view.reason, place, view.key, f"{view.size:,}", answer, view.detail)
    screen().print(made)
    if total > len(latest):
        screen(stderr=True).print(f"These are {len(latest)} of {total}; --limit shows more.")
    return Exit.OK


async def _replay(context: Context, name: str | None, *, every: bool, dry_run: bool, as_json: bool) -> int:
    if (name is None) is not every:
        raise CommandError("Name one letter, PARTITION:OFFSET as `dlq list` shows it, or say --all.")
    if name is not None and not NAME.fullmatch(name):
        raise CommandError(f"{name!r} names no letter: write PARTITION:OFFSET as `dlq list` shows it.")
    settings = context.settings("kafka_bootstrap") if dry_run else context.settings("kafka_bootstrap", "redis_url")
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(context.doors.dead_letters(settings.bridge()))
        acting = None
        if not dry_run:
            act = context.acting(settings, "dlq replay", letter=name, every="yes" if every else None)
            acting = await stack.enter_async_context(act)
        done = [
            await _replay_one(desk, letter, acting, mark=every)
            async for letter in desk.letters()
            if letter.name == name or (every and not letter.replayed)
        ]
        if acting is not None:
            acting.came_to(replayed=sum(view.replayed for view in done))
    if as_json:
        print_json(done)
    else:
        _print(done, dry_run=dry_run)
    left = [view for view in done if view.problem is not None]
    return Exit.FOUND if left or (name is not None and not done) else Exit.OK


async def _replay_one(desk: "DeadLetterDesk", letter: "Letter", acting: Acting | None, *, mark: bool) -> ReplayView:
    """Replay a letter; without ``acting`` only see what would be done."""
    problem = desk.obstacle(letter)
    replayed = problem is None and acting is not None
    if acting is not None and (replayed or mark):
        await acting.begin()
        if replayed:
            await desk.replay(letter)
        if mark:
            await desk.mark_replayed(letter)
    return ReplayView(letter=letter.name, topic=letter.topic, key=_text(letter.key), replayed=replayed, problem=problem)


def _print(done: list[ReplayView], *, dry_run: bool) -> None:
    if not done:
        screen(stderr=True).print("There is no such letter.")
        return
    made = table("LETTER", "TOPIC", "KEY", "")
    for view in done:
        row(made, view.letter, view.topic, view.key, view.problem or ("would be replayed" if dry_run else "replayed"))
    screen().print(made)


def _view(letter: "Letter") -> LetterView:
    return LetterView(
        letter=letter.name,
        at=letter.at,
        reason=letter.reason,
        detail=letter.detail,
        topic=letter.topic,
        partition=letter.source_partition,
        offset=letter.source_offset,
        key=_text(letter.key),
        size=letter.size,
        replayed=letter.replayed,
    )


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")
