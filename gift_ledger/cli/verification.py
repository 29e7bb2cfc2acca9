"""``verify``: reads the whole log and proves it."""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gift_ledger.cli.context import (
    EXIT_CODES,
    CommandError,
    Context,
    Exit,
    JsonOption,
    finish,
    of,
    plain,
    print_json,
    row,
    screen,
    table,
)
from ledger.identifiers import certificate_entity, normalise_code


def verify(
    ctx: typer.Context,
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE", help="Certificates to verify; by default all, and all orders."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Read the log again from its first record, and prove that chain, sums and snapshots are right.

    It can run beside the service: it writes nothing.

    Example: gift-ledger verify GC-7K2M-9QXA
    """
    finish(_verify(of(ctx), codes or [], as_json=as_json))


async def _verify(context: Context, codes: list[str], *, as_json: bool) -> int:
    entities = [_entity(code) for code in codes] or None
    with _progress() as progress:
        bar = progress.add_task("verifying", total=None)

        def advance(done: int) -> None:
            progress.update(bar, completed=done)

        async with context.log(context.settings("redis_url")) as log:
            report = await context.doors.verify(log, entities, advance)
    if as_json:
        print_json(report)
    else:
        made = table("ENTITY", "VERSION>", "PROBLEM")
        for finding in report.findings:
            row(made, finding.entity, finding.version, finding.problem)
        if report.findings:
            screen().print(made)
        screen().print(
            plain(f"{len(report.findings)} findings in {report.records:,} records of {report.entities:,} entities.")
        )
    return Exit.FOUND if report.findings else Exit.OK


def _entity(code: str) -> str:
    normalised = normalise_code(code)
    if normalised is None:
        raise CommandError(f"{code!r} is no certificate code: it has 8 to 32 characters of A-Z 0-9 -")
    return certificate_entity(normalised)


def _progress() -> Progress:
    """A bar on standard error; where that is no terminal, nothing."""
    console = screen(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(verify)
