import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inputs import LINES_MAX, Input, InputError, read_order, read_payment
from ledger.commands import Place, PlannedLine, RecordPayment
from ledger.money import AMOUNT_MAX
from persistence import envelope
from persistence.vault import RECIPIENT, Recipient, SealBrokenError, Vault

VAULT = Vault.generate()
LINE = {"orderLineId": "1", "plannedDenomination": 150_000}
ORDER: dict[str, Any] = {
    "orderId": "SO-1001",
    "channel": "OnlineStore",
    "currency": "RUB",
    "certificateLines": [LINE],
}
ALLOCATION = {"orderLineId": "1", "collectedAmount": 50_000}
PAYMENT: dict[str, Any] = {
    "orderId": "SO-1001",
    "paymentVersion": 2,
    "currency": "RUB",
    "capturedAmount": 50_000,
    "outstandingAmount": 100_000,
    "isOrderSettled": False,
    "certificateAllocations": [ALLOCATION],
}


def order(**changes: object) -> Input:
    return read_order(json.dumps(ORDER | changes).encode(), "All_SalesOrder/0/7", VAULT)


def payment(**changes: object) -> Input:
    return read_payment(json.dumps(PAYMENT | changes).encode(), "All_Payments/0/7", VAULT)


def opened_of(command: Place) -> Recipient:
    """Who the first line is for."""
    opened = envelope.unseal(VAULT, command.lines[0].recipient or b"", RECIPIENT, command.keys[0].sealed)
    return msgspec.json.decode(opened, type=Recipient)


def test_an_order_with_only_what_it_must_have_is_version_1_and_placed() -> None:
    read = order()

    assert read.entity == "o:SO-1001"
    assert read.command == Place(
        1, False, "OnlineStore", "RUB", (PlannedLine("1", 150_000, None),), "All_SalesOrder/0/7"
    )


def test_the_recipient_is_sealed_at_once() -> None:
    recipient = {"name": "Анна", "phone": "+79990000001", "locale": "ru_RU", "birthday": "unknown to us"}

    command = order(certificateLines=[LINE | {"intendedRecipient": recipient}]).command

    assert isinstance(command, Place)
    opened = opened_of(command)
    assert not any(b"+7999" in sealed for sealed in (command.lines[0].recipient or b"+7999", command.keys[0].sealed))
    assert (opened.name, opened.phone, opened.locale) == ("Анна", "+79990000001", "ru-RU")


@pytest.mark.parametrize("locale", ["", " ", "ru RU", "русский", "ru\n", "_", "7", "x" * 36, None])
def test_a_locale_of_no_use_is_as_good_as_none(locale: str | None) -> None:
    recipient = {"phone": "+79990000001", "locale": locale}

    command = order(certificateLines=[LINE | {"intendedRecipient": recipient}]).command

    assert isinstance(command, Place)
    assert opened_of(command) == Recipient(phone="+79990000001")


def test_each_line_has_a_key_of_its_own_and_one_without_a_recipient_none() -> None:
    lines = [LINE | {"orderLineId": line, "intendedRecipient": {"phone": "+79990000001"}} for line in "12"]

    command = order(certificateLines=[*lines, LINE | {"orderLineId": "3"}], orderVersion=7).command

    assert isinstance(command, Place)
    assert [key.line_id for key in command.keys] == ["1", "2"]
    assert command.lines[2].recipient is None
    names = [envelope.key_of(line.recipient) for line in command.lines if line.recipient]
    assert names == [("o:SO-1001", "7/1"), ("o:SO-1001", "7/2")]
    with pytest.raises(SealBrokenError):
        envelope.unseal(VAULT, command.lines[0].recipient or b"", RECIPIENT, command.keys[1].sealed)


def test_of_a_cancelled_order_nobody_is_kept() -> None:
    line = LINE | {"intendedRecipient": {"phone": "+79990000001"}}

    command = order(certificateLines=[line], status="Cancelled").command

    assert isinstance(command, Place)
    assert (command.lines, command.keys) == ((PlannedLine("1", 150_000, None),), ())


