"""The rights on the page on security are those that the tests run with."""

from pathlib import Path

import pytest

from gateway import kafka_rights
from gateway.bridge_settings import BridgeSettings
from persistence.redis_rights import OPERATOR, REPLICATED, SERVICE, rule

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
LINES = PAGE.splitlines()


def test_the_rules_of_redis_are_written_out() -> None:
    assert f"user gift-ledger on #SHA256-OF-THE-PASSWORD {rule(SERVICE, 'gl')}" in LINES
    assert f"user operator on #SHA256-OF-ANOTHER {rule((*SERVICE, *OPERATOR), 'gl')}" in LINES
    assert all(f"`+{command}`" in PAGE for command in REPLICATED)


@pytest.mark.parametrize(
    ("beginning", "names"),
    [
        ("| topics of orders and payments |", ("All_SalesOrder", "All_Payments")),
        (
            "| topics of states, transactions, dead letters |",
            ("GiftCertificateState", "GiftCertificateTransaction", "GiftCertificateProcessing.DeadLetter"),
        ),
        ("| group `GIFT_LEDGER_KAFKA_GROUP` |", ("gift-ledger",)),
        ("| group of that name with `-dlq` |", ("gift-ledger-dlq",)),
    ],
)
def test_the_rights_of_kafka_are_written_out(beginning: str, names: tuple[str, ...]) -> None:
    (line,) = [line for line in LINES if line.startswith(beginning)]
    _, _, service, operator, _ = line.split("|")
    settings = BridgeSettings(bootstrap="kafka:9092")

    for cell, rights in (
        (service, kafka_rights.of_service(settings)),
        (operator, kafka_rights.of_operators(settings)),
    ):
        of_names = {operation for right in rights if right.name in names for operation in right.operations}
        assert {one for one in ("Read", "Write", "DescribeConfigs") if f"`{one}`" in cell} == of_names
