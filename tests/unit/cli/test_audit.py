"""``audit``: which operations and acts it shows, in which order, and how."""

import asyncio
import json
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from gift_ledger.cli import auditing
from gift_ledger.cli.auditing import moment
from gift_ledger.cli.context import CommandError
from ledger import certificate
from ledger import records as r
from ledger.certificate import Certificate
from ledger.commands import Origin
from ledger.identifiers import certificate_entity
from persistence import acts, codec
from persistence.log import Batch, Change, Log
from tests.unit.cli.stage import CODE, NOON, ORDER, World

AUDITED = "GC-AUDITED-01"
HOUR_MS = 3_600_000
OLD = Origin("till-9", "POS")
"""Whose records stand there as an earlier version wrote them."""
FIELDS_BEFORE = 11
FIRST = Origin("till-9", "POS", key_id="k_1", address=ip_address("192.0.2.7").packed)
SECOND = Origin("till-9", "POS", key_id="k_2", address=ip_address("2001:db8::7").packed)
SUPPORT = Origin("desk", key_id="k_3", address=ip_address("192.0.2.8").packed)


def as_earlier(position: codec.Position, record: r.Record) -> tuple[bytes, codec.Position]:
    """A record in the bytes of a version that kept neither key nor address."""
    body = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(record))[:FIELDS_BEFORE])
    link = blake2b(position.link + body, digest_size=codec.LINK_BYTES).digest()
    return link + body, codec.Position(record.version, link)


async def act_of(log: Log, *steps: tuple[Origin, int, r.AnyBody]) -> None:
    state, position, stored = Certificate(code=AUDITED), codec.START, []
    for origin, at, body in steps:
        (record,), state = certificate.advance(state, at, origin, body)
        encoded, position = codec.encode(position, record) if origin is not OLD else as_earlier(position, record)
        stored.append(encoded)
    assert await log.append(Batch((Change(certificate_entity(AUDITED), 0, tuple(stored)),))) is None


async def note(world: World) -> None:
    who = ("anna", "desk-1")
    intent = await acts.note(world.acts, NOON, who, "keys revoke", "begun", {"keyId": "k_1", "client": "till-9"})
    facts = {"keyId": "k_1", "client": "till-9"}
    await acts.note(world.acts, NOON + 1, who, "keys revoke", "done", facts, intent)
    await acts.note(world.acts, NOON + HOUR_MS, who, "forget", "begun", {"orderId": ORDER, "lines": "1"})


@pytest.fixture
def audited(filled: World) -> World:
    """A till with two keys, and support; besides what is there anyway."""
    asyncio.run(
        act_of(
            filled.log,
            (OLD, NOON, r.Reserved("SO-9", "1", NOON + 86_400_000)),
            (OLD, NOON, r.Joined(150_000, "RUB")),
            (OLD, NOON, r.Activated("SO-9", "1", 150_000, "RUB", NOON + 31_536_000_000, b"digest", b"sealed")),
            (FIRST, NOON + HOUR_MS, r.Held(50_000, NOON + 9 * HOUR_MS, "POS-7/991")),
            (SECOND, NOON + 2 * HOUR_MS, r.Captured(4, 50_000, final=True)),
            (SUPPORT, NOON + 3 * HOUR_MS, r.Blocked("stolen")),
        )
    )
    asyncio.run(note(filled))
    return filled


def lines(world: World, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    ran = world.run("audit", *arguments, "--json")
    assert ran.exit_code == code, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines()]


def seen(world: World, *arguments: str) -> list[tuple[str, int]]:
    """Type or command, and version or number, of each line."""
    return [
        (line["command"], line["number"]) if line["kind"] == "act" else (line["type"], line["version"])
        for line in lines(world, *arguments)
    ]


def test_a_record_tells_who_did_what_when_from_where_and_with_which_key(audited: World) -> None:
    assert lines(audited, "--code", AUDITED.lower())[4] == {
        "kind": "record",
        "occurredAt": "2026-11-24T08:00:00.000Z",
        "certificateCode": AUDITED,
        "orderId": None,
        "version": 5,
        "type": "Capture",
        "client": "till-9",
        "channel": "POS",
        "keyId": "k_2",
        "address": "2001:db8::7",
        "amount": 50_000,
        "detail": "authorization " + lines(audited, "--code", AUDITED)[4]["detail"].split()[1],
    }


def test_a_record_of_an_earlier_version_tells_neither_key_nor_address(audited: World) -> None:
    for line in lines(audited, "--code", AUDITED)[:3]:
        assert (line["client"], line["keyId"], line["address"]) == ("till-9", None, None)


def test_an_act_tells_who_did_what_when_and_what_came_of_it(audited: World) -> None:
    assert lines(audited, "--acts")[1] == {
        "kind": "act",
        "occurredAt": "2026-11-24T06:00:00.001Z",
        "number": 2,
        "intent": 1,
        "user": "anna",
        "host": "desk-1",
        "command": "keys revoke",
        "outcome": "done",
        "facts": {"keyId": "k_1", "client": "till-9"},
    }


