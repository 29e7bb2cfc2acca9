"""The demo: every system plays its part in the three scenarios over the real protocols; every outcome is checked."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from examples.cast import Cast, assemble
from examples.endpoints import Endpoints, NotRunningError, arguments, keys_in
from examples.narration import Narrator, Report
from examples.scenarios import audit, redemption, refund, sale, trouble
from examples.terminal import finish

PLAY_SECONDS_MAX = 120


async def play(
    endpoints_path: Path, keys_path: Path, *, out: Console | None = None, expect_wrong: bool = False
) -> Report:
    """Play the scenarios against the service that left these two files, tell them, and report.

    Args:
        endpoints_path: `endpoints.json` of a running stack: where everything is.
        keys_path: Its `keys.json`: the API key of each role.
        out: Where to tell it; the terminal if not given.
        expect_wrong: Expect one wrong value on purpose, to show that a check that fails is seen.

    Returns:
        The report; its `exit_code` is 0 only if every check held. It has been printed.

    Raises:
        NotRunningError: A file is missing or is not what it should be, or there is no SMS inbox; the message says what
            to do.
    """
    endpoints, keys = Endpoints.of(endpoints_path), keys_in(keys_path)
    if not endpoints.sms_inbox:
        raise NotRunningError(
            f"{endpoints_path} names no SMS inbox, and the demo has to read the messages. "
            "Start the service without GIFT_LEDGER_SMS_URL, so that it has an inbox of its own."
        )
    return await perform(endpoints, keys, out or Console(), expect_wrong=expect_wrong)


async def perform(endpoints: Endpoints, keys: Mapping[str, str], out: Console, *, expect_wrong: bool = False) -> Report:
    """Play the scenarios against a running service.

    Codes, orders and phones are new each time, so that it can be played again on the same data. It takes some seconds,
    and never more than two minutes.

    Args:
        endpoints: Where everything is.
        keys: The API key of each role.
        out: Where to tell it.
        expect_wrong: Expect one wrong value on purpose, to show that a check that fails is seen.

    Returns:
        The report; whatever goes wrong on the way is a failed check in it. It has been printed.
    """
    narrator = Narrator(out, expect_wrong=expect_wrong)
    try:
        _introduce(endpoints, out)
        async with asyncio.timeout(PLAY_SECONDS_MAX), assemble(endpoints, keys) as cast:
            await _play_all(cast, narrator)
    except Exception as error:  # noqa: BLE001 - whatever broke the play, the report says so and the exit code shows it
        narrator.end()
        out.print_exception(max_frames=4)
        narrator.check("the play went on to its end", expected="no error", got=f"{type(error).__name__}: {error}")
    out.print()
    narrator.report.show(out)
    return narrator.report


def _introduce(endpoints: Endpoints, out: Console) -> None:
    out.print(
        Panel(
            "[bold]OnlineStore[/], the [bold]Till[/] and [bold]Support[/] call GiftCertificateProcessing over "
            f"[cyan]HTTP[/] at {endpoints.http}.\n"
            "[bold]Orders[/] and [bold]Payments[/] tell it what happens over [magenta]Kafka[/] at "
            f"{endpoints.kafka}, and read, as the [bold]BI Pipeline[/] does, what it publishes there.\n"
            f"The corporate [bold]SMS gateway[/] at {endpoints.sms_inbox} gets the messages to the recipients.\n"
            "A [bold]load balancer[/] asks all the while whether the service is ready. Every outcome is checked.",
            title="Gift certificates: the systems at work",
            title_align="left",
        ),
        highlight=False,
    )


async def _play_all(cast: Cast, narrator: Narrator) -> None:
    narrator.begin(sale.TITLE)
    sold = await sale.play(cast, narrator)
    narrator.end()

    narrator.begin(redemption.TITLE)
    redeemed = await redemption.play(cast, narrator, sold)
    narrator.end()

    narrator.begin(refund.TITLE)
    voids = await refund.play(cast, narrator, sold, redeemed)
    narrator.end()

    narrator.begin(trouble.TITLE)
    undone = await trouble.play(cast, narrator, sold)
    narrator.end()

    narrator.begin(audit.TITLE)
    codes = {"first": sold.first.code, "second": sold.second.code, "third": undone.code}
    activations = (sold.first.activation_id, sold.second.activation_id)
    moves = frozenset((*activations, *redeemed.transaction_ids, *voids, *undone.transaction_ids))
    await audit.play(cast, narrator, codes, moves)
    narrator.end()
    for connection in (cast.store.connection, cast.till.connection):
        narrator.measured("authorize, as the caller sees it", *connection.authorize_ms)


def main(argv: Sequence[str] | None = None) -> int:
    """Play the demo against the service that runs on a data directory; the exit code is 0 only if every check held."""
    parser = arguments("demo", "Plays the three scenarios against a running service, and checks every outcome.")
    parser.add_argument(
        "--expect-wrong", action="store_true", help="expect one wrong value on purpose: the exit code must then be 1"
    )
    given = parser.parse_args(argv)

    async def work() -> int:
        files = given.data_dir / "endpoints.json", given.data_dir / "keys.json"
        return (await play(*files, expect_wrong=given.expect_wrong)).exit_code

    return finish(work())


if __name__ == "__main__":
    raise SystemExit(main())
