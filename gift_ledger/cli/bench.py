"""``bench``: a quick look at how fast the running stack is."""

import json
from typing import Annotated

import typer
from msgspec import Struct

from gift_ledger.bench.generator import Load
from gift_ledger.bench.look import Look
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
from gift_ledger.endpoints import Endpoints


class Figures(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is printed as JSON. Latencies are ``null`` if nothing was authorized."""

    authorizations_per_second: float
    authorized: int
    refused: int
    lost: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


def bench(
    ctx: typer.Context,
    *,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long.")] = 10.0,
    connections: Annotated[int, typer.Option(min=1, max=1_000, help="How many tills at once.")] = 16,
    rate: Annotated[
        float,
        typer.Option(
            min=0, max=100_000, help="Authorizations a second; latency then counts from when each was due. 0: no pause."
        ),
    ] = 0.0,
    certificates: Annotated[int, typer.Option(min=1, max=1_000, help="How many to sell for it.")] = 100,
    yes: Annotated[bool, typer.Option("--yes", help="Also where Redis or Kafka are not embedded ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have a quick look at how fast the running stack is.

    Sells certificates of its own over HTTP and Kafka, authorizes on them at random, and blocks them in the end. They
    stay in the ledger, and subscribers hear of them; the holds lapse after a day.

    The load generator is one thread of Python on the same machine. `make bench` measures with more care, beside other
    designs.

    Example: gift-ledger bench --rate 1000
    """
    context = of(ctx)
    options = {"seconds": seconds, "connections": connections, "rate": rate, "certificates": certificates}
    finish(_bench(context, options, yes=yes, as_json=as_json))


async def _bench(context: Context, options: dict[str, float], *, yes: bool, as_json: bool) -> int:
    given = context.settings()
    if (given.redis_url or given.kafka_bootstrap) and not yes:
        raise CommandError(
            "Redis or Kafka are not embedded ones: others may hear of the certificates that are sold. "
            "If that does no harm, add --yes."
        )
    endpoints = Endpoints.read(given.data_path)
    if endpoints.http_certificate:
        raise CommandError("The load generator speaks plain HTTP alone: start the stack without a certificate for it.")
    load = await context.doors.bench(
        Look(
            url=endpoints.http,
            keys=json.loads((given.data_path / "keys.json").read_text()),
            settings=given.at(endpoints),
            certificates=int(options["certificates"]),
            connections=int(options["connections"]),
            seconds=options["seconds"],
            rate=options["rate"],
        )
    )
    if as_json:
        print_json(_figures(load))
    else:
        _show(load)
    return Exit.FOUND if load.refused or load.lost else Exit.OK


def _figures(load: Load) -> Figures:
    p50, p99, p999 = (
        round(load.latencies.percentile_ms(percent), 3) if len(load.latencies) else None for percent in (50, 99, 99.9)
    )
    return Figures(
        authorizations_per_second=round(load.flows_per_second, 1),
        authorized=len(load.latencies),
        refused=load.refused,
        lost=load.lost,
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
    )


def _show(load: Load) -> None:
    figures = _figures(load)
    made = table("", ">")
    row(made, "authorizations/s", f"{figures.authorizations_per_second:,.0f}")
    for label, value in (("p50", figures.p50_ms), ("p99", figures.p99_ms), ("p99.9", figures.p999_ms)):
        row(made, f"{label} ms", None if value is None else f"{value:.2f}")
    row(made, "refused", f"{figures.refused:,}")
    row(made, "lost", f"{figures.lost:,}")
    screen().print(made)
    for refusal in load.refusals:
        screen().print(plain(refusal), soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(bench)