def test_acts_come_first_and_then_each_entity_in_the_order_of_its_versions(audited: World) -> None:
    found = lines(audited)

    kinds = [line["kind"] for line in found]
    assert kinds == ["act"] * 3 + ["record"] * (len(found) - 3)
    by_entity: dict[str, list[int]] = {}
    for line in found[3:]:
        by_entity.setdefault(line["certificateCode"] or line["orderId"], []).append(line["version"])
    assert by_entity == {CODE: list(range(1, 7)), AUDITED: list(range(1, 7)), ORDER: list(range(1, 10))}
    names = [line["certificateCode"] or line["orderId"] for line in found[3:]]
    assert len([one for one, before in zip(names, [None, *names], strict=False) if one != before]) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--key", "k_2"), [("Capture", 5)]),
        (("--key", "k_1"), [("keys revoke", 1), ("keys revoke", 2), ("Authorize", 4)]),
        (("--client", "desk"), [("Block", 6)]),
        (("--client", "till-9", "--key", "k_2"), [("Capture", 5)]),
        (("--client", "desk", "--key", "k_2"), []),
        (("--from", "192.0.2.7"), [("Authorize", 4)]),
        (("--from", "192.0.2.0/24"), [("Authorize", 4), ("Block", 6)]),
        (("--from", "2001:db8::/32"), [("Capture", 5)]),
        (("--from", "198.51.100.1"), []),
        (("--since", "2026-11-24T07:00:00Z", "--code", AUDITED), [("Authorize", 4), ("Capture", 5), ("Block", 6)]),
        (("--until", "2026-11-24T07:00:00Z", "--acts"), [("keys revoke", 1), ("keys revoke", 2)]),
        (
            ("--since", "2026-11-24T10:00:00+03:00", "--until", "2026-11-24T08:00:00", "--key", "k_1"),
            [("Authorize", 4)],
        ),
        (("--order", ORDER, "--since", "2026-11-24T06:30:00Z"), [("forget", 3)]),
        (("--acts", "--order", ORDER), [("forget", 3)]),
    ],
)
def test_what_is_asked_for_is_shown(
    audited: World, arguments: tuple[str, ...], expected: list[tuple[str, int]]
) -> None:
    assert seen(audited, *arguments) == expected


def test_one_certificate_is_read_alone(audited: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(audited.log), "entities")

    assert len(lines(audited, "--code", AUDITED)) == 6
    assert len(lines(audited, "--order", ORDER)) == 10


def test_people_get_tables(audited: World) -> None:
    ran = audited.run("audit", "--client", "till-9")

    assert ran.exit_code == 0
    text = ran.stdout
    assert "anna" in text
    assert "done (1)" in text
    assert "50,000" in text
    assert text.index("keys revoke") < text.index("Reserve")
    assert "k_2" in text
    assert "2001:db8::7" in text


def test_a_table_is_printed_before_it_grows_too_long(audited: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "ROWS_AT_ONCE", 2)

    ran = audited.run("audit", "--code", AUDITED)

    assert ran.stdout.count("WHEN") == 3


def test_nothing_of_the_kind_is_no_fault(audited: World) -> None:
    ran = audited.run("audit", "--key", "k_9")

    assert ran.exit_code == 0
    assert "There is nothing of the kind." in ran.stderr
    assert lines(audited, "--key", "k_9") == []


@pytest.mark.parametrize("arguments", [("--code", "GC-NOT-THERE"), ("--order", "SO-404")])
def test_what_the_ledger_has_never_heard_of_is_a_finding(audited: World, arguments: tuple[str, ...]) -> None:
    ran = audited.run("audit", *arguments)

    assert ran.exit_code == 1
    assert "never heard of" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--code", "x"), "is no certificate code"),
        (("--code", CODE, "--order", ORDER), "not both"),
        (("--from", "somewhere"), "is no address"),
        (("--since", "yesterday"), "is no time"),
        (("--until", "2026-13-01"), "is no time"),
        (("--acts", "--code", CODE), "leave out --acts"),
        (("--acts", "--from", "192.0.2.7"), "leave out --acts"),
    ],
)
def test_a_wrong_call_says_how_it_is_right(audited: World, arguments: tuple[str, ...], problem: str) -> None:
    ran = audited.run("audit", *arguments)

    assert ran.exit_code == 2
    assert problem in ran.stderr


def test_times_are_days_times_or_how_long_ago() -> None:
    assert moment("2026-11-24", NOON) == NOON - 6 * HOUR_MS
    assert moment("2026-11-24T09:00+03:00", 0) == NOON
    assert moment("7d", NOON) == NOON - 7 * 24 * HOUR_MS
    with pytest.raises(CommandError, match="is no time"):
        moment("", NOON)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_damage_is_told_and_the_rest_is_shown(audited: World) -> None:
    state = Certificate(code=AUDITED)
    (record,), _ = certificate.advance(state, NOON, OLD, r.Reserved("SO-9", "1", NOON))
    wrong = [
        b"no record",
        codec.encode(codec.START, msgspec.structs.replace(record, address=b"abc"))[0],
        codec.encode(codec.START, msgspec.structs.replace(record, at=2**62))[0],
        codec.encode(codec.START, msgspec.structs.replace(record, body=r.LineAllocated("1", CODE)))[0],
    ]
    change = Change("c:GC-DAMAGED-1", 0, tuple(wrong))
    asyncio.run(audited.log.append(Batch((change,))))
    audited.acts.stored[0] = b"no act"

    found = lines(audited, "--from", "192.0.2.7", code=1)
    damage = [line["where"] for line in found if line["kind"] == "damage"]
    assert damage == ["acts, entry 1", "c:GC-DAMAGED-1, version 1", "c:GC-DAMAGED-1, version 2"]
    assert [line["version"] for line in found if line["kind"] == "record"] == [4]

    found = lines(audited, "--code", "GC-DAMAGED-1", code=1)
    assert [line["where"].partition("version ")[2] for line in found] == ["1", "2", "3", "4"]
    ran = audited.run("audit", "--acts")
    assert ran.exit_code == 1
    assert "acts, entry 1: stored bytes are not an administrative act" in ran.stderr
