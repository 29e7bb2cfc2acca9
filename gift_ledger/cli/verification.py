"""``verify``: reads the whole log and proves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

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
from gift_ledger.cli.progress import counted
from ledger.identifiers import certificate_entity, entity_key, is_certificate, normalise_code
from persistence.log import Log
from persistence.settings import StorageSettings

if TYPE_CHECKING:
    from persistence.verification import Progress, VerificationReport

ServerOption = Annotated[
    Path | None,
    typer.Option(
        "--server",
        metavar="PROGRAM",
        help="The redis-server or valkey-server that reads the backup; by default the Valkey that comes with us.",
        exists=True,
        dir_okay=False,
    ),
]


def verify(
    ctx: typer.Context,
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE", help="Certificates to verify; by default all, and all orders."),
    ] = None,
    *,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="FILE", help="Verify a backup, on a private server, and not the ledger."),
    ] = None,
    server: ServerOption = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=16, help="How many processes read; by default as many as there are cores for it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read the log again from its first record, and prove that chain, sums and snapshots are right.

    It can run beside the service: it writes nothing.

    Examples: gift-ledger verify, gift-ledger verify GC-7K2M-9QXA, gift-ledger verify --backup monday.backup
    """
    finish(_verify(of(ctx), codes or [], backup, server, processes=processes, as_json=as_json))


async def _verify(
    context: Context,
    codes: list[str],
    backup: Path | None,
    server: Path | None,
    *,
    processes: int | None,
    as_json: bool,
) -> int:
    entities = [_entity(code) for code in codes] or None
    with counted("{task.fields[records]:,} records", records=0) as bar:

        def advance(progress: "Progress") -> None:
            bar.show(progress.entities, progress.total, records=progress.records)

        async with _storage(context, backup, server) as storage:
            log = await context.doors.log(storage)
            try:
                policy = context.loaded().settings.policy()
                report = await context.doors.verify(log, storage, entities, advance, policy, processes)
                if entities is None:
                    report = await _with_acts(context, storage, report)
                    report = await _with_data_keys(context, log, report)
            finally:
                await log.close()
    if as_json:
        print_json(report)
    else:
        _show(report)
    return Exit.FOUND if report.findings else Exit.OK


async def _with_acts(context: Context, storage: StorageSettings, report: "VerificationReport") -> "VerificationReport":
    """The report, with what is wrong with the administrative acts."""
    from persistence import acts  # noqa: PLC0415 - as the doors' imports
    from persistence.verification import Finding  # noqa: PLC0415

    store = await context.doors.acts(storage)
    try:
        found = tuple(Finding(acts.NAME, number, problem) for number, problem in await acts.problems(store))
    finally:
        await store.close()
    return replace(report, findings=report.findings + found)


async def _with_data_keys(context: Context, log: Log, report: "VerificationReport") -> "VerificationReport":
    """The report, with data keys and CVCs that the secrets file has no key to; where there is none, nobody can tell."""
    from persistence import rotation  # noqa: PLC0415 - as the doors' imports
    from persistence.pepper_prints import lacking  # noqa: PLC0415
    from persistence.secrets_file import SecretsError  # noqa: PLC0415
    from persistence.vault import Vault  # noqa: PLC0415
    from persistence.verification import Finding  # noqa: PLC0415

    path = context.loaded().settings.secrets_file
    try:
        if not path.exists():
            return report
        vault = Vault.load(path)
    except (SecretsError, OSError) as error:  # a folder that is not open to us hides whether there is one
        screen(stderr=True).print(plain(f"Whether the data keys can be opened was not tried: {error}"), soft_wrap=True)
        return report
    findings = list(report.findings)
    found = await rotation.tried(log, vault)
    if found.unopened:
        findings.append(Finding("data keys", None, f"{found} (with {path})"))
    if numbers := lacking((await log.pepper_prints()).used, vault.pepper_prints):
        problem = f"CVCs are kept with peppers that {path} lacks: {', '.join(map(str, numbers))}"
        findings.append(Finding("peppers", None, problem))
    return replace(report, findings=tuple(findings))


@asynccontextmanager
async def _storage(context: Context, backup: Path | None, server: Path | None) -> AsyncIterator[StorageSettings]:
    """The ledger of the settings; or the one in a backup, on a server that lives as long as the block."""
    if backup is None:
        yield context.settings("redis_url").storage()
        return
    async with context.doors.copy(backup, server) as copy:
        yield copy.storage


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


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(verify)
