"""Each counterpart as a person at a terminal uses it, against the stand-in for the service."""

import asyncio
import builtins
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from examples import bi_pipeline, load_balancer, online_store, orders, payments, support, till
from examples.cast import cvc_in
from examples.endpoints import Endpoints
from examples.patience import eventually

Run = Callable[..., Awaitable[tuple[int, str]]]

PHONE = "+79990000001"


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a counterpart; gives its exit code and what it printed, or what it complained of."""

    async def run(module: ModuleType, *arguments: str) -> tuple[int, str]:
        # in a thread, since a program has an event loop of its own
        code = await asyncio.to_thread(module.main, ["--data-dir", str(data_dir), *arguments])
        told = capsys.readouterr()
        return code, told.out or told.err

    return run


async def cvc_of(endpoints: Endpoints, phone: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def texts() -> list[str]:
            messages = (await client.get(f"{endpoints.sms_inbox}/messages")).json()
            return [message["text"] for message in messages if message["to"] == phone]

        (text,) = await eventually(texts, bool, within_seconds=60)
    return cvc_in(text) or ""


async def test_a_certificate_is_sold_paid_used_and_refunded_from_the_terminal(
    run: Run, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(("many", "0", "1500"))
    monkeypatch.setattr(builtins, "input", lambda _: next(answers))

    status, sold = await run(online_store, "sell", PHONE)
    assert status == 0
    assert sold.count("Please give a whole amount") == 2
    (code,) = re.findall(r"(GC-\S+) is Reserved", sold)
    (command,) = re.findall(r"python -m examples\.payments (.+)", sold)

    status, published = await run(payments, *command.split())
    assert (status, published) == (0, f"Published version 1 for {command.split()[1]}\n")
    cvc = await cvc_of(endpoints, PHONE)

    assert await run(till, "balance", code, "--cvc", cvc) == (0, f"{code} is Active: 150000, 150000 available\n")
    _, paid = await run(till, "pay", code, "50000")
    assert paid.endswith("paid 50000 of 50000, 100000 left on the certificate\n")
    _, redeemed = await run(online_store, "redeem", code, "20000", "--cvc", cvc)
    assert redeemed.endswith("paid 20000, 80000 left\n")

    operation = redeemed.split(":")[0]
    _, refund = await run(payments, "void", code, operation, "--amount", "5000")
    assert refund.endswith("5000, balance 85000\n")
    _, refund = await run(support, "void", code, operation)
    assert refund.endswith("put back 15000, balance 100000\n")

    assert await run(support, "block", code) == (0, f"{code} is blocked\n")
    assert await run(till, "pay", code, "1") == (1, "409 CertificateBlocked: CertificateBlocked\n")
    assert await run(support, "unblock", code) == (0, f"{code} can be used again\n")
    assert await run(support, "cvc", code) == (0, f"A new CVC for {code} is on its way\n")
    assert await run(support, "show", code) == (0, f"{code} is Active: 100000, 100000 available\n")
    _, history = await run(support, "history", code)
    activated = next(line.split() for line in history.splitlines() if "Activate" in line)
    assert activated[2] == "150000"
    shown = await run(support, "show", code, "--as-of", activated[0])
    assert shown == (0, f"{code} is Active: 150000, 100000 available\n")

    async def watch() -> tuple[int, str]:
        return await run(orders, "watch", "--seconds", "0.5")

    async def report() -> tuple[int, str]:
        return await run(bi_pipeline, "--seconds", "0.5")

    # a busy machine may take longer to read all that is there
    active = f"line 1: {code} is Active"
    status, watched = await eventually(watch, lambda told: active in told[1], within_seconds=60)
    assert status == 0
    assert active in watched
    status, reported = await eventually(report, lambda told: told[1].endswith(" 0 discrepancies\n"), within_seconds=60)
    assert status == 0
    assert reported.endswith(" 0 discrepancies\n")
    status, ready = await run(load_balancer, "--seconds", "0.05")
    assert status == 0
    assert re.fullmatch(r"ok\nasked [0-9]+ times, not ready 0 times\n", ready)


async def test_an_order_is_placed_and_cancelled_from_the_terminal(run: Run) -> None:
    line = ("--line", f"1=150000:{PHONE}:Anna")

    assert await run(orders, "place", "SO-T1", *line) == (0, "Published version 1 of SO-T1: Placed\n")
    assert await run(orders, "cancel", "SO-T1", *line) == (0, "Published version 2 of SO-T1: Cancelled\n")


async def test_payments_captures_what_a_till_has_held(run: Run) -> None:
    assert await run(payments, "capture", "GC-NOBODY", "auth_1") == (
        1,
        "404 CertificateNotFound: CertificateNotFound\n",
    )


@pytest.mark.parametrize(
    ("module", "arguments", "advice"),
    [
        (orders, ("place", "SO-1", "--line", "1=much"), "LINE=AMOUNT:PHONE:NAME"),
        (payments, ("publish", "SO-1", "--version", "1", "--outstanding", "0", "--line", "1"), "LINE=AMOUNT"),
    ],
)
def test_a_line_that_cannot_be_read_is_explained(
    module: ModuleType, arguments: tuple[str, ...], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module.main(list(arguments))

    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("module", [bi_pipeline, load_balancer, online_store, orders, payments, support, till])
def test_every_program_explains_itself(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])

    assert ended.value.code == 0
    assert f"python -m {module.__name__}" in capsys.readouterr().out


def test_without_a_service_a_program_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert till.main(["--data-dir", str(tmp_path), "balance", "GC-1"]) == 1
    assert "make run" in capsys.readouterr().err


def test_a_broker_that_is_away_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "endpoints.json").write_text('{"http": "http://127.0.0.1:1", "kafka": "127.0.0.1:1", "smsInbox": ""}')

    assert bi_pipeline.main(["--data-dir", str(tmp_path)]) == 1
    assert "Kafka does not answer" in capsys.readouterr().err
