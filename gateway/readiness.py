"""Whether the service can work: what ``GET /health/ready`` tells."""

import asyncio
import logging
from typing import Final

import msgspec
from msgspec import Struct

from gateway.keyring import Keyring
from gateway.reply import JSON, NO_STORE, Reply
from gateway.services import Component, Condition, Health, Services
from gateway.settings import GatewaySettings

LIVE: Final = Reply(200, (JSON, NO_STORE), b'{"status":"ok"}')
"""The process answers: that is all that liveness says."""

_logger = logging.getLogger(__name__)
_encoder: Final = msgspec.json.Encoder()


class Readiness(Struct, frozen=True):
    """How the service is, and each of its parts. Kafka and SMS alone only degrade it: their events wait in the log.

    So do the keys of tokens.
    """

    status: Condition
    components: dict[str, Component]


class ReadinessCheck:
    """Asks the parts, at most once in a while, and never for long."""

    def __init__(self, services: Services, settings: GatewaySettings, keyring: Keyring) -> None:
        self._probe = services.health
        self._settings = settings
        self._keyring = keyring
        self._lock = asyncio.Lock()
        self._known: Readiness | None = None
        self._known_at = 0.0

    async def reply(self) -> Reply:
        """200, or 503 if the service cannot work; the body says why."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._known is None or now - self._known_at >= self._settings.health_cache_seconds:
                self._known = readiness(await self._ask(), self._keyring.component, self._keyring.tokens)
                self._known_at = asyncio.get_running_loop().time()
            known = self._known
        status = 503 if known.status is Condition.DOWN else 200
        return Reply(status, (JSON, NO_STORE), _encoder.encode(known))

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(self._settings.health_seconds):
                return await self._probe.health()
        except TimeoutError:
            unknown = f"No answer within {self._settings.health_seconds:g} s."
        except Exception:
            _logger.exception("the health of the service cannot be found out")
            unknown = "It cannot be found out; the log says why."
        part = Component(status=Condition.DOWN, detail=unknown)
        return Health(storage=part, shards=part, kafka=part, sms=part)


def readiness(health: Health, keys: Component, tokens: Component | None = None) -> Readiness:
    """The whole from its parts. Without the keys of tokens clients that have API keys work on."""
    components = {
        "storage": health.storage,
        "shards": health.shards,
        "keys": keys,
        "kafka": health.kafka,
        "sms": health.sms,
    }
    if tokens is not None:
        components["tokens"] = tokens
    vital = {component.status for component in (health.storage, health.shards, keys)}
    if Condition.DOWN in vital:
        status = Condition.DOWN
    elif all(component.status is Condition.OK for component in components.values()):
        status = Condition.OK
    else:
        status = Condition.DEGRADED
    return Readiness(status, components)
