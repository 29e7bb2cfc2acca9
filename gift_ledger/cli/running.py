"""``up``, ``demo``, and the roles of a stack that runs on several machines."""

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer
from msgspec.structs import replace

from gift_ledger.cli.context import EXIT_CODES, Context, JsonOption, finish, of, print_json, row, screen, table
from gift_ledger.cli.doors import Role
from gift_ledger.endpoints import Endpoints, EndpointsError
from gift_ledger.settings import Settings
from gift_ledger.sources import DEFAULT, SETTINGS, Loaded, mask

PROBE_SECONDS: Final = 1.0
"""How long a stack that may be there already may take to answer."""
CertOption = Annotated[
    str | None, typer.Option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).")
]
KeyOption = Annotated[
    str | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key (PEM, not encrypted).")
]
CHATTY: Final = ("aiokafka", "asyncio", "httpx", "uvicorn")
"""Libraries that log each of their steps; of them only what went wrong is of interest."""


def up(
    ctx: typer.Context, tls_cert: CertOption = None, tls_key: KeyOption = None, *, as_json: JsonOption = False
) -> None:
    """Start everything on this machine and leave it running; stop it with Ctrl-C.

    What no setting gives an address for is started too: a Valkey that keeps the ledger, a Kafka-protocol broker, an
    inbox for SMS, Ray with its dashboard. Addresses and keys are written to the data folder.

    Example: GIFT_LEDGER_HTTP_PORT=9090 gift-ledger up
    """
    context = _with_tls(of(ctx), tls_cert, tls_key)

    async def ready(endpoints: Endpoints) -> None:
        announce(endpoints, context.settings(), as_json=as_json)

    async def work() -> int:
        settings = context.settings()
        log_to_stderr(settings.log_level)
        say_that_it_starts()
        return await context.doors.up(settings, ready)

    finish(work(), fast=True)


def demo(
    ctx: typer.Context,
    *,
    expect_wrong: Annotated[
        bool, typer.Option("--expect-wrong", help="Expect one wrong value on purpose, to see a check fail.")
    ] = False,
) -> None:
    """Play the three scenarios through the real protocols, and check every outcome.

    Plays on the stack that runs on the data folder; if none runs, one is started for it and stopped afterwards.

    Example: gift-ledger demo
    """
    context = of(ctx)

    async def work() -> int:
        settings = on_a_free_port(context.loaded())
        log_to_stderr("warning")  # what the stack says of itself would break into the story

        async def play(_endpoints: Endpoints | None = None) -> int:
            return await context.doors.demo(settings.data_path, expect_wrong=expect_wrong)

        if await is_running(settings):
            return await play()
        say_that_it_starts()
        return await context.doors.up(settings, play)

    finish(work(), fast=True)


def gateway(ctx: typer.Context, tls_cert: CertOption = None, tls_key: KeyOption = None) -> None:
    """Run the HTTP gateway alone, on shards that run already.

    Example: GIFT_LEDGER_REDIS_URL=redis://10.0.0.5:6379/0 GIFT_LEDGER_RAY_ADDRESS=10.0.0.6:6379 gift-ledger gateway
    """
    context = _with_tls(of(ctx), tls_cert, tls_key)
    _run(context, context.doors.gateway)


def shards(ctx: typer.Context) -> None:
    """Run the shards alone: the Ray actors that hold certificates and orders.

    Example: GIFT_LEDGER_REDIS_URL=redis://10.0.0.5:6379/0 GIFT_LEDGER_SHARDS=8 gift-ledger shards
    """
    context = of(ctx)
    _run(context, context.doors.shards)


def bridge(ctx: typer.Context) -> None:
    """Run the bridge alone: Kafka in and out, and SMS.

    Example: GIFT_LEDGER_KAFKA_BOOTSTRAP=kafka-1:9092,kafka-2:9092 gift-ledger bridge
    """
    context = of(ctx)
    _run(context, context.doors.bridge, "kafka_bootstrap", "sms_url")


async def is_running(settings: Settings) -> bool:
    """Whether the gateway that the data folder tells of takes connections."""
    try:
        address = urlsplit(Endpoints.read(settings.data_path).http)
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
    except (EndpointsError, OSError):
        return False
    writer.close()
    return True


def on_a_free_port(loaded: Loaded) -> Settings:
    """The settings, with any free port in place of the usual one if that is taken and nobody has asked for it."""
    settings = loaded.settings
    if loaded.origins["http_port"] != DEFAULT:
        return settings
    try:
        socket.create_server((settings.http_host, settings.http_port)).close()
    except OSError:
        return replace(settings, http_port=0)
    return settings


def say_that_it_starts() -> None:
    """Tell a person who waits for the stack; Ray alone takes some seconds."""
    screen(stderr=True).print("[dim]starting …[/]")


def log_to_stderr(level: str) -> None:
    """Have this process log from ``level`` on; standard output stays for what was asked for."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def announce(endpoints: Endpoints, settings: Settings, *, as_json: bool) -> None:
    """Say where everything is."""
    if as_json:
        print_json({"ready": True, "dataDir": str(settings.data_path), "http": endpoints.http})
        return
    made = table("", "")
    row(made, "HTTP", endpoints.http)
    row(made, "API", f"{endpoints.http}/schema")
    row(made, "Redis", mask(endpoints.redis))
    row(made, "Kafka", endpoints.kafka)
    row(made, "SMS inbox", mask(endpoints.sms_inbox) if settings.sms_url else f"{endpoints.sms_inbox}/messages")
    row(
        made,
        "Ray dashboard",
        f"{endpoints.ray_dashboard} (sign in with the token that `{_ray()} get-auth-token` prints)",
    )
    row(made, "Ray actors", f"RAY_AUTH_MODE=token {_ray()} list actors --detail")
    row(made, "Keys", settings.data_path / "keys.json")
    screen().print("[bold green]ready[/]", made, sep="\n")


def _ray() -> Path:
    """Ray's own command, as it is called from here."""
    ray = Path(sys.executable).with_name("ray")
    return ray.relative_to(Path.cwd()) if ray.is_relative_to(Path.cwd()) else ray


def _with_tls(context: Context, certificate: str | None, key: str | None) -> Context:
    """What is said on the command line wins over the environment, whose settings they are."""
    given = {SETTINGS["http_tls_cert"].variable: certificate, SETTINGS["http_tls_key"].variable: key}
    return replace(context, environ={**context.environ, **{name: path for name, path in given.items() if path}})


def _run(context: Context, role: Role, *needed: str) -> None:
    async def work() -> int:
        settings = context.settings("redis_url", *needed)
        log_to_stderr(settings.log_level)
        return await role(settings)

    finish(work(), fast=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (up, demo, gateway, shards, bridge):
        app.command(epilog=EXIT_CODES)(command)
