"""Which actor an entity lives in. A matter of speed alone: safety lives in the log."""

from collections.abc import Sequence
from typing import Final

from actors.settings import Placement
from ledger.identifiers import entity_key, is_certificate
from persistence.log import partition_of

DEDICATED: Final = "certificate:"
"""Begins the name of an actor that holds one certificate."""


def shard_name(placement: Placement, number: int) -> str:
    """Name of a shard: ``certificates:00``; ``orders:00`` where certificates have actors of their own."""
    return f"{'certificates' if placement == 'shared' else 'orders'}:{number:02}"


def shard_of(entity: str, placement: Placement, shards: int, partitions: int) -> str:
    """The shard of an entity's partition."""
    return shard_name(placement, partition_of(entity, partitions) % shards)


def dedicated_name(entity: str) -> str:
    """Name of the actor that would hold this certificate alone."""
    return f"{DEDICATED}{entity_key(entity)}"


def may_be_dedicated(entity: str, placement: Placement) -> bool:
    """Whether the entity can have an actor of its own."""
    return placement == "dedicated" and is_certificate(entity)


def partitions_of(number: int, shards: int, partitions: int) -> Sequence[int]:
    """Partitions whose timers a shard keeps."""
    return range(number, partitions, shards)
