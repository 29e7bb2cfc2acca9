"""``forget``: who is meant, what is asked, what is said; what it does is tested with the log."""

import asyncio
import json
from collections.abc import Sequence

import pytest
import typer

from gift_ledger.cli import personal
from ledger import records as r
from ledger.commands import PlannedLine
from persistence import envelope
from persistence.forgetting import Journal
from persistence.log import Batch, DataKey, Log, QueuedMessage
from persistence.vault import RECIPIENT, SMS, Vault
from tests.contract.histories import NOON, PRICE, Writer
from tests.unit.cli.stage import World

VAULT = Vault.generate()
CODE, ORDER = "GC-00000001", "SO-7"
SAME = "SAME-NAME"


async def sell(log: Log, *, direct: bool = False) -> None:
    """A certificate of line 1, and a message that waits; line 2 is somebody else's."""
    writer = Writer(log)
    recipients, keys = [], []
    for line in "12":
        name = envelope.key_name(ORDER, 1, line)
        sealed, kept = envelope.seal_new(VAULT, b"+79990000001", RECIPIENT, name)
        recipients.append(VAULT.seal(b"+79990000001", RECIPIENT) if direct else sealed)
        keys.append(DataKey(*name, kept))
    lines = tuple(PlannedLine(line, PRICE, sealed) for line, sealed in zip("12", recipients, strict=True))
    await writer.order(ORDER, r.Placed(1, False, "OnlineStore", "RUB", lines), r.LineAllocated("1", CODE))
    assert await log.append(Batch(data_keys=() if direct else tuple(keys))) is None
    sold = r.Activated(ORDER, "1", PRICE, "RUB", NOON + 1, b"digest", recipients[0])
    await writer.certificate(CODE, r.Reserved(ORDER, "1", NOON + 1), r.Joined(PRICE, "RUB"), sold)
    await writer.order("SO-8", r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE),)))


@pytest.fixture
def shop(world: World) -> World:
    world.environ |= {"GIFT_LEDGER_DATA_DIR": str(world.folder / "data")}
    asyncio.run(sell(world.log))
    return world


def forgotten(world: World) -> list[str]:
    (kept,) = asyncio.run(world.log.data_keys_of([f"o:{ORDER}"]))
    return [name for name, value in kept.items() if envelope.is_forgotten(value)]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [((CODE.lower(),), ["1/1"]), ((ORDER, "--line", "2"), ["1/2"]), ((ORDER,), ["1/1", "1/2"])],
)
def test_a_certificate_a_line_or_a_whole_order_is_forgotten(
    shop: World, arguments: Sequence[str], names: list[str]
) -> None:
    ran = shop.run("forget", *arguments, "--yes", "--json")

    assert ran.exit_code == 0
    lines = [name.partition("/")[2] for name in names]
    assert json.loads(ran.stdout) == {
        "orderId": ORDER,
        "lines": lines,
        "dataKeys": len(names),
        "messages": 0,
        "sealedDirectly": [],
        "rewritten": True,
        "notedIn": str(shop.folder / "data/forgotten.jsonl"),
    }
    assert forgotten(shop) == names
    (noted,) = Journal.of(shop.folder / "data").read()
    assert (noted.order_id, list(noted.lines), list(noted.names), bool(noted.by)) == (ORDER, lines, names, True)


def test_it_is_said_in_words_and_what_else_there_is_to_do(shop: World) -> None:
    ran = shop.run("forget", CODE, "--yes", "--no-rewrite")

    assert f"Order {ORDER}, lines 1: recipients are forgotten. SMS not sent: 0." in ran.stdout
    assert "append-only file was not asked for" in ran.stdout
    assert f"It is noted in {shop.folder / 'data/forgotten.jsonl'}: keep that file" in ran.stdout
    assert "Have Orders forget as well" in ran.stdout
    assert "+7999" not in ran.stdout


def test_a_server_that_does_not_rewrite_its_file_is_told(shop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(_seconds: float) -> bool:
        return False

    monkeypatch.setattr(shop.log, "rewrite_files", refuses)

    ran = shop.run("forget", CODE, "--yes")

    assert ran.exit_code == 0
    assert "is not done, or not allowed to this user" in ran.stdout
    assert "(`redis-cli BGREWRITEAOF`, and `BGSAVE` where `save` is set" in ran.stdout


def test_where_nobody_can_be_asked_it_has_to_be_said(shop: World) -> None:
    ran = shop.run("forget", CODE)

    assert ran.exit_code == 2
    assert "say --yes" in ran.stderr
    assert forgotten(shop) == []


@pytest.mark.parametrize(("answer", "names"), [("n", []), ("y", ["1/1"])])
def test_it_is_asked_first(shop: World, monkeypatch: pytest.MonkeyPatch, answer: str, names: list[str]) -> None:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        if answer == "n":
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(personal, "_can_ask", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    shop.run("forget", CODE)

    assert asked == [f"Order {ORDER}, lines: 1. Erase name and phone for good?"]
    assert forgotten(shop) == names


def test_an_order_without_recipients_has_nothing_to_erase(shop: World) -> None:
    ran = shop.run("forget", "SO-8", "--yes")

    assert ran.stdout == "Order SO-8 names no recipient: there is nothing to erase.\n"
    assert Journal.of(shop.folder / "data").read() == ()


@pytest.mark.parametrize(("arguments", "named"), [(("SO-9",), "SO-9"), ((ORDER, "--line", "3"), "with a line 3")])
def test_what_nobody_knows_is_a_finding(shop: World, arguments: Sequence[str], named: str) -> None:
    ran = shop.run("forget", *arguments, "--yes")

    assert ran.exit_code == 1
    assert named in ran.stderr


def test_a_name_that_means_two_things_has_to_be_made_clear(shop: World) -> None:
    async def both() -> None:
        writer = Writer(shop.log)
        await writer.order(SAME, r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE),)))
        await writer.certificate(SAME, r.Reserved(ORDER, "2", NOON + 1))

    asyncio.run(both())

    ran = shop.run("forget", SAME, "--yes")

    assert ran.exit_code == 2
    assert f"that of order {ORDER}, line 2" in ran.stderr.replace("\n", " ")
    assert shop.run("forget", SAME, "--line", "1", "--yes").exit_code == 0


def test_what_an_early_version_sealed_is_told(world: World) -> None:
    world.environ |= {"GIFT_LEDGER_DATA_DIR": str(world.folder / "data")}
    asyncio.run(sell(world.log, direct=True))

    ran = world.run("forget", CODE, "--yes")

    assert "An early version sealed lines 1" in ran.stdout
    assert forgotten(world) == ["0/1"]


def test_nothing_is_done_if_it_cannot_be_noted(shop: World) -> None:
    (shop.folder / "data").write_text("no folder")

    assert shop.run("forget", CODE, "--yes").exit_code == 2
    assert forgotten(shop) == []


def test_the_message_of_a_certificate_is_ended(shop: World) -> None:
    async def queue() -> None:
        (kept,) = await shop.log.data_keys([envelope.key_name(ORDER, 1, "1")])
        sealed = envelope.seal_again(VAULT, b"4821", SMS, envelope.key_name(ORDER, 1, "1"), kept or b"")
        message = QueuedMessage("sms_1", f"c:{CODE}", sealed, NOON, NOON)
        assert await shop.log.append(Batch(messages=(message,))) is None

    asyncio.run(queue())

    assert json.loads(shop.run("forget", CODE, "--yes", "--json").stdout)["messages"] == 1
    assert asyncio.run(shop.log.messages_waiting()) == 0
