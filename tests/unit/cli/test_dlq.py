import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.bridge_settings import BridgeSettings
from gateway.dead_letter_desk import DeadLetterDesk, DeskError, Letter
from tests.unit.cli.stage import World


def letter(offset: int, *, replayed: bool = False, topic: str = "All_SalesOrder", reason: str = "NotJson") -> Letter:
    return Letter(
        partition=0,
        offset=offset,
        at="2026-11-24T06:00:00.000Z",
        reason=reason,
        detail="JSON is malformed",
        topic=topic,
        source_partition="3",
        source_offset=str(100 + offset),
        key=b"SO-1\x1b[2J",
        value=b'{"phone": "+79990000001"',
        headers=(("ce_id", b"e-1"),),
        replayed=replayed,
    )


class FakeDesk:
    def __init__(self, *letters: Letter) -> None:
        self.stored = letters
        self.replayed: list[str] = []
        self.marked: list[str] = []
        self.settings: BridgeSettings | None = None

    async def letters(self) -> AsyncIterator[Letter]:
        for one in self.stored:
            yield one

    def obstacle(self, one: Letter) -> str | None:
        return None if one.topic.startswith("All_") else "it came from none of our topics"

    async def replay(self, one: Letter) -> None:
        self.replayed.append(one.name)

    async def mark_replayed(self, one: Letter) -> None:
        self.marked.append(one.name)

    def open(self, settings: BridgeSettings) -> AbstractAsyncContextManager["FakeDesk"]:
        self.settings = settings

        @asynccontextmanager
        async def opened() -> AsyncIterator[FakeDesk]:
            yield self

        return opened()


@pytest.fixture
def desk(world: World) -> FakeDesk:
    made = FakeDesk(letter(17, replayed=True), letter(18), letter(19, topic="elsewhere"))
    world.environ["GIFT_LEDGER_KAFKA_BOOTSTRAP"] = "127.0.0.1:19092"
    world.use(dead_letters=made.open)
    return made


def test_letters_are_listed_without_what_is_private(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "list")

    assert ran.exit_code == 0
    assert desk.settings is not None
    assert desk.settings.bootstrap == "127.0.0.1:19092"
    for text in ("0:17", "2026-11-24T06:00:00.000Z", "NotJson", "All_SalesOrder/3/117", "SO-1", "24", "yes"):
        assert text in ran.stdout, text
    assert "+7999" not in ran.stdout
    assert "\x1b" not in ran.stdout


def test_letters_as_json(world: World, desk: FakeDesk) -> None:
    shown = json.loads(world.run("dlq", "list", "--json").stdout)

    assert [one["letter"] for one in shown] == ["0:17", "0:18", "0:19"]
    assert shown[1] == {
        "letter": "0:18",
        "at": "2026-11-24T06:00:00.000Z",
        "reason": "NotJson",
        "detail": "JSON is malformed",
        "topic": "All_SalesOrder",
        "partition": "3",
        "offset": "118",
        "key": "SO-1\x1b[2J",
        "size": 24,
        "replayed": False,
    }


def test_only_the_latest_are_listed_and_it_says_so(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "list", "--limit", "1")

    assert "0:19" in ran.stdout
    assert "0:18" not in ran.stdout
    assert "These are 1 of 3" in ran.stderr


def test_no_letters(world: World, desk: FakeDesk) -> None:
    desk.stored = ()

    ran = world.run("dlq", "list")

    assert (ran.exit_code, ran.stdout) == (0, "")
    assert "no dead letters" in ran.stderr
    assert json.loads(world.run("dlq", "list", "--json").stdout) == []


def test_one_letter_is_replayed_even_twice(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "replay", "0:17")

    assert ran.exit_code == 0
    assert (desk.replayed, desk.marked) == (["0:17"], [])
    assert "replayed" in ran.stdout


def test_all_that_were_not_replayed_before_are(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "replay", "--all", "--json")

    assert ran.exit_code == 1
    assert (desk.replayed, desk.marked) == (["0:18"], ["0:18", "0:19"])
    shown = json.loads(ran.stdout)
    assert [(one["letter"], one["replayed"], one["problem"]) for one in shown] == [
        ("0:18", True, None),
        ("0:19", False, "it came from none of our topics"),
    ]


def test_a_dry_run_changes_nothing(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "replay", "--all", "--dry-run")

    assert "would be replayed" in ran.stdout
    assert "it came from none of our topics" in ran.stdout
    assert (desk.replayed, desk.marked) == ([], [])


def test_a_letter_that_is_not_there_is_a_finding(world: World, desk: FakeDesk) -> None:
    ran = world.run("dlq", "replay", "4:1")

    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "no such letter" in ran.stderr


@pytest.mark.parametrize("args", [(), ("0:17", "--all"), ("17",), ("0:x",)])
def test_a_wrong_call_says_how_it_is_right(world: World, desk: FakeDesk, args: tuple[str, ...]) -> None:
    ran = world.run("dlq", "replay", *args)

    assert ran.exit_code == 2
    assert "PARTITION:OFFSET" in ran.stderr
    assert desk.settings is None


def test_a_broker_that_is_away_is_one_sentence(world: World, desk: FakeDesk) -> None:
    def away(_settings: BridgeSettings) -> DeadLetterDesk:
        raise DeskError("the topic cannot be opened: no answer.")

    world.use(dead_letters=away)

    ran = world.run("dlq", "list")

    assert ran.exit_code == 2
    assert "no answer." in ran.stderr
    assert "Traceback" not in ran.stderr
