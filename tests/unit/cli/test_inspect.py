import json
from collections.abc import Sequence

import msgspec

from actors.reports import ActorReport
from ledger.identifiers import certificate_entity
from persistence.errors import StorageUnavailableError
from persistence.log import Loaded, Log, QueuedMessage
from persistence.memory import MemoryLog
from persistence.settings import StorageSettings
from tests.unit.cli.stage import CODE, NOON, ORDER, World

SHARD = ActorReport(
    name="certificates:00",
    kind="shard",
    state="ALIVE",
    pid=4711,
    node="n1",
    facts={"residents": 12_000, "load": 0.5, "lastError": ""},
)


def test_a_certificate_is_shown_with_holds_history_and_place(filled: World) -> None:
    ran = filled.run("inspect", CODE.lower())

    assert ran.exit_code == 0
    for text in (
        f"Certificate {CODE}",
        "100 000 RUB",
        "Open holds",
        "20 000 RUB",
        "POS-7/991",
        "Activate",
        "certificates:0",
        "2026-11-24T06:15:00.000Z",
        "GiftCertificateTransaction et_5_",
        "sms_3_",
        "2 tries",
    ):
        assert text in ran.stdout, text
    assert "sealed" not in ran.stdout
    assert "digest" not in ran.stdout


def test_a_certificate_as_json(filled: World) -> None:
    shown = json.loads(filled.run("inspect", CODE, "--json").stdout)

    assert shown["certificate"]["balance"] == 100_000
    assert shown["certificate"]["holds"][0]["amount"] == 20_000
    assert [step["type"] for step in shown["timeline"]] == [
        "Reserve",
        "Join",
        "Activate",
        "Authorize",
        "Capture",
        "Authorize",
    ]
    assert shown["place"]["snapshotVersion"] == 6
    assert shown["place"]["timer"] == "2026-11-24T06:15:00.000Z"
    assert len(shown["outbox"]) == shown["place"]["outboxSize"] > 0
    assert shown["messages"] == [
        {"messageId": shown["messages"][0]["messageId"], "state": "2 tries, next 2026-11-24T06:00:00.000Z"}
    ]
    assert "order" not in shown or shown["order"] is None


def test_only_the_latest_of_a_long_history(filled: World) -> None:
    ran = filled.run("inspect", CODE, "--last", "2")

    assert "the latest 2 of 6" in ran.stdout
    assert "Activate" not in ran.stdout.split("the latest 2 of 6")[1].split("Where it lives")[0]


def test_an_order_is_shown_with_its_lines_and_history(filled: World) -> None:
    ran = filled.run("inspect", ORDER)

    assert ran.exit_code == 0
    for text in (
        f"Order {ORDER}",
        "order_certificate_allocation",
        CODE,
        "Place",
        "Pay",
        "settled",
        "Allocate",
        "Tell",
        "activate refused: CodeAlreadySold",
        "line not in the order",
        "Cancel",
        "nothing waits",
    ):
        assert text in ran.stdout, text
    assert "BALANCE" not in ran.stdout


def test_what_was_never_heard_of_is_a_finding(filled: World) -> None:
    ran = filled.run("inspect", "GC-NEVER-SEEN")

    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert "has never heard of GC-NEVER-SEEN" in ran.stderr


def test_a_given_up_message_is_told(filled: World) -> None:
    class Failing(MemoryLog):
        async def message_failures(self) -> dict[str, str]:
            return {message.message_id: "number unknown" for message in messages} | {"sms_1_of-another": "other"}

    messages: list[QueuedMessage] = filled_messages(filled)
    filled.log.message_failures = Failing.message_failures.__get__(filled.log)  # type: ignore[method-assign]

    shown = json.loads(filled.run("inspect", CODE, "--json").stdout)

    assert [message["state"] for message in shown["messages"]][1:] == ["given up: number unknown"]


def filled_messages(world: World) -> list[QueuedMessage]:
    import asyncio  # noqa: PLC0415

    return asyncio.run(world.log.messages_due(NOON))


def test_a_snapshot_of_an_older_shape_is_passed_over(filled: World) -> None:
    class OldSnapshots(MemoryLog):
        async def load(self, entities: Sequence[str], *, snapshots: bool = True) -> list[Loaded]:
            found = await MemoryLog.load(self, entities, snapshots=snapshots)
            return [msgspec.structs.replace(one, snapshot=b"6|old") if one.snapshot else one for one in found]

    filled.log.load = OldSnapshots.load.__get__(filled.log)  # type: ignore[method-assign]

    shown = json.loads(filled.run("inspect", CODE, "--json").stdout)

    assert shown["certificate"]["balance"] == 100_000
    assert shown["place"]["entity"] == certificate_entity(CODE)


def test_with_dedicated_placement_a_certificate_has_its_own_actor(filled: World) -> None:
    filled.environ["GIFT_LEDGER_PLACEMENT"] = "dedicated"

    assert f"certificate:{CODE}" in filled.run("inspect", CODE).stdout


def test_the_actors_are_listed(world: World) -> None:
    world.environ["GIFT_LEDGER_RAY_ADDRESS"] = "127.0.0.1:6379"
    assert "No actors run" in world.run("inspect").stdout
    world.reports = [SHARD]

    ran = world.run("inspect")

    assert ran.exit_code == 0
    assert "certificates:00" in ran.stdout
    assert "residents 12,000  load 0.5" in ran.stdout
    assert "lastError" not in ran.stdout
    assert json.loads(world.run("inspect", "--json").stdout)[0]["pid"] == 4711


def test_a_long_address_is_shown_whole_in_a_narrow_place(world: World) -> None:
    world.environ["GIFT_LEDGER_RAY_ADDRESS"] = "127.0.0.1:6379"
    address = "unix:/tmp/" + "y" * 200
    world.reports = [msgspec.structs.replace(SHARD, address=address)]

    shown = world.run("inspect").stdout

    assert shown.count("y") == 200
    assert "…" not in shown


def test_without_a_stack_it_says_how_to_start_one(world: World) -> None:
    world.environ = {}

    ran = world.run("inspect", CODE)

    assert ran.exit_code == 2
    assert "start it with `gift-ledger up`. Or set GIFT_LEDGER_REDIS_URL." in ran.stderr


def test_a_server_that_does_not_answer_is_one_sentence(world: World) -> None:
    async def refuse(_settings: StorageSettings) -> Log:
        raise StorageUnavailableError("the log's server: connection refused.")

    world.use(log=refuse)

    ran = world.run("inspect", CODE)

    assert ran.exit_code == 2
    assert (
        ran.stderr == "gift-ledger: the log's server: connection refused. `gift-ledger doctor` tells what is wrong.\n"
    )


def test_text_from_outside_cannot_drive_the_terminal(filled: World) -> None:
    filled.environ["GIFT_LEDGER_RAY_ADDRESS"] = "127.0.0.1:6379"
    filled.reports = [msgspec.structs.replace(SHARD, address="[bold]\x1b[2Jx")]

    shown = filled.run("inspect").stdout

    assert "[bold]�[2Jx" in shown
    assert "\x1b" not in shown
