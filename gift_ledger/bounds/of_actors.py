"""Bounds of the shards, of the way to them, and of what starts them."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_SETTINGS: Final = "actors.settings.ActorSettings"
_OVERLOADED: Final = "gift_ledger_shard_overloaded_total"
_UNKNOWN: Final = "503 `StorageUnavailable`: repeat with the same key"

SHARDS: Final = (
    Bound(
        f"{_SETTINGS}.mailbox_max",
        "503 `Overloaded`: nothing happened; the same number may wait in a gateway for each shard",
        f"gift_ledger_shard_queued {_OVERLOADED}",
        "commands",
        setting="mailbox_max",
    ),
    Bound(
        f"{_SETTINGS}.batch_max",
        "the others wait for the next round",
        "gift_ledger_shard_rounds_total",
        "commands",
        setting="batch_max",
    ),
    Bound(
        f"{_SETTINGS}.request_timeout_seconds",
        _UNKNOWN,
        _OVERLOADED,
        setting="request_timeout_seconds",
    ),
    Bound(
        "actors.shard.CONFLICTS_MAX", "503 `Overloaded`", f"gift_ledger_shard_conflicts_total {_OVERLOADED}", "rounds"
    ),
    Bound("actors.sale.SALES_MAX", "503 `Overloaded`", f"gift_ledger_shard_sales {_OVERLOADED}", "sales"),
    Bound("actors.errands.AT_ONCE_MAX", "the others wait their turn", "gift_ledger_shard_errands", "errands"),
    Bound("actors.errands.ENTITIES_MAX", "a durable timer has it done later", "gift_ledger_shard_errands", "entities"),
    Bound(
        f"{_SETTINGS}.residents_max",
        "the longest idle leave memory; waking one costs a round trip",
        "gift_ledger_shard_residents gift_ledger_shard_passivated_total",
        "entities",
        setting="residents_max",
    ),
    Bound(
        f"{_SETTINGS}.idle_seconds",
        "the entity leaves memory",
        "gift_ledger_shard_passivated_total",
        setting="idle_seconds",
    ),
    Bound("actors.shard.PASSIVATED_MAX", "the others follow at once", "gift_ledger_shard_passivated_total", "entities"),
    Bound("actors.host.PASSIVATION_SECONDS", "a pause"),
    Bound(f"{_SETTINGS}.snapshot_every", "a snapshot is written", unit="records", setting="snapshot_every"),
    Bound(f"{_SETTINGS}.passivation_tail", "a snapshot is written before it leaves memory", unit="records"),
    Bound("actors.round.SNAPSHOT_ITEMS_MAX", "snapshots of large entities come more seldom", unit="items"),
    Bound("actors.round.ATTEMPTS_TTL_MS", "the count begins anew"),
    Bound("actors.round.CLOCKS_APART_MS", "what is due is seen when the entity is next asked for"),
    Bound(
        "actors.timekeeper.DUE_MAX",
        "the others follow in the next turn",
        "gift_ledger_shard_timers_rung_total",
        "timers",
    ),
    Bound(
        f"{_SETTINGS}.timer_poll_seconds",
        "a pause",
        "gift_ledger_shard_timers_rung_total",
        setting="timer_poll_seconds",
    ),
    Bound("actors.timekeeper.AGAIN_MS_MIN", "it rings again", "gift_ledger_shard_timers_failed_total"),
    Bound("actors.timekeeper.AGAIN_MS_MAX", "it rings again", "gift_ledger_shard_timers_failed_total"),
    Bound("actors.garbage.EVERY_MS_MIN", "a pause"),
    Bound("actors.garbage.EVERY_MS_MAX", "all of the memory is searched"),
)

CHANNEL: Final = (
    Bound("actors.lane.BULK_SHARE", "the other items wait for the next frame", unit="th part of a frame"),
    Bound("actors.frames.FRAME_BYTES_MAX", f"the connection is cut: {_UNKNOWN}"),
    Bound("actors.frames.UNREAD_BYTES_MAX", f"the connection is cut: {_UNKNOWN}"),
    Bound("actors.channel.CONNECTIONS_MAX", "the connection is cut", "gift_ledger_shard_callers", "connections"),
    Bound("actors.channel.TOKEN_BYTES_MIN", "the start fails, and says so"),
    Bound("actors.channel.TOKEN_BYTES_MAX", "the connection is cut"),
    Bound("actors.channel.CONNECT_SECONDS_MAX", "the lane tries again"),
    Bound("actors.channel.GOODBYE_SECONDS_MAX", _UNKNOWN),
    Bound("actors.lane.RECONNECT_SECONDS_MIN", "the lane tries again"),
    Bound("actors.lane.RECONNECT_SECONDS_MAX", "the lane tries again"),
    Bound("actors.router.SWEEP_SECONDS", "a pause"),
    Bound("actors.router.LANE_IDLE_SECONDS", "the lane is closed; the next command opens one"),
    Bound("actors.router.SEEN_MAX", "the oldest is forgotten, and served by its shard once more", unit="entities"),
    Bound("actors.settings.SOCKET_PATH_BYTES_MAX", "the start fails, and says so"),
    Bound("gift_ledger.settings.SOCKET_NAME_BYTES_MAX", "the start fails, and says so"),
)

RAY: Final = (
    Bound(
        f"{_SETTINGS}.dedicated_max",
        "further certificates live in the shards",
        unit="actors",
        setting="dedicated_max",
    ),
    Bound("actors.ray_directory.CALL_SECONDS_MAX", "503 `Overloaded`: nothing happened"),
    Bound("actors.ray_directory.AWAKE_SECONDS", "the list is asked for anew"),
    Bound("actors.ray_shell.START_SECONDS_MAX", "the caller asks again", "gift_ledger_actor_up"),
    Bound("actors.ray_shell.START_AGAIN_SECONDS", "a pause"),
    Bound("actors.ray_shell.TIDY_SECONDS", "the memory is searched for cycles"),
    Bound("actors.host.CLOSE_SECONDS_MAX", _UNKNOWN),
    Bound("actors.cluster.REPORT_SECONDS_MAX", "the actor is said to be unreachable", "gift_ledger_actor_up"),
    Bound("actors.cluster.RETRY_SECONDS", "a pause"),
    Bound("actors.cluster.CONNECT_SECONDS_MAX", "the start fails, and says so"),
    Bound("actors.cluster.START_SECONDS_MAX", "the start fails, and says so"),
    Bound("actors.cluster.STOP_SECONDS_MAX", "the actor is killed"),
    Bound("gateway.bridge_actors.START_SECONDS_MAX", "the start fails, and says so"),
    Bound("gateway.bridge_actors._REOPEN_SECONDS", "a pause"),
)
