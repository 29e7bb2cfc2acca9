"""``inspect``: the actors, or all that is known of one certificate or order."""

from typing import Annotated

import typer
from rich.console import RenderableType

from actors.reports import ActorReport
from gift_ledger.cli.context import (
    EXIT_CODES,
    Context,
    Exit,
    FindingError,
    JsonOption,
    finish,
    money,
    of,
    print_json,
    row,
    screen,
    table,
)
from gift_ledger.cli.entity import EntityReport, Step, read_entity
from ledger.identifiers import certificate_entity, normalise_code, order_entity
from ledger.views import CertificateView, OrderView


def inspect(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[CODE|ORDER]", help="A certificate's code or an order's id.")
    ] = None,
    *,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest operations to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the running actors; or with a code or an order id its state, its history, and what waits for it.

    What is shown of a certificate or an order is read from the log, whether any actor runs or not.

    Example: gift-ledger inspect GC-7K2M-9QXA
    """
    context = of(ctx)
    finish(_actors(context, as_json=as_json) if name is None else _entity(context, name, last, as_json=as_json))


async def _actors(context: Context, *, as_json: bool) -> int:
    reports = await context.doors.reports(context.settings("ray_address", "redis_url"))
    if as_json:
        print_json(reports)
    else:
        screen().print(_actors_table(reports) if reports else "No actors run: start them with `gift-ledger up`.")
    return Exit.OK


async def _entity(context: Context, name: str, last: int, *, as_json: bool) -> int:
    settings = context.settings("redis_url")
    code = normalise_code(name)
    entities = [order_entity(name), *([] if code is None else [certificate_entity(code)])]
    async with context.log(settings) as log:
        found = [report for entity in entities if (report := await read_entity(log, settings.actors(), entity, last))]
    if not found:
        raise FindingError(f"The ledger has never heard of {name}: look for a typing error.")
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
    else:
        for report in found:
            screen().print(*_entity_parts(report), sep="\n")
    return Exit.OK


def _actors_table(reports: list[ActorReport]) -> RenderableType:
    made = table("ACTOR", "KIND", "STATE", "PID>", "WHERE", "FACTS")
    for report in sorted(reports, key=lambda one: (one.kind, one.name)):
        facts = "  ".join(
            f"{name} {fact:,}" if isinstance(fact, int) else f"{name} {fact}"
            for name, fact in report.facts.items()
            if fact != ""
        )
        where = " ".join(part for part in (report.node, report.address) if part)
        row(made, report.name, report.kind, report.state, report.pid, where, facts)
    return made


def _entity_parts(report: EntityReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if report.certificate is not None:
        parts += _certificate_parts(report.certificate)
    if report.order is not None:
        parts += _order_parts(report.order)
    parts += [_history(report), _place(report)]
    return [item for part in parts for item in (part, "")][:-1]


def _certificate_parts(state: CertificateView) -> list[RenderableType]:
    parts: list[RenderableType] = []
    made = table("", "", title=f"Certificate {state.certificate_code} (amounts in minor units)")
    for label, value in (
        ("status", state.status or "given back: the code is free"),
        ("balance", money(state.balance, state.currency)),
        ("held", money(state.held, state.currency)),
        ("available", money(state.available, state.currency)),
        ("denomination", money(state.denomination, state.currency)),
        ("version", state.version),
        ("channel", state.channel),
        ("order, line", f"{state.order_id}, {state.order_line_id}" if state.order_id else None),
        ("reserved until", state.reserved_until),
        ("activated at", state.activated_at),
        ("expires at", state.expires_at),
    ):
        if value is not None:
            row(made, label, value)
    parts.append(made)
    if state.holds:
        holds = table("AUTHORIZATION", "LEFT>", "OF>", "EXPIRES", "CLIENT", "REFERENCE", title="Open holds")
        for hold in state.holds:
            left, whole = money(hold.amount, state.currency), money(hold.authorized, state.currency)
            row(holds, hold.authorization_id, left, whole, hold.expires_at, hold.client, hold.reference)
        parts.append(holds)
    return parts


def _order_parts(state: OrderView) -> list[RenderableType]:
    made = table("", "", title=f"Order {state.order_id} (amounts in minor units)")
    for label, value in (
        ("status", state.status),
        ("order version", state.order_version),
        ("payment version", state.payment_version),
        ("channel", state.channel),
        ("captured", money(state.captured_amount, state.currency)),
        ("outstanding", money(state.outstanding_amount, state.currency)),
        ("settled", "yes" if state.is_order_settled else "no"),
    ):
        if value is not None:
            row(made, label, value)
    lines = table("LINE", "STATUS", "PLANNED>", "COLLECTED>", "CERTIFICATE", title="order_certificate_allocation")
    for line in state.certificate_lines:
        planned, collected = (
            money(line.planned_denomination, state.currency),
            money(line.collected_amount, state.currency),
        )
        row(lines, line.order_line_id, line.status, planned, collected, line.certificate_code)
    return [made, lines]


def _history(report: EntityReport) -> RenderableType:
    total = report.place.version
    title = "History" if len(report.timeline) == total else f"History, the latest {len(report.timeline)} of {total}"
    figures = () if report.certificate is None else ("AMOUNT>", "BALANCE>", "HELD>")
    made = table("VERSION>", "TIME", "WHAT", *figures, "CLIENT", "DETAIL", title=title)
    for step in report.timeline:
        moved = _figures(step) if figures else ()
        row(made, step.version, step.occurred_at, step.type, *moved, step.client, step.detail)
    return made


def _figures(step: Step) -> tuple[str | None, str | None, str | None]:
    return money(step.amount), money(step.balance), money(step.held)


def _place(report: EntityReport) -> RenderableType:
    place = report.place
    made = table("", "", title="Where it lives")
    row(made, "entity", place.entity)
    row(made, "partition", place.partition)
    row(made, "actor", place.actor)
    row(made, "snapshot", f"at version {place.snapshot_version}" if place.snapshot_version else "none yet")
    row(made, "timer", place.timer or "none")
    waiting = ", ".join(f"{event.topic} {event.event_id}" for event in report.outbox) or "nothing"
    row(made, "outbox", f"{waiting} ({place.outbox_size} in the partition)")
    row(made, "SMS", ", ".join(f"{sms.message_id}: {sms.state}" for sms in report.messages) or "nothing waits")
    return made


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(inspect)
