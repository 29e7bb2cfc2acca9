"""``keys rotate-data``: a new key for what is sealed at rest."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct
from msgspec.structs import replace

from gift_ledger.cli.context import (
    EXIT_CODES,
    CommandError,
    Context,
    Exit,
    FindingError,
    JsonOption,
    finish,
    now_ms,
    of,
    plain,
    print_json,
    screen,
)
from gift_ledger.cli.progress import counted
from gift_ledger.settings import Settings
from ledger.money import rfc3339
from persistence import rotation, secrets_file
from persistence.errors import StorageUnsafeError
from persistence.log import Log
from persistence.rotation import Needed, Rotated
from persistence.secrets_file import Secrets
from persistence.vault import LOOK_SECONDS, Vault

COMMAND: Final = "keys rotate-data"
PASSES_MAX: Final = 3
"""How often all data keys are gone through: others may seal with the key before for a moment."""
SETTLE_SECONDS: Final = 2 * LOOK_SECONDS
"""Before each time: by then running processes have seen the new key."""


class RotationView(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a rotation stands. Keys are named by their ids alone."""

    sealing_key: int
    next_key: int | None = None
    old_keys: tuple[int, ...] = ()
    rotated: Rotated | None = None
    needed: Needed | None = None
    """What old keys are still needed for."""


