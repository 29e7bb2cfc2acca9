"""What is made of the reasons for which brokers will not have us."""

import ssl

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from gateway import kafka_refusals
from gateway.bridge_settings import BridgeSettings
from gateway.kafka_refusals import UNUSABLE, refusal
from gateway.kafka_security import KafkaSecurity

SECURITY = KafkaSecurity(protocol="SASL_PLAINTEXT", username="ledger", password="hidden")


class Connection:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SaslAuthenticationFailed("hidden"), "Kafka refuses our user or its password"),
        (UnsupportedSaslMechanismError("hidden"), "Kafka does not offer our SASL mechanism"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "Kafka does not speak TLS with us"),
        (KafkaConnectionError("hidden"), ""),
        (ConnectionRefusedError(), ""),
        (TimeoutError(), ""),
    ],
)
async def test_a_reason_is_told_in_words_without_secrets(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    async def refuse(host: str, port: int, **_: object) -> Connection:
        asked.append((host, port))
        raise error

    monkeypatch.setattr(kafka_refusals, "create_conn", refuse)

    found = await refusal(BridgeSettings(bootstrap="k1:1,k2:2", security=SECURITY))

    assert found.startswith(told)
    assert bool(found) == bool(told)
    assert "hidden" not in found
    assert asked == ([("k1", 1)] if told else [("k1", 1), ("k2", 2)])


async def test_a_broker_that_lets_us_in_has_nothing_against_us(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection()

    async def let_in(*_: object, **__: object) -> Connection:
        return connection

    monkeypatch.setattr(kafka_refusals, "create_conn", let_in)

    assert await refusal(BridgeSettings(bootstrap="k1:1", security=SECURITY)) == ""
    assert connection.closed


async def test_in_the_clear_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(kafka_refusals, "create_conn")

    assert await refusal(BridgeSettings(bootstrap="k1:1")) == ""


async def test_a_file_that_cannot_be_used_is_told_without_its_name() -> None:
    security = KafkaSecurity(protocol="SSL", issuers="/nowhere/ca.crt")

    assert await refusal(BridgeSettings(bootstrap="k1:1", security=security)) == UNUSABLE
    assert "nowhere" not in UNUSABLE
