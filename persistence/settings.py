"""How the log is reached."""

from typing import Final

from msgspec import Struct

from persistence.log import PARTITIONS_DEFAULT

TIMEOUT_SECONDS: Final = 5.0
"""How long Redis may take to answer: the append-only file of a busy disk takes tenths of a second."""


class StorageSettings(Struct, frozen=True, kw_only=True):
    """``redis_url`` with user, password and files of TLS if there are any (:mod:`persistence.redis_address`)."""

    redis_url: str
    partitions: int = PARTITIONS_DEFAULT
    """Only used when the ledger is made; a ledger that exists knows its own number."""
    prefix: str = "gl"
    """First part of all keys."""
    timeout_seconds: float = TIMEOUT_SECONDS
    """After this a call without an answer counts as lost."""
    connections_max: int = 8
    """Most connections of one process; a call that finds none free waits for as long as for an answer."""
    replicas: int = 0
    """Replicas that have to have a write on disk before it counts (WAITAOF); 0: the primary alone."""
    allow_unsafe: bool = False
    """Run on a server that may lose what it acknowledged. For trying things out."""
    secrets_path: str = ".gift-ledger/secrets.json"
    """Pepper and data key; kept outside Redis."""

    def __repr__(self) -> str:
        return f"StorageSettings(prefix={self.prefix!r}, partitions={self.partitions})"
