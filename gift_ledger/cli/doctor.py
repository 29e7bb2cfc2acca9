"""``doctor``: looks at everything that the ledger stands on, and says what to do about what is not in order."""

import asyncio
import platform
from collections.abc import Awaitable, Callable
from enum import StrEnum
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from stat import S_IRWXG, S_IRWXO
from typing import Final
from urllib.parse import urlsplit

import typer
from msgspec import Struct
from rich.text import Text

from gift_ledger.cli.context import EXIT_CODES, Context, Exit, JsonOption, finish, now_ms, of, plain, print_json, screen
from gift_ledger.endpoints import FILE_NAME, Endpoints, EndpointsError
from gift_ledger.settings import Settings, SettingsError
from gift_ledger.sources import DEFAULT, PREFIX
from persistence.errors import StorageError

SKEW_WARN_MS: Final = 500
"""Two clocks this far apart: a lapse seen by one may not be one for the other."""
SKEW_FAIL_MS: Final = 5_000
CHECK_SECONDS_MAX: Final = 20.0

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Struct, frozen=True, kw_only=True):
    """One line: what was looked at, what was seen, and what to do if it is not in order."""

    name: str
    level: Level
    seen: str
    advice: str = ""


def doctor(ctx: typer.Context, *, as_json: JsonOption = False) -> None:
    """Check Redis, Kafka, SMS, Ray, the secrets, the clock; say what to do about what is not in order.

    Nothing is changed. A warning does not fail.

    Example: gift-ledger doctor
    """
    finish(_doctor(of(ctx), as_json=as_json))


async def _doctor(context: Context, *, as_json: bool) -> int:
    checks = await examine(context)
    if as_json:
        print_json(checks)
    else:
        out = screen()
        for check in checks:
            out.print(Text(f"{check.level:<5}", style=_STYLES[check.level]), plain(f"{check.name:<14}{check.seen}"))
            if check.advice:
                out.print(plain(f"{'':20}{check.advice}"))
    return Exit.FOUND if any(check.level is Level.FAIL for check in checks) else Exit.OK


async def examine(context: Context) -> list[Check]:
    """All checks, in the order in which they are shown. Those of servers run at the same time."""
    try:
        loaded = context.loaded()
    except SettingsError as error:
        return [
            Check(name="settings", level=Level.FAIL, seen=str(error), advice="Correct the settings, then try again.")
        ]
    settings, stack = _with_stack(loaded.settings)
    places = {origin if not origin.startswith(PREFIX) else "the environment" for origin in loaded.origins.values()}
    named = ", ".join(sorted(places - {DEFAULT})) or "defaults alone"
    checks: list[Callable[[], Awaitable[list[Check]]]] = [
        lambda: _redis(context, settings),
        lambda: _clock(context, settings),
        lambda: _kafka(context, settings),
        lambda: _sms(context, settings),
        lambda: _ray(context, settings, stack),
        lambda: _gateway(context, settings, stack),
    ]
    found = await asyncio.gather(*(_bounded(check) for check in checks))
    files = [_data_dir(settings), _secrets(settings), *_private(settings, loaded.origins, context)]
    return [
        Check(name="settings", level=Level.OK, seen=f"from {named}"),
        _stack(settings, stack),
        *files,
        *chain.from_iterable(found),
    ]


def _with_stack(settings: Settings) -> tuple[Settings, Endpoints | None]:
    try:
        endpoints = Endpoints.read(settings.data_path)
    except EndpointsError:
        return settings, None
    return settings.at(endpoints), endpoints


