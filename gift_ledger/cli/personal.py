"""``forget``: erases the name and the phone of a certificate's recipient."""

import sys
from getpass import getuser
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec import Struct

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
from ledger.identifiers import normalise_code
from persistence import forgetting
from persistence.forgetting import Forgotten, Journal, Known
from persistence.log import Log

REWRITE_SECONDS_MAX: Final = 600.0
"""How long the server may take to rewrite its append-only file before we go; it goes on by itself."""


class ForgottenView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was forgotten, as it is shown."""

    order_id: str
    lines: tuple[str, ...]
    """Those that named a recipient."""
    data_keys: int
    messages: int
    """SMS that were waiting, and are not sent."""
    sealed_directly: tuple[str, ...]
    """Lines whose recipient becomes unreadable only once the old sealing key is dropped."""
    rewritten: bool
    """Whether the server's files hold the erased keys no more."""


def forget(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="CODE|ORDER", help="A certificate's code, or the id of an order with all its lines."),
    ],
    line: Annotated[str | None, typer.Option(metavar="LINE", help="Only this line of the order.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")] = False,
    no_rewrite: Annotated[
        bool,
        typer.Option("--no-rewrite", help="Do not have the server rewrite its file; for all but the last of many."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase name and phone of who was to receive a certificate, for good; certificates and balances stay.

    The keys that they are sealed with are destroyed, messages that wait are not sent, and no new CVC can be. It can run
    beside the service. Backups keep what they had: have them end as your rules say.

    Examples: gift-ledger forget GC-7K2M-9QXA, gift-ledger forget SO-1001 --line 1
    """
    finish(_forget(of(ctx), name, line, yes=yes, rewrite=not no_rewrite, as_json=as_json))


async def _forget(context: Context, name: str, line: str | None, *, yes: bool, rewrite: bool, as_json: bool) -> int:
    settings = context.settings("redis_url")
    async with context.log(settings) as log:
        order_id, known = await _known(log, name, line)
        forgotten = forgetting.planned(order_id, known, now_ms(), getuser())
        _confirm(forgotten, yes=yes)
        # what the ledger calls it, and not what was typed, which may be anything
        act = context.acting(settings, "forget", orderId=order_id, lines=", ".join(forgotten.lines))
        async with act as acting:
            await acting.begin()
            if forgotten.names:
                # before it is done: should we die in between, a restore forgets a little too much and never too little
                _make_folder(settings.data_path)
                Journal.of(settings.data_path).note(forgotten)
            await forgetting.forget(log, forgotten)
            codes = {code for direct in forgotten.direct for code in known.codes.get(direct, ())}
            messages = await forgetting.end_messages(log, forgotten, codes)
            acting.came_to(dataKeys=len(forgotten.names) - len(forgotten.direct), messages=messages)
        rewritten = bool(forgotten.names) and rewrite and await log.rewrite_files(REWRITE_SECONDS_MAX)
    view = ForgottenView(
        order_id=order_id,
        lines=forgotten.lines,
        data_keys=len(forgotten.names) - len(forgotten.direct),
        messages=messages,
        sealed_directly=forgotten.direct,
        rewritten=rewritten,
    )
    if as_json:
        print_json(view)
    else:
        _show(view, rewrite=rewrite)
    return Exit.OK


async def _known(log: Log, name: str, line: str | None) -> tuple[str, Known]:
    """The order that is meant, and its recipients.

    Raises:
        FindingError: nothing is called so.
        CommandError: it means more than one thing.
    """
    code = normalise_code(name) if line is None else None
    sold = None if code is None else await forgetting.order_of(log, code)
    ordered = await forgetting.known_of(log, name, line)
    if ordered is not None and sold is not None:
        raise CommandError(
            f"{name} is the id of an order and the code of a certificate: name an order and a --line. The certificate "
            f"is that of order {sold[0]}, line {sold[1]}."
        )
    if ordered is not None:
        return name, ordered
    known = None if sold is None else await forgetting.known_of(log, *sold)
    if sold is not None and known is not None:
        return sold[0], known
    where = "" if line is None else f" with a line {line}"
    raise FindingError(f"The ledger has never heard of {name}{where}, or it has not come yet: look for a typing error.")


def _confirm(forgotten: Forgotten, *, yes: bool) -> None:
    if yes:
        return
    if not _can_ask():
        raise CommandError("It cannot be undone: say --yes where nobody can be asked.")
    lines = ", ".join(forgotten.lines) or "none that names a recipient"
    typer.confirm(f"Order {forgotten.order_id}, lines: {lines}. Erase name and phone for good?", abort=True, err=True)


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _show(view: ForgottenView, *, rewrite: bool) -> None:
    out = screen()
    if not view.lines:
        out.print(plain(f"Order {view.order_id} names no recipient: there is nothing to erase."))
        return
    lines = ", ".join(view.lines)
    out.print(
        plain(f"Order {view.order_id}, lines {lines}: recipients are forgotten. SMS not sent: {view.messages}."),
        soft_wrap=True,
    )
    if view.sealed_directly:
        out.print(
            plain(
                f"An early version sealed lines {', '.join(view.sealed_directly)}: nobody uses them any more, and they "
                "become unreadable with `gift-ledger keys rotate-data`, and later `--drop-old`."
            ),
            soft_wrap=True,
        )
    if not view.rewritten:
        why = "is not done, or not allowed to this user" if rewrite else "was not asked for"
        out.print(
            f"Rewriting the server's append-only file {why}: until it is rewritten (`redis-cli BGREWRITEAOF`, on "
            "replicas too), it still holds the erased keys.",
            soft_wrap=True,
        )
    out.print(
        "Have Orders forget as well: a later version of the order would bring the recipient back.", soft_wrap=True
    )


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(forget)
