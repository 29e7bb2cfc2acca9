"""``backup`` and ``restore``: the ledger as a file, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gift_ledger.cli.context import (
    EXIT_CODES,
    Context,
    Exit,
    JsonOption,
    finish,
    money,
    of,
    plain,
    print_json,
    row,
    screen,
    table,
)
from gift_ledger.cli.progress import counted
from gift_ledger.cli.reconciling import show_differences
from gift_ledger.cli.verification import ServerOption
from ledger.money import rfc3339

if TYPE_CHECKING:
    from gift_ledger.recovery.restore import Restored

MEGABYTE: Final = 1_000_000


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Is made; nothing is overwritten.", dir_okay=False)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Write all that the ledger is, as it was at one moment, into a file.

    It can run beside the service, which goes on meanwhile: the server makes the copy, as it does for a new replica. The
    secrets file is not in it: keep a copy of it in another place.

    Example: gift-ledger backup monday.backup
    """
    finish(_backup(of(ctx), file, as_json=as_json))


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.", exists=True, dir_okay=False)],
    *,
    server: ServerOption = None,
    without_kafka: Annotated[
        bool,
        typer.Option(
            "--without-kafka", help="Do not compare with Kafka: there is none, or nothing was published that counts."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back into an empty server, or where no redis_url is set into the data folder.

    Nothing is overwritten, and no part of the service may run. What subscribers were told after the backup is not in
    it: the certificates concerned are listed and stay shut, all others can be used. Orders and payments are read
    again from where the backup had them. Recipients that forgotten.jsonl in the data folder names are forgotten again.

    Example: gift-ledger restore monday.backup
    """
    finish(_restore(of(ctx), file, server, compare=not without_kafka, as_json=as_json))


async def _backup(context: Context, file: Path, *, as_json: bool) -> int:
    with counted("{task.fields[megabytes]:,.1f} MB", megabytes=0.0) as bar:
        manifest = await context.doors.backup(
            context.settings("redis_url"),
            file,
            lambda size: bar.show(size, None, megabytes=size / MEGABYTE),
        )
    if as_json:
        print_json(manifest)
        return Exit.OK
    size = f"{manifest.data_bytes / MEGABYTE:,.1f} MB"
    screen().print(plain(f"{file}: {size}, as it was at {rfc3339(manifest.made_at)}."), soft_wrap=True)
    if manifest.inbox is None:
        screen().print("Kafka did not answer: a restore will read orders and payments from their beginning.")
    screen().print(plain(f"Prove it with `gift-ledger verify --backup {file}`."), soft_wrap=True)
    return Exit.OK


async def _restore(context: Context, file: Path, server: Path | None, *, compare: bool, as_json: bool) -> int:
    settings = context.loaded().settings
    embedded = settings.kafka_bootstrap is None  # its broker forgets everything with the stack
    with counted("{task.fields[step]}", step="reading the backup") as bar:
        restored = await context.doors.restore(
            settings,
            file,
            server,
            lambda step, done, total: bar.show(done, total, step=step),
            compare=compare and not embedded,
        )
    if as_json:
        print_json(restored)
    else:
        _show(restored, embedded=embedded)
    report = restored.reconciliation
    return Exit.OK if report is None or not report.lost else Exit.FOUND


def _show(restored: "Restored", *, embedded: bool) -> None:
    out, manifest = screen(), restored.manifest
    out.print(f"The ledger is back as it was at {rfc3339(manifest.made_at)}. Keys: {restored.keys:,}.")
    if not restored.secrets and manifest.vault is not None:
        out.print(plain(f"The secrets file with the pepper {manifest.vault} is missing: put it back before you start."))
    if restored.acts is None:
        out.print("The administrative acts in it are damaged: `gift-ledger verify` says where.")
    else:
        out.print(
            f"Administrative acts in it: {restored.acts:,} entries. What was done after that moment is not among them; "
            "that the ledger was restored is noted behind them.",
            soft_wrap=True,
        )
    if restored.forgotten is None:
        out.print("There is no forgotten.jsonl in the data folder: was anybody forgotten after the backup was made?")
    else:
        out.print(f"Orders with recipients that were forgotten, and are again: {restored.forgotten:,}.")
    if restored.reconciliation is None:
        why = "No Kafka is set, and the embedded one forgets all" if embedded else "You said so"
        out.print(f"{why}: it was not compared with what subscribers know.")
        return
    show_differences(restored.reconciliation)
    lost = restored.reconciliation.lost
    if not lost:
        out.print("[bold green]Subscribers know nothing that is not in it.[/]")
        return
    kept = {line.code: line.kept for line in restored.lines}
    made = table(
        "SHUT",
        "LEDGER>",
        "PUBLISHED>",
        "ORDER",
        "LINE",
        "THE LINE IS",
        "WORTH>",
        title="Of these subscribers know more",
    )
    for one in lost:
        sale = one.sale
        where: tuple[str | None, ...] = (None,) * 4
        if sale is not None:
            worth = money(sale.balance, sale.currency) if sale.activated else None
            where = (sale.order_id, sale.order_line_id, kept.get(one.code), worth)
        row(made, one.code, one.version, one.published, *where)
    out.print(made, "", sep="\n")
    out.print(
        f"[bold red]Certificates that are shut: {len(lost):,}.[/] They have lost operations after the backup. Each is "
        "refused from now on, and verify lists it. Its line is taken: nobody sells it again. What it is worth is what "
        "its owner has; stuck is a line that was reserved, and may have been issued since: what it is worth says its "
        "order.",
        soft_wrap=True,
    )
    untold = sorted({line.order_id for line in restored.lines if not line.told})
    if untold:
        out.print(
            plain(
                "What subscribers know of their lines is not what these orders say, and nothing was written to them; "
                f"look at these orders before anything is sold on them: {', '.join(untold)}."
            ),
            soft_wrap=True,
        )


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=EXIT_CODES)(backup)
    app.command(epilog=EXIT_CODES)(restore)
