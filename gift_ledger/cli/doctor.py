"""``doctor``: looks at everything that the ledger stands on, and says what to do about what is not in order."""

import asyncio
from collections.abc import Awaitable
from itertools import chain
from typing import Annotated, Final

import typer
from rich.text import Text

from gift_ledger.cli import production_servers, servers
from gift_ledger.cli.check import Check, Level, fail, ok, warn
from gift_ledger.cli.context import EXIT_CODES, Context, Exit, JsonOption, finish, of, plain, print_json, screen
from gift_ledger.cli.files import file_checks
from gift_ledger.cli.production import open_by_settings
from gift_ledger.endpoints import FILE_NAME, Endpoints, EndpointsError
from gift_ledger.settings import Settings, SettingsError
from gift_ledger.sources import DEFAULT, PREFIX

CHECK_SECONDS_MAX: Final = 20.0
"""How long one check may take: a part that hangs must not hide the others."""
NAME_WIDTH: Final = 14

_STYLES: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_MARGIN: Final = " " * (6 + NAME_WIDTH)


def doctor(
    ctx: typer.Context,
    *,
    as_json: JsonOption = False,
    production: Annotated[
        bool, typer.Option("--production", help="Say what is open instead, and fail if anything is.")
    ] = False,
) -> None:
    """Check Redis, Kafka, SMS, Ray, the secrets, the clock; say what to do about what is not in order.

    Nothing is changed. A warning does not fail.

    Example: gift-ledger doctor --production
    """
    finish(_doctor(of(ctx), as_json=as_json, production=production))


async def _doctor(context: Context, *, as_json: bool, production: bool) -> int:
    checks = await (examine_production(context) if production else examine(context))
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            _show(check)
    return Exit.FOUND if any(check.level is Level.FAIL for check in checks) else Exit.OK


def _show(check: Check) -> None:
    out = screen()
    level = Text(f"{check.level:<6}", style=_STYLES[check.level])
    first, *more = check.seen.splitlines()
    out.print(level + plain(f"{check.name:<{NAME_WIDTH - 1}} {first}"), soft_wrap=True)
    for line in [*more, *check.advice.splitlines()]:
        out.print(plain(f"{_MARGIN}{line}"), soft_wrap=True)


async def examine(context: Context) -> list[Check]:
    """All checks, in the order in which they are shown. Those of servers run at the same time."""
    try:
        loaded = context.loaded()
    except SettingsError as error:
        return [fail("settings", str(error), "Correct the settings, then try again.")]
    settings, stack = _with_stack(loaded.settings)
    places = {origin if not origin.startswith(PREFIX) else "the environment" for origin in loaded.origins.values()}
    named = ", ".join(sorted(places - {DEFAULT})) or "defaults alone"
    found = await asyncio.gather(
        _bounded("redis", servers.redis(context, settings)),
        _bounded("clock", servers.clock(context, settings)),
        _bounded("kafka", servers.kafka(context, settings)),
        _bounded("sms", servers.sms(context, settings)),
        _bounded("ray", servers.ray(context, settings, stack)),
        _bounded("gateway", servers.gateway(context, settings, stack)),
    )
    return [
        ok("settings", f"from {named}"),
        _stack(settings, stack),
        *file_checks(context, settings, loaded.origins),
        *chain.from_iterable(found),
    ]


async def examine_production(context: Context) -> list[Check]:
    """What is open, in the order in which it is shown."""
    try:
        settings = context.loaded().settings
    except SettingsError as error:
        return [fail("settings", str(error), "Correct the settings, then try again.")]
    found = await asyncio.gather(
        _bounded("redis", production_servers.redis(context, settings)),
        _bounded("keys", production_servers.keys(context, settings)),
        _bounded("clock", production_servers.clock(context, settings)),
        _bounded("kafka", production_servers.kafka(context, settings)),
    )
    return [*open_by_settings(settings, context.environ), *chain.from_iterable(found)]


def _with_stack(settings: Settings) -> tuple[Settings, Endpoints | None]:
    try:
        endpoints = Endpoints.read(settings.data_path)
    except EndpointsError:
        return settings, None
    return settings.at(endpoints), endpoints


async def _bounded(name: str, check: Awaitable[list[Check]]) -> list[Check]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await check
    except TimeoutError:
        advice = "Find out what keeps it busy, then try again."
        return [fail(name, f"no answer in {CHECK_SECONDS_MAX:g} s", advice)]


def _stack(settings: Settings, stack: Endpoints | None) -> Check:
    if stack is not None:
        return ok("stack", f"{settings.data_path / FILE_NAME} tells where it is")
    unset = [name for name in ("redis_url", "kafka_bootstrap", "sms_url") if getattr(settings, name) is None]
    if not unset:
        return ok("stack", "no server of it is embedded")
    advice = "Start it with `gift-ledger up`, or set the addresses of your servers."
    return warn("stack", f"none runs here; unset: {', '.join(unset)}", advice)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(doctor)
