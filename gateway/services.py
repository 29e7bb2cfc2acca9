"""What the gateway needs of the rest of the service."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry

from actors.ports import BulkLedger
from gateway.actor_metrics import ActorMetrics
from persistence.keys import KeyStore
from persistence.log import Log
from persistence.vault import Vault
from persistence.windows import Windows


class Condition(StrEnum):
    """How a part of the service is."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Component(Struct, frozen=True, kw_only=True):
    """One part of the service; ``detail`` is for people and holds no secrets: everybody may read it."""

    status: Condition
    detail: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """How the parts are. Without storage or shards nothing works; without Kafka or SMS events wait."""

    storage: Component
    shards: Component
    kafka: Component
    sms: Component


class HealthProbe(Protocol):
    """Finds out how the parts are."""

    async def health(self) -> Health:
        """Ask every part now. Need not be bounded: the gateway bounds it."""
        ...


class Services(Struct, frozen=True, kw_only=True):
    """What handlers work with. ``clock`` gives milliseconds since the epoch, UTC."""

    ledger: BulkLedger
    log: Log
    vault: Vault
    keys: KeyStore
    windows: Windows
    clock: Callable[[], int]
    health: HealthProbe
    metrics: CollectorRegistry = msgspec.field(default_factory=CollectorRegistry)
    """What ``GET /metrics`` tells; the gateway adds its own."""
    actors: ActorMetrics | None = None
    """The figures of the actors, asked for anew before ``metrics`` are told."""
