"""What every command works with: settings, doors, two consoles, one way to end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from time import time_ns
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.errors import ActorError
from gift_ledger.acting import Acting, Fact
from gift_ledger.cli.doors import Doors
from gift_ledger.cli.probes import NoLedgerError
from gift_ledger.endpoints import Endpoints, EndpointsError
from gift_ledger.settings import Settings, SettingsError
from gift_ledger.sources import SETTINGS, Loaded, load
from persistence.errors import DamagedLogError, StorageError, StorageUnsafeError
from persistence.log import Log
from persistence.secrets_file import SecretsError

PIPED_COLUMNS: Final = 160
"""Width of what goes to a file or to another program."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FOUND = 1
    """It ran, and what it looked at is not in order or not there."""
    NOT_RUN = 2
    """It was called in a wrong way, or could not run."""


EXIT_CODES: Final = (
    "Exit codes: 0 all is well; 1 something was found, or a check failed; 2 wrong usage, or could not run."
)


class CommandError(Exception):
    """The command cannot do what it was asked; the message says what to do."""


class FindingError(CommandError):
    """What the command was asked about is not there: a finding, not a wrong call."""


KNOWN_ERRORS: Final = (
    SettingsError,
    EndpointsError,
    SecretsError,
    NoLedgerError,
    StorageError,
    ActorError,
    CommandError,
    OSError,
)
"""What can go wrong outside of us; anything else is a defect, and shows its traceback."""
KNOWN_LATE: Final = (
    ("ray.exceptions", "RayError"),
    ("aiokafka.errors", "KafkaError"),
)
"""Further ones, from modules that take long to import: nobody can have raised them where they are not imported."""


class Context(Struct, frozen=True, kw_only=True):
    """The world as a command sees it; tests make another one."""

    environ: Mapping[str, str]
    folder: Path
    doors: Doors = Doors()

    def loaded(self) -> Loaded:
        """The settings with their origins.

        Raises:
            SettingsError: they are not in order.
        """
        return load(self.environ, self.folder)

    def settings(self, *needed: str) -> Settings:
        """The settings, with what is unset filled in from the running stack if one of ``needed`` is unset.

        Raises:
            SettingsError: they are not in order.
            EndpointsError: there is no running stack.
        """
        settings = self.loaded().settings
        unset = [SETTINGS[name].variable for name in needed if not getattr(settings, name)]
        if not unset:
            return settings
        try:
            return settings.at(Endpoints.read(settings.data_path))
        except EndpointsError as error:
            raise EndpointsError(f"{error} Or set {' and '.join(unset)}.") from error

    @asynccontextmanager
    async def log(self, settings: Settings) -> AsyncIterator[Log]:
        """The log, open."""
        log = await self.doors.log(settings.storage())
        try:
            yield log
        finally:
            await log.close()

    @asynccontextmanager
    async def acting(self, settings: Settings, command: str, **arguments: Fact) -> AsyncIterator[Acting]:
        """An administrative act, to be noted as soon as it begins (:class:`Acting`)."""
        store = await self.doors.acts(settings.storage())
        try:
            async with Acting(store, command, **arguments) as act:
                yield act
        finally:
            await store.close()


def of(ctx: typer.Context) -> Context:
    """The context that the command line was started with."""
    return ctx.find_object(Context) or Context(environ={}, folder=Path())


def now_ms() -> int:
    """The time in milliseconds."""
    return time_ns() // 1_000_000


def finish(work: Coroutine[Any, Any, int], *, fast: bool = False) -> NoReturn:
    """Do the work of a command and end with its exit code; what cannot be done is said in one sentence.

    Args:
        work: What the command does; it gives the exit code.
        fast: Whether it serves others for long, and takes the faster event loop.
    """
    try:
        with asyncio.Runner(loop_factory=_fast_loop if fast else None) as runner:
            code = runner.run(work)
    except Exception as error:
        reasons = list(_reasons(error))
        if not all(isinstance(reason, _known_errors()) for reason in reasons):
            raise
        for reason in reasons:
            complain(reason)
        found = all(isinstance(reason, FindingError) for reason in reasons)
        code = Exit.FOUND if found else Exit.NOT_RUN
    raise typer.Exit(code)


def _reasons(error: Exception) -> Iterator[Exception]:
    """The errors of a group of tasks that ran together; of any other error, itself."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from _reasons(inner)


def _known_errors() -> tuple[type[Exception], ...]:
    imported = (getattr(sys.modules.get(module), name, None) for module, name in KNOWN_LATE)
    return (*KNOWN_ERRORS, *(kind for kind in imported if kind is not None))


def _fast_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - the other commands do without it

    return uvloop.new_event_loop()


def complain(error: Exception) -> None:
    """Say on standard error what is wrong, and what to do."""
    text = str(error) or type(error).__name__
    advice = _advice(error)
    if advice and not text.endswith((".", "!", "?", "`")):
        text += "."
    message = Text("gift-ledger: ", style="bold red") + plain(f"{text} {advice}".rstrip())
    screen(stderr=True).print(message, soft_wrap=True)


def _advice(error: Exception) -> str:
    match error:
        case CommandError() | EndpointsError() | NoLedgerError() | SettingsError() | StorageUnsafeError():
            return ""  # they say it themselves
        case DamagedLogError():
            return "`gift-ledger verify` tells how far the damage goes."
        case _:
            return "`gift-ledger doctor` tells what is wrong."


def screen(*, stderr: bool = False) -> Console:
    """Where people read: as wide as the terminal, and wide enough where there is none."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=PIPED_COLUMNS)


def plain(value: object) -> Text:
    """A value to be printed as it is: no markup in it, and no control character that a terminal would obey."""
    return Text("".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in str(value)))


def money(minor: int | None, currency: str | None = None) -> str | None:
    """An amount as the ledger counts it, in minor units: how many of them make a unit depends on the currency."""
    if minor is None:
        return None
    return f"{minor:,}".replace(",", " ") + (f" {currency}" if currency else "")


def table(*headings: str, title: str | None = None) -> Table:
    """A table to be filled with :func:`row`; headings that end in ``>`` stand over numbers, empty ones over labels."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        show_header=any(headings),
        box=None,
        pad_edge=False,
    )
    for heading in headings:
        # what does not fit goes on below: half an identifier is of no use to anybody
        made.add_column(
            heading.removesuffix(">"), justify="right" if heading.endswith(">") else "left", overflow="fold"
        )
    return made


def row(into: Table, *values: object) -> None:
    """Add a row; ``None`` leaves its cell empty."""
    into.add_row(*(plain("" if value is None else value) for value in values))


def print_json(value: object) -> None:
    """Print a value as JSON for programs."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