async def _bounded(check: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await check()
    except TimeoutError:
        advice = "Find out what keeps it busy, then try again."
        return [Check(name="time", level=Level.FAIL, seen=f"no answer in {CHECK_SECONDS_MAX:.0f} s", advice=advice)]


def _stack(settings: Settings, stack: Endpoints | None) -> Check:
    where = settings.data_path / FILE_NAME
    if stack is not None:
        return Check(name="stack", level=Level.OK, seen=f"{where} tells where it is")
    unset = [name for name in ("redis_url", "kafka_bootstrap", "sms_url") if getattr(settings, name) is None]
    if not unset:
        return Check(name="stack", level=Level.OK, seen="no server of it is embedded")
    return Check(
        name="stack",
        level=Level.WARN,
        seen=f"none has run here; unset: {', '.join(unset)}",
        advice="Start it with `gift-ledger up`, or set the addresses of your servers.",
    )


def _data_dir(settings: Settings) -> Check:
    path = settings.data_path
    if not path.exists():
        return Check(
            name="data folder", level=Level.WARN, seen=f"no {path} yet", advice="It is made at the first start."
        )
    if not path.is_dir():
        return Check(name="data folder", level=Level.FAIL, seen=f"{path} is no folder", advice="Set another data_dir.")
    if not _is_private(path):
        advice = f"Run `chmod 700 {path}`."
        return Check(name="data folder", level=Level.WARN, seen=f"others may look into {path}", advice=advice)
    return Check(name="data folder", level=Level.OK, seen=str(path))


def _secrets(settings: Settings) -> Check:
    from persistence.vault import SecretsError, Vault  # noqa: PLC0415 - brings the whole of cryptography

    path = settings.secrets_file
    if not path.exists():
        advice = "The first `gift-ledger up` makes it; on further machines copy it from the first one."
        return Check(name="secrets", level=Level.WARN, seen=f"no {path} yet", advice=advice)
    try:
        vault = Vault.load(path)
    except SecretsError as error:
        advice = f"The file belongs to whom the service runs as, with mode 0600: {path}."
        return Check(name="secrets", level=Level.FAIL, seen=str(error), advice=advice)
    return Check(name="secrets", level=Level.OK, seen=f"{path}, fingerprint {vault.fingerprint}")


def _private(settings: Settings, origins: dict[str, str], context: Context) -> list[Check]:
    """Files that hold keys or passwords and that others can read."""
    files = [settings.data_path / "keys.json", settings.data_path / FILE_NAME]
    toml = origins["redis_url"]
    if toml.endswith(".toml"):
        files.append(context.folder / toml)
    return [
        Check(name="files", level=Level.FAIL, seen=f"others can read {path}", advice=f"Run `chmod 600 {path}`.")
        for path in files
        if path.exists() and not _is_private(path)
    ]


def _is_private(path: Path) -> bool:
    return not path.stat().st_mode & (S_IRWXG | S_IRWXO)


async def _redis(context: Context, settings: Settings) -> list[Check]:
    if settings.redis_url is None:
        return []
    try:
        async with context.log(settings) as log:
            await log.check()
            waiting, failures = sum(await log.outbox_sizes()), len(await log.message_failures())
            partitions = log.partitions
    except StorageError as error:
        advice = (
            "Start it, or correct redis_url." if error.retryable else "Change the server's setting, then try again."
        )
        return [Check(name="redis", level=Level.FAIL, seen=str(error), advice=advice)]
    seen = f"durable and writable; {partitions} partitions, {waiting} events wait for Kafka"
    checks = [Check(name="redis", level=Level.OK, seen=seen)]
    if failures:
        advice = "See which with `gift-ledger inspect CODE`; support sends a new CVC with POST /certificates/CODE/cvc."
        checks.append(Check(name="sms", level=Level.WARN, seen=f"{failures} messages were given up", advice=advice))
    return checks


async def _clock(context: Context, settings: Settings) -> list[Check]:
    if settings.redis_url is None:
        return []
    before = now_ms()
    try:
        theirs = await context.doors.redis_time(settings.storage())
    except StorageError:
        return []  # the line about Redis says so
    after = now_ms()
    skew = max(before - theirs, theirs - after, 0)
    seen = f"{skew} ms from that of Redis"
    level = Level.FAIL if skew > SKEW_FAIL_MS else Level.WARN if skew > SKEW_WARN_MS else Level.OK
    advice = "" if level is Level.OK else "Let NTP (chrony, systemd-timesyncd) set the clocks of all machines."
    return [Check(name="clock", level=level, seen=seen, advice=advice)]


async def _kafka(context: Context, settings: Settings) -> list[Check]:
    if settings.kafka_bootstrap is None:
        return []
    try:
        topics = await context.doors.topics(settings.kafka_bootstrap)
    except OSError as error:
        seen = f"{settings.kafka_bootstrap} does not answer: {_reason(error)}"
        advice = "Start it, or correct kafka_bootstrap. Calls go on meanwhile; events wait in Redis."
        return [Check(name="kafka", level=Level.FAIL, seen=seen, advice=advice)]
    wanted = [name for name in settings.topics() if name not in topics]
    if wanted:
        advice = (
            "Make them, with as many partitions as you will ever need; the state topic with cleanup.policy=compact."
        )
        return [Check(name="kafka", level=Level.WARN, seen=f"no topic {', '.join(wanted)}", advice=advice)]
    counts = ", ".join(f"{name} ({topics[name]})" for name in settings.topics())
    return [Check(name="kafka", level=Level.OK, seen=f"{settings.kafka_bootstrap}; topics (partitions): {counts}")]


async def _sms(context: Context, settings: Settings) -> list[Check]:
    if settings.sms_url is None:
        return []
    advice = "Start it, or correct sms_url. Activations go on meanwhile; messages wait for 24 h."
    return [await _reached(context, "sms", settings.sms_url, Level.FAIL, advice)]


async def _ray(context: Context, settings: Settings, stack: Endpoints | None) -> list[Check]:
    versions = f"Ray {version('ray')} on Python {platform.python_version()}, the same on all machines"
    checks = [Check(name="ray", level=Level.OK, seen=versions)]
    if settings.ray_address:
        advice = "Start the cluster (`ray start --head`), or correct ray_address."
        checks.append(await _reached(context, "ray", f"//{settings.ray_address}", Level.FAIL, advice))
    if stack is not None and stack.ray_dashboard:
        advice = "The ledger works without its dashboard; start the stack anew to have it back."
        checks.append(await _reached(context, "dashboard", stack.ray_dashboard, Level.WARN, advice))
    return checks


async def _gateway(context: Context, settings: Settings, stack: Endpoints | None) -> list[Check]:
    if stack is not None:
        advice = "Start the stack anew with `gift-ledger up`."
        return [await _reached(context, "gateway", stack.http, Level.FAIL, advice)]
    try:
        await context.doors.connect(settings.http_host, settings.http_port)
    except OSError:
        return [Check(name="gateway", level=Level.OK, seen=f"port {settings.http_port} is free")]
    seen = f"something else answers on port {settings.http_port}"
    return [Check(name="gateway", level=Level.WARN, seen=seen, advice="Set another http_port, or stop what is there.")]


async def _reached(context: Context, name: str, url: str, level: Level, advice: str) -> Check:
    """Whether a connection to the host of ``url`` opens; its path may hold a secret and is not shown."""
    address = urlsplit(url)
    tls = address.scheme == "https"
    host, port = address.hostname or "", address.port or (443 if tls else 80)
    try:
        await context.doors.connect(host, port, tls=tls)
    except OSError as error:
        return Check(name=name, level=level, seen=f"{host}:{port} does not answer: {_reason(error)}", advice=advice)
    return Check(name=name, level=Level.OK, seen=f"{host}:{port} answers")


def _reason(error: OSError) -> str:
    return str(error) or "no answer in time"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(doctor)
