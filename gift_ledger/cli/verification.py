"""``verify``: reads the whole log and proves it."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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
from ledger.identifiers import certificate_entity, entity_key, is_certificate, normalise_code

if TYPE_CHECKING:
    from persistence.verification import VerificationReport


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

        settings = context.settings("redis_url")
        async with context.log(settings) as log:
            report = await context.doors.verify(log, entities, advance, settings.policy())
    if as_json:
        print_json(report)
    else:
        _show(report)
    return Exit.FOUND if report.findings else Exit.OK


def _show(report: "VerificationReport") -> None:
    out = screen()
    if report.findings:
        findings = table("ENTITY", "VERSION>", "PROBLEM", title="Findings")
        for finding in report.findings:
            row(findings, finding.entity, finding.version, finding.problem)
        out.print(findings, "", sep="\n")
    sums = table("CURRENCY", "BALANCE>", "OF IT HELD>", title="Balances, in minor units")
    for currency, balance in report.balances.items():
        row(sums, currency, f"{balance:,}", f"{report.held.get(currency, 0):,}")
    if report.balances:
        out.print(sums, "", sep="\n")
    out.print(
        f"Records: {report.records:,}. Certificates: {report.certificates:,}. Orders: {report.orders:,}. "
        f"Events that wait for Kafka: {report.publications_waiting:,}. SMS that wait: {report.messages_waiting:,}."
    )
    if report.undecided:
        again = " ".join(entity_key(entity) for entity in report.undecided if is_certificate(entity))
        out.print(
            plain(
                f"Not decided, since they were written to all the time: {', '.join(report.undecided)}. "
                f"Look again in a quieter moment{f': gift-ledger verify {again}' if again else ''}."
            ),
            soft_wrap=True,
        )
    if report.findings:
        out.print(f"[bold red]Findings: {len(report.findings):,}.[/]")
    else:
        out.print(f"[bold green]All {'else ' if report.undecided else ''}is proved.[/]")


def _entity(code: str) -> str:
    normalised = normalise_code(code)
    if normalised is None:
        raise CommandError(f"{code!r} is no certificate code: it has 8 to 32 characters of A-Z 0-9 -")
    return certificate_entity(normalised)


def _progress() -> Progress:
    """What was read so far, on standard error; where that is no terminal, nothing."""
    console = screen(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} records"), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(verify)