def test_a_cancellation_needs_no_lines() -> None:
    read = read_order(
        b'{"orderId":"SO-1001","orderVersion":3,"status":"Cancelled","channel":"POS","currency":"RUB"}', "s", VAULT
    )

    assert read.command == Place(3, True, "POS", "RUB", (), "s")


def test_a_payment() -> None:
    assert payment().command == RecordPayment(2, "RUB", 50_000, 100_000, False, {"1": 50_000}, "All_Payments/0/7")


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert order(loyalty={"points": 1.5}) == order()
    assert payment(method="card", occurredAt="any time") == payment()


@pytest.mark.parametrize(
    "changes",
    [
        {"orderId": ""},
        {"orderId": "x" * 65},
        {"orderId": "SO 1001"},
        {"orderId": "SO-é"},
        {"orderId": "SO-1001\n"},
        {"orderId": 1001},
        {"orderId": None},
        {"orderVersion": 0},
        {"orderVersion": "1"},
        {"orderVersion": 2**63},
        {"status": "Paid"},
        {"channel": ""},
        {"channel": "line\nbreak"},
        {"currency": "rub"},
        {"currency": "RUBL"},
        {"currency": "RUB\n"},
        {"certificateLines": None},
        {"certificateLines": {}},
        {"certificateLines": [LINE, LINE]},
        {"certificateLines": [LINE | {"orderLineId": str(number)} for number in range(LINES_MAX + 1)]},
        {"certificateLines": [{"orderLineId": "1"}]},
        {"certificateLines": [LINE | {"plannedDenomination": 0}]},
        {"certificateLines": [LINE | {"plannedDenomination": -1}]},
        {"certificateLines": [LINE | {"plannedDenomination": 1500.0}]},
        {"certificateLines": [LINE | {"plannedDenomination": True}]},
        {"certificateLines": [LINE | {"plannedDenomination": AMOUNT_MAX + 1}]},
        {"certificateLines": [LINE | {"intendedRecipient": {"name": "nobody can be reached"}}]},
        {"certificateLines": [LINE | {"intendedRecipient": {"phone": ""}}]},
    ],
)
def test_an_order_of_a_wrong_shape_can_never_be_applied(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        order(**changes)

    assert caught.value.reason == "WrongShape"


@pytest.mark.parametrize(
    "changes",
    [
        {"paymentVersion": 0},
        {"paymentVersion": None},
        {"currency": "€"},
        {"capturedAmount": -1},
        {"capturedAmount": "50000"},
        {"outstandingAmount": 0.0},
        {"outstandingAmount": AMOUNT_MAX + 1},
        {"isOrderSettled": "true"},
        {"isOrderSettled": 1},
        {"certificateAllocations": None},
        {"certificateAllocations": [ALLOCATION, ALLOCATION]},
        {"certificateAllocations": [ALLOCATION | {"collectedAmount": -1}]},
    ],
)
def test_a_payment_of_a_wrong_shape_can_never_be_applied(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        payment(**changes)

    assert caught.value.reason == "WrongShape"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"orderId": "SO-1001\xff"}',
        json.dumps(ORDER | PAYMENT).encode() + b" and more",
        b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_not_json_can_never_be_applied(value: bytes) -> None:
    for read in (read_order, read_payment):
        with pytest.raises(InputError) as caught:
            read(value, "s", VAULT)

        assert caught.value.reason == "NotJson"


def test_the_reason_names_the_place_and_not_the_value() -> None:
    with pytest.raises(InputError, match=r"`\$\.certificateLines\[0\]\.intendedRecipient\.phone`") as caught:
        order(certificateLines=[LINE | {"intendedRecipient": {"phone": 79990000001}}])

    assert "7999" not in str(caught.value)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_put_aside(value: bytes) -> None:
    for read in (read_order, read_payment):
        with pytest.raises(InputError):
            read(value, "s", VAULT)


@pytest.mark.parametrize("status", ["+79990000001", "' - at `$.x", "a\nb", ""])
def test_what_is_said_of_a_wrong_value_does_not_repeat_it(status: str) -> None:
    with pytest.raises(InputError) as told:
        order(status=status)

    assert str(told.value) == "Invalid enum value - at `$.status`"
