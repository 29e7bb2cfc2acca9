"""What a user of Kafka has to be allowed: docs/security.md shows it, and a test on a real broker has no more."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gateway.bridge_settings import BridgeSettings

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]


class Right(Struct, frozen=True):
    """Operations on one topic or consumer group. Whoever may read or write may describe."""

    kind: Literal["Topic", "Group"]
    name: str
    operations: tuple[Operation, ...]


def of_service(settings: BridgeSettings) -> Sequence[Right]:
    """Of the bridge, and of ``doctor``. Nothing of it concerns the cluster: its producer needs no right of its own."""
    return (
        *(Right("Topic", name, ("Read",)) for name in (settings.sales_orders, settings.payments)),
        *(Right("Topic", name, ("Write",)) for name in _written(settings)),
        Right("Group", settings.group, ("Read",)),
    )


def of_operators(settings: BridgeSettings) -> Sequence[Right]:
    """Of ``dlq``, ``reconcile``, ``restore`` and ``doctor --production``, beside those of the service."""
    return (
        *(Right("Topic", name, ("Write", "DescribeConfigs")) for name in (settings.sales_orders, settings.payments)),
        *(Right("Topic", name, ("Read", "DescribeConfigs")) for name in _written(settings)),
        Right("Group", f"{settings.group}-dlq", ("Read",)),
    )


def _written(settings: BridgeSettings) -> tuple[str, str, str]:
    return settings.states, settings.transactions, settings.dead_letters
