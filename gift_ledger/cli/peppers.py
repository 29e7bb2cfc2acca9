"""``keys rotate-pepper``: a new pepper for the CVCs that are made from now on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct

from gift_ledger.cli.context import (
    EXIT_CODES,
    Context,
    Exit,
    JsonOption,
    finish,
    now_ms,
    of,
    plain,
    print_json,
    screen,
)
from gift_ledger.cli.progress import counted
from gift_ledger.cli.rotation import require_ours
from persistence import secrets_file
from persistence.errors import StorageUnsafeError
from persistence.log import Log
from persistence.pepper_census import Census, census
from persistence.secrets_file import Secrets, SecretsError
from persistence.vault import LOOK_SECONDS

COMMAND: Final = "keys rotate-pepper"
SETTLE_SECONDS: Final = 2 * LOOK_SECONDS
"""Before a new pepper is used: by then running processes that have the same file have seen it."""
AGAIN_AFTER_MS: Final = 600_000
"""How long a pepper has been used before the command makes another one: begun again at once, it only finishes."""


class PepperView(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a rotation stands. Peppers are named by their numbers alone."""

    pepper: int
    next_pepper: int | None = None
    census: Census | None = None
    """Live certificates by pepper, if they were counted."""


def rotate_pepper(
    ctx: typer.Context,
    *,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only add a new pepper to the secrets file, to be given to all machines first."),
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", help="Change nothing: count the live certificates under each pepper.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep CVCs that are made from now on with a new pepper. Those that customers have stay right.

    A CVC that exists stays under its pepper until a new one is sent: POST /certificates/CODE/cvc. It can run beside the
    service, whose processes see the new pepper within a second. Where machines have copies of the secrets file,
    --prepare comes first. No pepper is ever dropped.

    Example: gift-ledger keys rotate-pepper --prepare, and once all machines have the file, gift-ledger keys
    rotate-pepper
    """
    if prepare and count:
        raise typer.BadParameter("--prepare and --count are two things: choose one")
    step = _prepare if prepare else _count if count else _rotate
    finish(step(of(ctx), as_json=as_json))


async def _prepare(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    async with context.log(settings) as log:
        held = await _prepared(log, path, Secrets.pepper_prepared)
    if as_json:
        print_json(_view(held))
        return Exit.OK
    screen().print(
        plain(
            f"{path} has the pepper {held.next_pepper} now, which is not used yet. Give the file to all machines, then "
            f"run `gift-ledger {COMMAND}`."
        ),
        soft_wrap=True,
    )
    return Exit.OK


async def _rotate(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    async with context.log(settings) as log, context.acting(settings, COMMAND) as acting:
        held = secrets_file.read(path)
        await _bind(log, held, held.current_pepper)
        await acting.begin(step="rotate")
        now = now_ms()
        # judged on what the file holds then: another run may have switched meanwhile
        held = await _prepared(log, path, lambda before: _drawn(before, now))
        if held.next_pepper is not None:
            await asyncio.sleep(SETTLE_SECONDS)
            # noted first: should we die in between, the next run goes on with the same pepper
            await _bind(log, held, held.last_pepper)
            prepared = held
            held = secrets_file.change(path, lambda before: _switched(before, prepared, now))
        acting.came_to(pepper=held.current_pepper)
    if as_json:
        print_json(_view(held))
        return Exit.OK
    screen().print(
        plain(
            f"New CVCs are kept with the pepper {held.current_pepper}. Those that exist stay under theirs until a new "
            f"one is sent. Give {path} to all machines, back it up, and keep it: no pepper in it may be lost."
        ),
        soft_wrap=True,
    )
    return Exit.OK


async def _count(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    held = secrets_file.read(path)
    async with context.log(settings) as log:
        with counted("{task.fields[entities]:,} entities", entities=0) as bar:
            found = await census(log, lambda done, total: bar.show(done, total, entities=done))
    if as_json:
        print_json(_view(held, found))
    else:
        out = screen()
        for number, live in found.certificates.items():
            out.print(f"Pepper {number}: {live:,} live certificates{_note(held, number)}.")
        if not found.certificates:
            out.print("There is no live certificate.")
        if found.unread:
            out.print(f"Certificates and orders that could not be read: {found.unread:,}.")
    return Exit.FOUND if found.unread or found.certificates.keys() - held.peppers.keys() else Exit.OK


def _drawn(before: Secrets, now: int) -> Secrets:
    """With a next pepper, unless the current one was put into use just now: that was this rotation."""
    if before.next_pepper is None and now - before.pepper_since < AGAIN_AFTER_MS:
        return before
    return before.pepper_prepared()


async def _prepared(log: Log, path: Path, draw: Callable[[Secrets], Secrets]) -> Secrets:
    """The secrets as ``draw`` makes them, with a next pepper that the ledger knows by its number, and no other one.

    The file is written first: should we die in between, the next run notes the same pepper.

    Raises:
        StorageUnsafeError: the ledger knows another pepper by one of the numbers, or uses one that the file lacks.
    """
    before = secrets_file.read(path)
    await _bind(log, before, before.current_pepper)
    held = secrets_file.change(path, draw)
    try:
        await _bind(log, held, held.current_pepper)
    except StorageUnsafeError:
        if before.next_pepper is None and held.next_pepper is not None:
            made, pepper = held.next_pepper, held.later_peppers[held.next_pepper]
            secrets_file.change(path, lambda now: now.pepper_unprepared(made, pepper))
        raise
    return held


def _switched(before: Secrets, prepared: Secrets, now: int) -> Secrets:
    """With the pepper in use that was prepared, and no other one.

    Raises:
        SecretsError: another file was put in the place of ours.
    """
    if before.peppers != prepared.peppers:
        raise SecretsError("The secrets file has other peppers than a moment ago: somebody changes it. Run this again.")
    return before.pepper_switched(now)


async def _bind(log: Log, held: Secrets, used: int) -> None:
    await log.bind_peppers(held.pepper_prints(), used)


def _note(held: Secrets, number: int) -> str:
    if number not in held.peppers:
        return ", whose pepper is not in the secrets file"
    return ", new ones too" if number == held.current_pepper else ""


def _view(held: Secrets, found: Census | None = None) -> PepperView:
    return PepperView(pepper=held.current_pepper, next_pepper=held.next_pepper, census=found)


def register(keys: typer.Typer) -> None:
    """Add the command to those of ``keys``."""
    keys.command("rotate-pepper", epilog=EXIT_CODES)(rotate_pepper)
