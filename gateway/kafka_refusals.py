"""Why brokers will not have us.

aiokafka says no more of a client that cannot start than that it cannot. Whether nobody is there, or a password is
wrong, is for people to know: so after a failure one connection more is tried, and what it fails of is told.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from gateway.bridge_settings import BridgeSettings
from persistence.tls import TrustError

ASK_SECONDS_MAX: Final = 2.0
"""How long that may take, of all brokers that are named."""
UNUSABLE: Final = "one of our files for TLS with Kafka cannot be used"


async def refusal(settings: BridgeSettings) -> str:
    """What the brokers have against us, in words that anybody may read; empty if none is there or has anything."""
    try:
        options = settings.security.options()
    except TrustError:
        return UNUSABLE
    if settings.security.protocol == "PLAINTEXT":
        return ""  # nobody is refused who says nothing of himself
    with suppress(TimeoutError):
        async with asyncio.timeout(ASK_SECONDS_MAX):
            for broker in settings.bootstrap.split(","):
                if told := await _asked(broker, options):
                    return told
    return ""


async def _asked(broker: str, options: dict[str, Any]) -> str:
    host, _, port = broker.rpartition(":")
    try:
        connection = await create_conn(host, int(port), client_id="gift-ledger", **options)
    except (KafkaError, OSError) as error:
        return _words(error)
    connection.close()
    return ""


def _words(error: Exception) -> str:
    match error:
        case SaslAuthenticationFailed():
            return "Kafka refuses our user or its password"
        case UnsupportedSaslMechanismError():
            return "Kafka does not offer our SASL mechanism"
        case ssl.SSLCertVerificationError():
            return f"Kafka's certificate is not to be trusted: {error.verify_message}"
        case ssl.SSLError():
            return "Kafka does not speak TLS with us"
        case _:
            return ""
