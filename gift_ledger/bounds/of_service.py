"""Bounds of the log and of what runs the stack."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_SETTINGS: Final = "persistence.settings.StorageSettings"
_LOST: Final = "gift_ledger_shard_storage_lost_total"
_FAILS: Final = "the start fails, and says so"

LOG: Final = (
    Bound(
        "persistence.settings.TIMEOUT_SECONDS",
        "503 `StorageUnavailable`: repeat with the same key",
        _LOST,
        setting="redis_timeout_seconds",
    ),
    Bound("persistence.redis_scripts.WAIT_SHARE", "the append counts as lost", _LOST, "of the time-out"),
    Bound(
        f"{_SETTINGS}.connections_max",
        "calls wait for a free one, and then count as lost",
        _LOST,
        "connections",
        setting="redis_connections_max",
    ),
    Bound("persistence.keys.CONNECTIONS_MAX", "calls wait for a free one", unit="connections"),
    Bound("persistence.keys.ANSWER_SECONDS_MAX", "keys are read again; at last 503 `StorageUnavailable`"),
    Bound("persistence.log.PAGE_MAX", "the rest comes with the next call", unit="entries"),
    Bound("persistence.log.FAILURES_MAX", "the oldest is forgotten", "gift_ledger_sms_given_up_total", "messages"),
    Bound("persistence.reading.TAIL_PAGE", "others have their turn", unit="records"),
    Bound("persistence.redis_append.WORDS_MAX", "the script takes several commands", unit="words"),
    Bound("persistence.idempotency.KEPT_DAYS", "a key is new again"),
    Bound("persistence.idempotency.DAYS_AT_HAND_MAX", "a name is made anew", unit="days"),
    Bound("persistence.agreement.SETTLED_AFTER_MS", "`verify` calls it a finding"),
    Bound("persistence.comparison.TIMER_SLACK_MS", "`verify` calls it a finding"),
    Bound("persistence.reading.GROUP", "the others are read with the next one", unit="entities"),
    Bound("persistence.verification.LOOKS_MAX", "`verify` says that it cannot tell", unit="looks"),
    Bound("persistence.secrets_file.SECRETS_BYTES_MAX", _FAILS),
    Bound("persistence.vault.LOOK_SECONDS", "it looks whether the file has changed"),
)

STACK: Final = (
    Bound("gift_ledger.roles.OPEN_SECONDS_MAX", _FAILS),
    Bound("gift_ledger.roles.OPEN_AGAIN_SECONDS", "a pause"),
    Bound("gift_ledger.roles.WATCH_SECONDS", "a pause", "gift_ledger_actor_up"),
    Bound("gift_ledger.up.READY_SECONDS_MAX", "a warning; it goes on"),
    Bound("gift_ledger.up.CARRYING_SECONDS_MAX", "a warning; it goes on"),
    Bound("gift_ledger.up._POLL_SECONDS", "a pause"),
    Bound("gift_ledger.embedded.valkey.START_SECONDS_MAX", "it is started again"),
    Bound("gift_ledger.embedded.valkey.ANSWER_SECONDS_MAX", "it is asked again"),
    Bound("gift_ledger.embedded.valkey.STOP_SECONDS_MAX", "it is killed"),
    Bound("gift_ledger.embedded.valkey.RESTART_SECONDS", "a pause"),
    Bound("gift_ledger.embedded.valkey.RESTARTS_MAX", "the stack ends, and says so", unit="starts"),
    Bound("gift_ledger.embedded.valkey._POLL_SECONDS", "a pause"),
    Bound("gift_ledger.embedded.ray.OBJECT_STORE_BYTES", "nothing of ours goes there"),
    Bound("gift_ledger.embedded.ray.ANSWER_SECONDS_MAX", "it counts as away"),
    Bound("gift_ledger.embedded.ray.WATCH_SECONDS", "a pause"),
    Bound("gift_ledger.embedded.ray.LOOK_SECONDS_MAX", "the look counts as missed"),
    Bound("gift_ledger.embedded.ray.MISSED_MAX", "the stack ends, and says so", unit="looks"),
    Bound("gift_ledger.embedded.broker.ANSWER_SECONDS_MAX", _FAILS),
    Bound("gift_ledger.embedded.folder.LOCK_SECONDS_MAX", _FAILS),
    Bound("gift_ledger.embedded.folder._POLL_SECONDS", "a pause"),
    Bound("gift_ledger.cli.dlq.LIMIT_MAX", "the command refuses", unit="letters"),
    Bound("gift_ledger.cli.doctor.CHECK_SECONDS_MAX", "the check fails, and says so"),
    Bound("gift_ledger.cli.probes.PROBE_SECONDS", "the check fails, and says so"),
    Bound("gift_ledger.cli.running.PROBE_SECONDS", "it counts as away"),
)

RECOVERY: Final = (
    Bound("persistence.division.PROCESSES_MAX", "`verify` takes no more", unit="processes"),
    Bound("persistence.division.ENTITIES_EACH_MIN", "`verify` takes fewer processes", unit="entities"),
    Bound("persistence.division.TOLD_EVERY", "the bar moves", unit="entities"),
    Bound("persistence.division.END_SECONDS_MAX", "it is killed"),
    Bound("persistence.replication.CHUNK_BYTES", "the rest comes with the next one"),
    Bound("persistence.replication.LINE_BYTES_MAX", "the command fails, and says so"),
    Bound("persistence.replication.SILENCE_SECONDS_MAX", "the command fails, and says so"),
    Bound("persistence.archive.MANIFEST_BYTES_MAX", "the command says that it is no backup"),
    Bound("persistence.archive._CHUNK_BYTES", "the rest comes with the next one"),
    Bound("persistence.copying.KEYS_AT_ONCE", "the others are read with the next call", unit="keys"),
    Bound("persistence.copying.MEMBERS_AT_ONCE", "the others are read with the next call", unit="members"),
    Bound("persistence.fence.ENTRIES_AT_ONCE", "the others follow with the next command", unit="publications"),
    Bound("gift_ledger.recovery.copy.TIMEOUT_SECONDS", "the command fails, and says so"),
    Bound("gift_ledger.recovery.restore.CONNECTIONS_MAX", "calls wait for a free one", unit="connections"),
    Bound("gift_ledger.recovery.restore.KAFKA_SECONDS_MAX", "the restore is broken off, and says so"),
    Bound("gateway.offsets.ANSWER_SECONDS_MAX", "the command fails, and says so"),
    Bound("gateway.offsets.AGAIN_SECONDS", "a pause"),
    Bound("gateway.reconciliation.ENTITIES_AT_ONCE", "the topics are read once more for the others", unit="entities"),
    Bound("gateway.reconciliation.LISTED_MAX", "the others are counted only", unit="findings"),
    Bound("gateway.reconciliation.POLL_MS", "it looks whether that was all"),
    Bound("gateway.reconciliation.POLL_RECORDS_MAX", "the others come with the next call", unit="events"),
    Bound("gateway.republishing.CODES_AT_ONCE", "the others follow with the next group", unit="certificates"),
    Bound("gateway.republishing.LOOKS_MAX", "the command says which are unsettled", unit="looks"),
    Bound("gateway.republishing.DELIVERY_SECONDS_MAX", "the command fails, and says so"),
    Bound("persistence.rotation.DROP_AFTER_MS", "old keys may be dropped, if nothing needs them"),
    Bound("persistence.redis_files.POLL_SECONDS", "a pause"),
    Bound("gift_ledger.cli.rotation.PASSES_MAX", "`keys rotate-data --drop-old` says what is left", unit="passes"),
    Bound("gift_ledger.cli.personal.REWRITE_SECONDS_MAX", "`forget` says that the file is not rewritten yet"),
    Bound("gift_ledger.cli.reconciling.SHOWN_MAX", "`--json` has the others", unit="rows"),
)
