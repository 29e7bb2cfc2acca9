"""Where the actors live, and how much they take on."""

from typing import Final, Literal

from msgspec import Struct

Placement = Literal["shared", "dedicated"]
Channel = Literal["unix", "tcp"]

SOCKET_PATH_BYTES_MAX: Final = 107
"""Longest path of a Unix socket that Linux takes (``sun_path`` without its closing zero)."""


class ActorSettings(Struct, frozen=True, kw_only=True):
    """Placement and bounds of the actors. Nothing here bears on safety, which lives in the log."""

    placement: Placement = "shared"
    """``shared``: certificates hash to one of ``shards`` Ray actors. ``dedicated``: each has a Ray actor of its own,
    which costs about 55 MB of memory and 0.2 s to start."""
    shards: int = 1
    """Ray actors that host certificates and orders. One keeps about one core busy, and a gateway with the log another:
    on two cores one shard does a quarter more than two, whose batches are half as large."""
    dedicated_max: int = 64
    """Most Ray actors of their own at a time: 64 take 3.5 GB. Further certificates live in the shards until one has
    left."""
    namespace: str = "gift-ledger"
    """Ray namespace: two ledgers on one cluster need two."""
    ray_address: str = ""
    """``HOST:PORT`` of a running Ray cluster; empty: a local one is started, and stopped again at the end."""
    residents_max: int = 200_000
    """Most entities that a shard holds in memory, at 1 to 2 KB each. Beyond it the longest idle are let go."""
    idle_seconds: float = 600.0
    """Seconds without a command after which an entity is let go (passivated); waking it costs one Redis round trip."""
    batch_max: int = 512
    """Most commands that one append to the log holds: it bounds how long one script keeps Redis busy (milliseconds)."""
    mailbox_max: int = 8_192
    """Most commands that wait in a shard. Beyond it callers are told at once to come back (503 ``Overloaded``), since
    an answer that comes after the time-out helps nobody."""
    snapshot_every: int = 200
    """Records of an entity between two snapshots: the most that waking it has to replay."""
    passivation_tail: int = 8
    """Records since the last snapshot from which on passivation writes a new one: a shorter tail is read as quickly."""
    timer_poll_seconds: float = 0.25
    """Seconds between two looks at the timers: how late a lapse is seen at most. A command sees it in any case."""
    request_timeout_seconds: float = 5.0
    """Seconds after which a command without an answer has an unknown outcome; no less than the log's own time-out."""
    channel: Channel = "unix"
    """How commands reach a shard: ``unix`` socket on one machine, ``tcp`` with a token between machines."""
    channel_host: str = "127.0.0.1"
    """Address that a shard listens on with ``tcp``, and that the gateways reach it at; ``auto``: the one that Ray knows
    its node by. The port is any free one."""
    run_dir: str = ".gift-ledger/run"
    """Folder of the sockets, for the owner alone. Short: the whole path of a socket has at most 107 bytes."""
    channel_token_path: str = ".gift-ledger/channel.token"  # noqa: S105 - a path, not the token
    """File (mode 0600) with the token that opens the ``tcp`` channel; the same on all machines."""
