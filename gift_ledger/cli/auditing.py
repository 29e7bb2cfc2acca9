"""``audit``: who did what, when, from where, with which key."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final

import msgspec
import typer
from msgspec import Struct

from gift_ledger.cli import lifetimes
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
    row,
    screen,
    table,
)
from gift_ledger.cli.progress import Bar, counted
from gift_ledger.cli.trail import ActLine, AnyLine, DamageLine, RecordLine, Wanted, acts_of, records_of
from gift_ledger.settings import Settings
from ledger.identifiers import certificate_entity, entity_key, normalise_code, order_entity
from persistence.log import Log
from persistence.reading import groups

ROWS_AT_ONCE: Final = 500
"""Rows of one table: they are held until it is printed, and the next one follows."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_encoder: Final = msgspec.json.Encoder()


def audit(  # noqa: PLR0913 - all that can be asked for
    ctx: typer.Context,
    *,
    client: Annotated[str | None, typer.Option(metavar="NAME", help="What this client did, and acts on it.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="What was done with this key, as `keys list` names it.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help="What came from this address or network.")
    ] = None,
    code: Annotated[str | None, typer.Option(metavar="CODE", help="Only this certificate: one look-up.")] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this order: one look-up, and acts on it.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From then on: 2026-11-28, 2026-11-28T07:00Z, or 7d for a week ago."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")] = None,
    acts: Annotated[bool, typer.Option("--acts", help="Only administrative acts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who did what, when, from where, with which key: operations, and administrative acts.

    Acts come first, as they were noted; then the records of one certificate or order after the other, each in the
    order of time. It reads all of them, and can run beside the service. --json prints a line for each.

    Examples: gift-ledger audit --key k_3f9ac2d1 --since 7d, gift-ledger audit --code GC-7K2M-9QXA
    """
    question = Question(
        client=client, key=key, source=source, code=code, order=order, since=since, until=until, acts=acts
    )
    finish(_audit(of(ctx), question, as_json=as_json))


class Question(Struct, frozen=True, kw_only=True):
    """What was asked for, as it was typed."""

    client: str | None
    key: str | None
    source: str | None
    code: str | None
    order: str | None
    since: str | None
    until: str | None
    acts: bool

    @property
    def named(self) -> str | None:
        """The one entity that is meant; ``None``: all.

        Raises:
            CommandError: two are named, or none that could be.
        """
        if self.code and self.order:
            raise CommandError("Name a certificate or an order, not both.")
        if self.code:
            return _certificate(self.code)
        return order_entity(self.order) if self.order else None

    def wanted(self, now: int) -> Wanted:
        """What is wanted at ``now``, milliseconds.

        Raises:
            CommandError: an option cannot be understood.
        """
        if self.acts and (self.code or self.source):
            raise CommandError("Acts are done neither on a certificate nor from an address: leave out --acts.")
        return Wanted(
            client=self.client,
            key_id=self.key,
            network=None if self.source is None else _network(self.source),
            order_id=self.order,
            since=None if self.since is None else moment(self.since, now),
            until=None if self.until is None else moment(self.until, now),
        )


async def _audit(context: Context, question: Question, *, as_json: bool) -> int:
    wanted, named = question.wanted(now_ms()), question.named
    settings = context.settings("redis_url")
    shown = _Shown(as_json=as_json)
    with _bar() as bar:
        async with context.log(settings) as log:
            if question.code is None:
                await _show_acts(context, settings, wanted, shown)
            if named is None and not question.acts:
                await _show_records(log, wanted, shown, bar)
            elif named is not None and not question.acts:
                await shown.all(records_of(log, [named], wanted))
                if not shown.lines and not await log.history(named, 0, 1):
                    raise FindingError(f"The ledger has never heard of {entity_key(named)}: look for a typing error.")
    shown.end()
    return Exit.FOUND if shown.damage else Exit.OK


async def _show_acts(context: Context, settings: Settings, wanted: Wanted, shown: "_Shown") -> None:
    store = await context.doors.acts(settings.storage())
    try:
        await shown.all(acts_of(store, wanted))
    finally:
        await store.close()


async def _show_records(log: Log, wanted: Wanted, shown: "_Shown", bar: Bar | None) -> None:
    """Those of all partitions; the names of the entities of one are in memory at a time."""
    total, done = sum(await log.entity_counts()), 0
    for partition in range(log.partitions):
        named = [entity async for entity in log.entities(partition)]
        for group in groups(named):
            await shown.all(records_of(log, group, wanted))
            done += len(group)
            if bar is not None:
                bar.show(done, total)


class _Shown:
    """Prints lines as they come, and counts them."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._waiting: list[RecordLine | ActLine] = []
        self.lines = 0
        self.damage = 0

    async def all(self, lines: AsyncIterator[AnyLine]) -> None:
        """Print them."""
        async for line in lines:
            self.lines += 1
            self.damage += isinstance(line, DamageLine)
            if self._as_json:
                typer.echo(_encoder.encode(line).decode())
            elif isinstance(line, DamageLine):
                screen(stderr=True).print(plain(f"{line.where}: {line.problem}"), soft_wrap=True)
            else:
                self._wait(line)

    def end(self) -> None:
        """Print what is left; of nothing at all, that it is nothing."""
        self._flush()
        if not self.lines and not self._as_json:
            screen(stderr=True).print("There is nothing of the kind.")

    def _wait(self, line: RecordLine | ActLine) -> None:
        if self._waiting and (type(line) is not type(self._waiting[0]) or len(self._waiting) >= ROWS_AT_ONCE):
            self._flush()
        self._waiting.append(line)

    def _flush(self) -> None:
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        if isinstance(lines[0], ActLine):
            made = table("NO>", "WHEN", "WHO", "HOST", "WHAT", "OUTCOME", "")
        else:
            made = table("WHEN", "CERTIFICATE OR ORDER", "VERSION>", "WHAT", "AMOUNT>", "CLIENT", "KEY", "FROM", "")
        for line in lines:
            row(made, *_cells(line))
        screen().print(made)


def _cells(line: RecordLine | ActLine) -> tuple[object, ...]:
    if isinstance(line, ActLine):
        outcome = line.outcome if line.intent == line.number else f"{line.outcome} ({line.intent})"
        facts = "  ".join(f"{name} {fact}" for name, fact in line.facts.items())
        return line.number, line.occurred_at, line.user, line.host, line.command, outcome, facts
    name = line.certificate_code or f"order {line.order_id}"
    amount = None if line.amount is None else f"{line.amount:,}"
    who = (line.client, line.key_id, line.address)
    return line.occurred_at, name, line.version, line.type, amount, *who, line.detail


def moment(text: str, now: int) -> int:
    """A time in milliseconds: a day or a time in ISO 8601, UTC unless it says otherwise; or how long before ``now``.

    Raises:
        CommandError: it is none.
    """
    try:
        return now - lifetimes.milliseconds(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no time: write 2026-11-28, 2026-11-28T07:00Z, or 7d for a week ago.") from None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise CommandError(f"{text!r} is no address: write 192.0.2.7, or a network, 192.0.2.0/24.") from None


def _certificate(code: str) -> str:
    normalised = normalise_code(code)
    if normalised is None:
        raise CommandError(f"{code!r} is no certificate code: it has 8 to 32 characters of A-Z 0-9 -")
    return certificate_entity(normalised)


def _bar() -> "AbstractContextManager[Bar | None]":
    """A bar, unless the lines themselves go to the terminal."""
    return nullcontext() if sys.stdout.isatty() else counted("{task.completed:,.0f} entities")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(audit)