def rotate_data(
    ctx: typer.Context,
    *,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Only add a new key to the secrets file, to be given to all machines first."),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Take the old keys out of the secrets file, if nothing needs them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Seal names, phones and messages with a new key: all data keys are sealed anew, and nothing else is touched.

    It can run beside the service, whose processes see the new key within a second. It can be broken off: started
    again, it goes on. Where machines have copies of the secrets file, --prepare comes first.

    Example: gift-ledger keys rotate-data, and an hour later gift-ledger keys rotate-data --drop-old
    """
    if prepare and drop_old:
        raise typer.BadParameter("--prepare and --drop-old are two steps: choose one")
    context = of(ctx)
    step = _prepare if prepare else _drop_old if drop_old else _rotate
    finish(step(context, as_json=as_json))


async def _prepare(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    async with context.log(settings) as log:
        held = await _prepared(log, path)
    if as_json:
        print_json(_view(held))
        return Exit.OK
    screen().print(
        plain(
            f"{path} has the key {held.next_key} now, which does not seal yet. Give the file to all machines, then run "
            "`gift-ledger keys rotate-data`."
        ),
        soft_wrap=True,
    )
    return Exit.OK


async def _rotate(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    async with context.log(settings) as log, context.acting(settings, COMMAND) as acting:
        with counted("{task.fields[orders]:,} orders", orders=0) as bar:

            def advance(done: int, total: int | None) -> None:
                bar.show(done, total, orders=done)

            now = now_ms()
            held = secrets_file.read(path)
            await log.bind_sealing_keys(held.fingerprints())
            recent = now - held.sealing_since < rotation.DROP_AFTER_MS
            await acting.begin(step="rotate")
            # one that was broken off goes on; so does one that is begun again at once, whatever became of it
            if held.next_key is not None or not (recent or await rotation.unfinished(log, held.sealing_key)):
                await _prepared(log, path)
                held = secrets_file.change(path, lambda before: before.switched(now))
            vault = Vault.load(path)
            acting.came_to(sealingKey=held.sealing_key)
            rotated = await _passes(lambda: rotation.rotate(log, vault, advance))
        acting.came_to(resealed=rotated.resealed)
    if as_json:
        print_json(_view(held, rotated=rotated))
    else:
        _show_rotated(held, rotated)
    return Exit.FOUND if rotated.unreadable else Exit.OK


async def _prepared(log: Log, path: Path) -> Secrets:
    """The secrets, with a next key that the ledger knows by its number, and no other one.

    The file is written first: should we die in between, the next run notes the same key. Until it is noted it does not
    seal.

    Raises:
        StorageUnsafeError: the ledger knows another key by one of the numbers.
    """
    before = secrets_file.read(path)
    await log.bind_sealing_keys(before.fingerprints())
    held = secrets_file.change(path, Secrets.prepared)
    try:
        await log.bind_sealing_keys(held.fingerprints())
    except StorageUnsafeError:
        if before.next_key is None and held.next_key is not None:
            made, key = held.next_key, held.keys[held.next_key]
            secrets_file.change(path, lambda now: now.unprepared(made, key))
        raise
    return held


async def _passes(rotate: Callable[[], Awaitable[Rotated]]) -> Rotated:
    """Go through all data keys until none is found that is sealed with an old key."""
    await asyncio.sleep(SETTLE_SECONDS)
    rotated = await rotate()
    resealed, passes = rotated.resealed, 1
    while rotated.resealed and passes < PASSES_MAX:
        await asyncio.sleep(SETTLE_SECONDS)
        rotated = await rotate()
        resealed, passes = resealed + rotated.resealed, passes + 1
    return replace(rotated, resealed=resealed)


async def _drop_old(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    path = settings.secrets_file
    await require_ours(context, settings, path)
    held = secrets_file.read(path)
    if not held.old_keys:
        raise FindingError("There are no old keys in the secrets file: begin with `gift-ledger keys rotate-data`.")
    earliest = held.sealing_since + rotation.DROP_AFTER_MS
    if now_ms() < earliest:
        raise FindingError(
            f"The key {held.sealing_key} has not sealed for long enough: something may be on its way that was sealed "
            f"with one before. Wait until {rfc3339(earliest)}."
        )
    async with context.log(settings) as log, context.acting(settings, COMMAND) as acting:
        await log.bind_sealing_keys(held.fingerprints())
        tried = await rotation.tried(log, Vault.load(path))
        if tried.unopened:
            raise FindingError(f"Nothing is dropped: with {path} there are {tried}. Put the file back that opens them.")
        with counted("{task.fields[entities]:,} entities", entities=0) as bar:
            needed = await rotation.needed(log, held.old_keys, lambda done, total: bar.show(done, total, entities=done))
        if not needed.total:
            dropped = held.old_keys
            await acting.begin(step="drop-old", dropped=_names(dropped))
            held = secrets_file.change(path, lambda before: before.without(dropped))
    if as_json:
        print_json(_view(held, needed=needed))
    else:
        _show_needed(held, needed)
    return Exit.FOUND if needed.total else Exit.OK


async def require_ours(context: Context, settings: Settings, path: Path) -> None:
    """See that the secrets are those of the ledger.

    Raises:
        CommandError: they are another one's.
    """
    found = await context.doors.ledger(settings.storage())
    ours = Vault.load(path).fingerprint
    if found is not None and found.vault not in {None, ours}:
        raise CommandError(f"the ledger was made with the pepper {found.vault}, and {path} has {ours}: name its file")


def _view(held: Secrets, *, rotated: Rotated | None = None, needed: Needed | None = None) -> RotationView:
    return RotationView(
        sealing_key=held.sealing_key,
        next_key=held.next_key,
        old_keys=tuple(sorted(held.old_keys)),
        rotated=rotated,
        needed=needed,
    )


def _names(keys: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(keys)))


def _show_rotated(held: Secrets, rotated: Rotated) -> None:
    out = screen()
    out.print(
        f"Key {held.sealing_key} seals now. Data keys: {rotated.resealed:,} sealed anew, {rotated.current:,} as they "
        f"should be, {rotated.forgotten:,} forgotten.",
        soft_wrap=True,
    )
    if rotated.unreadable:
        out.print(
            f"[bold red]Data keys that cannot be opened: {rotated.unreadable:,}.[/] Their key is not in the secrets "
            "file, or another one has its number: put it back, and run this once more.",
            soft_wrap=True,
        )
    elif held.old_keys:
        out.print(
            f"Old keys, kept until nothing needs them: {_names(held.old_keys)}. Give the file to all machines; then "
            "`gift-ledger keys rotate-data --drop-old`.",
            soft_wrap=True,
        )


def _show_needed(held: Secrets, needed: Needed) -> None:
    out = screen()
    if not needed.total:
        out.print(
            f"Only the key {held.sealing_key} is left. Backups that are older than it need the file as it was.",
            soft_wrap=True,
        )
        return
    out.print(
        f"The keys {_names(held.old_keys)} stay. They are needed for {needed.data_keys:,} data keys (run `gift-ledger "
        f"keys rotate-data`), {needed.messages:,} SMS that wait (a day at most), {needed.recipients:,} recipients that "
        f"an early version sealed (until they are forgotten). Entities that could not be read: {needed.unread:,}.",
        soft_wrap=True,
    )


def register(keys: typer.Typer) -> None:
    """Add the command to those of ``keys``."""
    keys.command("rotate-data", epilog=EXIT_CODES)(rotate_data)
