"""``codes``: batches of certificate codes."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

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
    of,
    plain,
    print_json,
    row,
    screen,
    table,
)
from gift_ledger.cli.progress import counted
from gift_ledger.codes.batch_file import FAULTS_MAX, TOLD_EVERY, BatchFile, Examined, LineFault, write_batch
from gift_ledger.codes.importing import Imported, import_codes
from gift_ledger.codes.minting import COUNT_MAX, ENTROPY_BITS, minted
from ledger.codes import PREFIX_PATTERN, form_of
from ledger.identifiers import entity_key, is_certificate

app = typer.Typer(no_args_is_help=True, help="Make, import and check the codes that certificates are sold under.")


class BatchView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A batch that was made."""

    prefix: str
    entropy_bits: float
    codes: list[str]


class ImportView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of an import: lines that are not in order, or codes that are there now."""

    codes: int
    new: int
    known: int
    faulty: int
    faults: tuple[LineFault, ...]


@app.command(epilog=EXIT_CODES)
def generate(
    ctx: typer.Context,
    count: Annotated[int, typer.Option(help="How many codes.", min=1, max=COUNT_MAX)],
    prefix: Annotated[
        str | None, typer.Option(help="What they begin with. By default the first of codes_prefixes: GC.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to make, for the owner alone. By default standard output.", dir_okay=False)
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make codes that nobody can guess, for a printer: PREFIX-XXXX-XXXX-XXXX-XXXX, one on each line.

    Each has 67 bits from a cryptographic source and a check character, and no characters that look alike. Nothing is
    kept of them: import the file if only imported codes may be sold.

    Example: gift-ledger codes generate --count 10000 --output spring.codes
    """
    finish(_generate(of(ctx), count, prefix, output, as_json=as_json))


@app.command("import", epilog=EXIT_CODES)
def import_batch(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The batch, one code on each line.", exists=True, dir_okay=False)
    ],
    *,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="The codes were not made by `codes generate`: no check character is asked."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the codes of a batch be sold where GIFT_LEDGER_CODES is imported.

    The whole file is looked through first; if a line is not in order, it is named and nothing is written. Importing a
    file again changes nothing, so an import that was broken off is simply repeated.

    Example: gift-ledger codes import spring.codes
    """
    finish(_import(of(ctx), file, foreign=foreign, as_json=as_json))


@app.command(epilog=EXIT_CODES)
def check(ctx: typer.Context, *, as_json: JsonOption = False) -> None:
    """Look for certificates that GIFT_LEDGER_CODES would shut out: sold under a code like ours, with a wrong check.

    To be run before it is set to checked or imported. If it finds any, make new batches with a prefix that no
    certificate has yet, and set GIFT_LEDGER_CODES_PREFIXES to that.

    Example: gift-ledger codes check
    """
    finish(_check(of(ctx), as_json=as_json))


async def _generate(context: Context, count: int, prefix: str | None, output: Path | None, *, as_json: bool) -> int:
    if as_json and output is not None:
        raise CommandError("--json prints the codes and --output writes them to a file: give one of the two.")
    known = context.loaded().settings.code_prefixes
    prefix = known[0] if prefix is None else prefix
    if not re.fullmatch(PREFIX_PATTERN, prefix):
        raise CommandError(f"{prefix!r} is no prefix: use 1 to 12 capital letters and digits.")
    if prefix not in known:
        screen(stderr=True).print(
            f"{prefix} is not among the prefixes of ours: add it to GIFT_LEDGER_CODES_PREFIXES before the import.",
            soft_wrap=True,
        )
    if as_json:
        print_json(BatchView(prefix=prefix, entropy_bits=round(ENTROPY_BITS, 1), codes=list(minted(count, prefix))))
    elif output is None:
        for code in minted(count, prefix):
            typer.echo(code)
    else:
        written = write_batch(output, _shown(minted(count, prefix), count))
        screen().print(plain(f"{output}: {written:,} codes of {ENTROPY_BITS:.1f} bits each."), soft_wrap=True)
    return Exit.OK


def _shown(codes: Iterable[str], count: int) -> Iterator[str]:
    """The codes, with a bar that shows how many have gone by."""
    with counted("{task.completed:,.0f} codes") as bar:
        for done, code in enumerate(codes, 1):
            yield code
            if not done % TOLD_EVERY:
                bar.show(done, count)


async def _import(context: Context, file: Path, *, foreign: bool, as_json: bool) -> int:
    settings = context.settings("redis_url")
    with file.open("rb") as opened:
        batch = BatchFile(opened, form_of(settings.code_prefixes), foreign=foreign)
        size = batch.size
        with counted("looking through it") as bar:
            examined = batch.examine(lambda read: bar.show(read, size))
        if not examined.codes and not examined.faulty:
            raise FindingError(f"There is no code in {file}.")
        imported = Imported()
        if not examined.faulty:
            store = await context.doors.codes(settings.storage())
            act = context.acting(settings, "codes import", file=file.name, codes=examined.codes)
            try:
                async with act as acting:
                    await acting.begin(foreign="yes" if foreign else None)
                    with counted("{task.completed:,.0f} codes are there") as bar:
                        imported = await import_codes(
                            store, batch.codes(), examined.codes, lambda done: bar.show(done, examined.codes)
                        )
                    acting.came_to(new=imported.new, known=imported.known)
            finally:
                await store.close()
    if as_json:
        print_json(
            ImportView(
                codes=examined.codes,
                new=imported.new,
                known=imported.known,
                faulty=examined.faulty,
                faults=examined.faults,
            )
        )
    else:
        _tell(file, examined, imported)
    return Exit.FOUND if examined.faulty else Exit.OK


def _tell(file: Path, examined: Examined, imported: Imported) -> None:
    out = screen()
    if not examined.faulty:
        counts = f"{imported.new:,} are new and {imported.known:,} were there"
        out.print(plain(f"{file}: {examined.codes:,} codes, of which {counts}."), soft_wrap=True)
        return
    made = table("LINE>", "")
    for fault in examined.faults:
        row(made, fault.line, fault.message)
    out.print(made)
    if examined.faulty > FAULTS_MAX:
        out.print(f"… and {examined.faulty - FAULTS_MAX:,} more.")
    out.print(plain(f"{file}: {examined.faulty:,} lines are not in order. Nothing was imported."), soft_wrap=True)


async def _check(context: Context, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    form = form_of(settings.code_prefixes)
    certificates, shut = 0, []
    async with context.log(settings) as log:
        total = sum(await log.entity_counts())
        with counted("{task.completed:,.0f} entities") as bar:
            done = 0
            for partition in range(log.partitions):
                async for entity in log.entities(partition):
                    done += 1
                    if is_certificate(entity):
                        certificates += 1
                        if form.wrong(entity_key(entity)):
                            shut.append(entity_key(entity))
                bar.show(done, total)
    shut.sort()
    if as_json:
        print_json({"certificates": certificates, "shutOut": shut})
    else:
        for code in shut:
            typer.echo(code)
        screen(stderr=True).print(
            f"Certificates: {certificates:,}. Those that checked or imported would shut out: {len(shut):,}."
        )
    return Exit.FOUND if shut else Exit.OK
