"""What the settings of Redis and Kafka say of users and TLS, and what cannot go together."""

from typing import Any

import pytest

from gift_ledger.settings import Settings

SASL: dict[str, Any] = {
    "kafka_bootstrap": "kafka:9093",
    "kafka_security_protocol": "SASL_SSL",
    "kafka_username": "ledger",
    "kafka_password": "hidden",
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"redis_tls_ca": "/ca"}, "redis_tls_… files are of use with TLS alone"),
        ({"redis_url": "redis://h", "redis_tls_ca": "/ca"}, "redis_tls_… files are of use with TLS alone"),
        ({"redis_url": "rediss://h", "redis_tls_cert": "/c"}, "redis_tls_cert and redis_tls_key belong together"),
        ({"redis_password": "hidden"}, "redis_password needs a redis_url"),
        ({"redis_url": "rediss://u:hidden@h", "redis_password": "hidden"}, "redis_url holds a password, and"),
        ({"kafka_security_protocol": "SSL"}, "kafka_security_protocol SSL needs a kafka_bootstrap"),
        ({"kafka_bootstrap": "k:1", "kafka_tls_ca": "/ca"}, "kafka_tls_… files are of use with TLS alone"),
        ({**SASL, "kafka_tls_key": "/k"}, "kafka_tls_cert and kafka_tls_key belong together"),
        ({**SASL, "kafka_password": None}, "SASL_SSL needs kafka_username and kafka_password"),
        ({"kafka_bootstrap": "k:1", "kafka_username": "ledger"}, "of use with SASL alone"),
    ],
)
def test_what_cannot_go_together_is_told_without_secrets(given: dict[str, Any], said: str) -> None:
    (found,) = Settings(**given).contradictions()

    assert said in found
    assert "hidden" not in found


def test_what_goes_together_is_taken() -> None:
    url: dict[str, Any] = {
        "redis_url": "rediss://ledger@redis:6379/0",
        "redis_password": "a/b@c",
        "redis_tls_ca": "/ca.crt",
    }
    settings = Settings(**url, **SASL, kafka_tls_ca="/ca.crt")

    assert settings.contradictions() == []
    assert settings.storage().redis_url == "rediss://ledger:a%2Fb%40c@redis:6379/0?ssl_ca_certs=%2Fca.crt"
    assert settings.bridge().security.by_tls
    assert settings.bridge().security.by_user
