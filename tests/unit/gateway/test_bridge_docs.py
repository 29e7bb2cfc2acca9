"""docs/events.md tells of every field that is published or read, and of no other."""

import re
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from gateway import dead_letters, inputs
from gateway.bridge_settings import BridgeSettings
from gift_ledger.settings import Settings
from ledger import publications

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "events.md").read_text()
STRUCTS = [
    publications.StateEvent,
    publications.TransactionEvent,
    inputs.SalesOrder,
    inputs.CertificateLine,
    inputs.IntendedRecipient,
    inputs.Payment,
    inputs.CertificateAllocation,
]


def told(name: str) -> list[str]:
    """The first column of the table below a mark."""
    _, mark, rest = PAGE.partition(f"<!-- fields: {name} -->")
    assert mark, f"docs/events.md has no table of {name}"
    table = rest.strip().split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_each_field_is_told_in_its_order(struct: type[msgspec.Struct]) -> None:
    assert told(struct.__name__) == list(struct.__struct_encode_fields__)


def test_every_table_belongs_to_a_struct() -> None:
    assert re.findall(r"<!-- fields: (\w+) -->", PAGE) == [struct.__name__ for struct in STRUCTS]


def test_every_header_of_a_dead_letter_is_told() -> None:
    assert all(f"`{header}`" in PAGE for header in dead_letters.OURS)


def test_every_topic_is_told_with_its_setting() -> None:
    settings = Settings(kafka_bootstrap="127.0.0.1:1")

    for name in Settings.__struct_fields__:
        if name.startswith("topic_"):
            assert f"| `{getattr(settings, name)}` |" in PAGE
            assert f"`GIFT_LEDGER_{name.upper()}`" in PAGE


def test_the_subscriber_is_a_program() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, object] = {}

    exec(compile(source, "docs/events.md", "exec"), namespace)  # noqa: S102 - our own page

    assert namespace["AIOKafkaConsumer"] is AIOKafkaConsumer
    assert callable(namespace["follow"])


def test_the_defaults_are_those_of_the_settings() -> None:
    assert Settings(kafka_bootstrap="127.0.0.1:1", sms_url="http://127.0.0.1:2/").bridge() == BridgeSettings(
        bootstrap="127.0.0.1:1", sms_url="http://127.0.0.1:2/"
    )
