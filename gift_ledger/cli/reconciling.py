"""``reconcile``: the log beside what Kafka's topics hold."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from gift_ledger.cli.context import EXIT_CODES, Context, Exit, JsonOption, finish, of, print_json, row, screen, table
from gift_ledger.cli.progress import counted

if TYPE_CHECKING:
    from gateway.reconciliation import ReconciliationReport

SHOWN_MAX: Final = 200
"""Rows of a table; --json has them all."""


def reconcile(
    ctx: typer.Context,
    *,
    republish: Annotated[
        bool,
        typer.Option(
            "--republish", help="Publish what is missing: transactions, and newest states; never an older one."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the log with what Kafka's topics hold: every event that is due has to be there, in order.

    It can run beside the service, and writes nothing unless told to.

    Examples: gift-ledger reconcile, gift-ledger reconcile --republish
    """
    finish(_reconcile(of(ctx), republish=republish, as_json=as_json))


async def _reconcile(context: Context, *, republish: bool, as_json: bool) -> int:
    settings = context.settings("redis_url", "kafka_bootstrap")
    with counted("entities and events") as bar:
        async with context.log(settings) as log, context.acting(settings, "reconcile --republish") as acting:
            if republish:
                await acting.begin()
            report = await context.doors.reconcile(log, settings.bridge(), bar.show, republish=republish)
            acting.came_to(republished=report.republished)
    if as_json:
        print_json(report)
    else:
        show_differences(report)
        _show_end(report)
    return Exit.OK if report.in_order else Exit.FOUND


def show_differences(report: "ReconciliationReport") -> None:
    """What differs, in tables."""
    out = screen()
    if report.differences:
        made = table("CODE", "WHAT", "TOPIC", "VERSION>", "", title="Differences")
        for one in report.differences[:SHOWN_MAX]:
            row(made, one.code, one.kind, one.topic, one.version, one.detail)
        out.print(made, "", sep="\n")
    if report.lost_events:
        made = table(
            "CODE", "TOPIC", "VERSION>", "TYPE", "AMOUNT>", "BALANCE>", "WHEN", title="Published, and not in the ledger"
        )
        for event in report.lost_events[:SHOWN_MAX]:
            figures = [None if one is None else f"{one:,}" for one in (event.amount, event.balance)]
            row(made, event.code, event.topic, event.version, event.type, *figures, event.occurred_at)
        out.print(made, "", sep="\n")
    more = max(0, sum(report.counts.values()) - SHOWN_MAX), max(0, len(report.lost_events) - SHOWN_MAX)
    if any(more):
        out.print(f"And {more[0]:,} differences and {more[1]:,} events more: --json lists them.")
    out.print(
        f"Certificates: {report.certificates:,}. Events on Kafka: {report.events:,}. "
        f"Certificates with events that wait: {report.waiting:,}."
    )
    if report.foreign:
        out.print(f"Records on our topics that are not ours: {report.foreign:,}.")


def _show_end(report: "ReconciliationReport") -> None:
    out = screen()
    if report.republished:
        out.print(f"Events that were published once more: {report.republished:,}.")
    if report.counts:
        found = ", ".join(f"{kind} {count:,}" for kind, count in report.counts.items())
        out.print(f"Found: {found}.")
    if report.in_order:
        out.print("[bold green]Kafka has all that it ought to have.[/]")
    elif not report.mended:
        out.print("[bold red]Kafka lacks events.[/] `gift-ledger reconcile --republish` publishes them.")
    else:
        out.print("[bold red]Log and topics differ.[/]")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(reconcile)
