"""The command line: one module for each group of commands, each a thin shell over a plain async function."""

import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from gift_ledger.cli import (
    auditing,
    bench,
    codes,
    dlq,
    doctor,
    inspection,
    keys,
    peppers,
    personal,
    reconciling,
    recovery,
    rotation,
    running,
    settings_page,
    verification,
)
from gift_ledger.cli.context import EXIT_CODES, Context, Exit

app = typer.Typer(
    name="gift-ledger",
    help="Gift certificates: an actor-based in-memory ledger with a durable log.\n\nStart with `gift-ledger up`.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with the values of variables would show secrets
)

running.register(app)
rotation.register(keys.app)
peppers.register(keys.app)
app.add_typer(keys.app, name="keys", epilog=EXIT_CODES)
app.add_typer(codes.app, name="codes", epilog=EXIT_CODES)
app.add_typer(dlq.app, name="dlq", epilog=EXIT_CODES)
inspection.register(app)
auditing.register(app)
verification.register(app)
recovery.register(app)
personal.register(app)
reconciling.register(app)
doctor.register(app)
settings_page.register(app)
bench.register(app)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the form of an option's callback
    if not wanted:
        return
    try:
        typer.echo(f"gift-ledger {version('gift-ledger')}")
    except PackageNotFoundError:
        typer.echo("gift-ledger, run from its source without being installed")
    raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line on this process's arguments and environment, and end the process with its exit code."""
    try:
        app(prog_name="gift-ledger", obj=Context(environ=dict(os.environ), folder=Path.cwd()))
    except Exception:  # noqa: BLE001 - the last resort: a defect must not look like a finding (exit code 1)
        traceback.print_exc()
        sys.exit(Exit.NOT_RUN)
