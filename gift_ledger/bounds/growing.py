"""What grows while the service runs, queues, buffers and tables in memory, and what keeps each from growing on."""

from typing import Final

_PARTITIONS: Final = "one for each partition of the ledger or of Kafka"
_PEPPERS: Final = "255 peppers: their number is a byte"
_ROUND: Final = "one round: `GIFT_LEDGER_BATCH_MAX` commands"

GROWING: Final[dict[str, str]] = {
    "actors.channel._Frame._ready": "one frame: `GIFT_LEDGER_BATCH_MAX` commands",
    "actors.channel.ChannelServer._connections": "`actors.channel.CONNECTIONS_MAX`",
    "actors.errands.ErrandRunner._again": "`actors.errands.ENTITIES_MAX`: those that have a task",
    "actors.errands.ErrandRunner._tasks": "`actors.errands.ENTITIES_MAX`",
    "actors.issuer.Issuer._met": _PEPPERS,
    "actors.issuer.Issuer._reported": _PEPPERS,
    "actors.lane.Lane._bulk": "`GIFT_LEDGER_MAILBOX_MAX`, together with `_queue`",
    "actors.lane.Lane._queue": "`GIFT_LEDGER_MAILBOX_MAX`, together with `_bulk`",
    "actors.lane.Lane._sent": "one frame that the shard has not taken; of those before it, calls that wait for sales "
    "(`actors.sale.SALES_MAX`), for `GIFT_LEDGER_REQUEST_TIMEOUT_SECONDS`",
    "actors.ray_directory.RayDirectory._awake": "`GIFT_LEDGER_DEDICATED_MAX`",
    "actors.residents.Residents._held": "`GIFT_LEDGER_RESIDENTS_MAX`, looked at each `actors.host.PASSIVATION_SECONDS`",
    "actors.round.Draft.records": _ROUND,
    "actors.round.Round._data_keys": _ROUND,
    "actors.round.Round._messages": _ROUND,
    "actors.round.Round._outbox": _ROUND,
    "actors.round.Round._outcomes": _ROUND,
    "actors.round.Round.answers": _ROUND,
    "actors.round.Round.defects": _ROUND,
    "actors.round.Round.drafts": _ROUND,
    "actors.round.Round.wanted": _ROUND,
    "actors.router.Router._lanes": "one for each shard and dedicated actor; idle ones are closed",
    "actors.router.Router._seen": "`actors.router.SEEN_MAX`",
    "actors.sale.Sales._tasks": "`actors.sale.SALES_MAX`",
    "actors.shard.Shard._mailbox": "`GIFT_LEDGER_MAILBOX_MAX`; steps of sales, errands and timers come on top, whose "
    "numbers are bounded where they begin",
    "actors.timekeeper.Timekeeper._waiting": "`persistence.log.PAGE_MAX`: those that are due",
    "gateway.actor_metrics.ActorMetrics._last": "one for each shard and part of the bridge",
    "gateway.bulk.Trying._places": "the items of one bulk call",
    "gateway.bulk.Trying._trial_of": "the items of one bulk call",
    "gateway.crowd.Crowd._open": "`GIFT_LEDGER_HTTP_CONNECTIONS_MAX`: addresses with open connections",
    "gateway.cycle.Outgoing._held": "one response, in pieces",
    "gateway.guesses.Guesses._records": "`gateway.guesses.RECORDS_MAX`; those with calls under way stay",
    "gateway.guesses.Guesses._seen": "`gateway.guesses.SEEN_MAX`",
    "gateway.guesses.Guesses._tasks": "one question for each of `_records`, and one note for each right CVC under way",
    "gateway.inbox_progress.Progress._open": "`gateway.inbox_reading.SPAN_MAX` and one poll, for each partition",
    "gateway.inbox_progress.Progress._positions": _PARTITIONS,
    "gateway.inbox_reading.Reading._seen": _PARTITIONS,
    "gateway.inbox_work.InboxWork._lines": "`gateway.inbox_reading.WINDOW`",
    "gateway.inbox_work.InboxWork._tasks": "`gateway.inbox_reading.WINDOW`",
    "gateway.kafka_lanes.Lane._queue": "`gateway.relay.PARTITIONS_AT_ONCE` pages of `persistence.log.PAGE_MAX`, in all",
    "gateway.kafka_lanes.Lanes._lanes": _PARTITIONS,
    "gateway.kafka_lanes.Lanes._running": _PARTITIONS,
    "gateway.kafka_producer.ProducerKeeper._deliveries": "one batch on the way for each lane, and one dead letter for "
    "each input under way",
    "gateway.keyring.Keyring._admitted": "`gateway.keyring.TOKENS_MAX`",
    "gateway.keyring.Keyring._clients": "the API keys that operators have made",
    "gateway.keyring.Keyring._ends": "the API keys that operators have made",
    "gateway.keyring.Keyring._recent": "`gateway.keyring.RECENT_MAX`",
    "gateway.keyring.Keyring._used": "the API keys that operators have made",
    "gateway.metrics.Metrics._durations": "the names of the calls",
    "gateway.metrics.Metrics._seconds": "the names of the calls",
    "gateway.rates.Rates._buckets": "`gateway.rates.CLIENTS_MAX`",
    "gateway.record.Record.waiting": "`GIFT_LEDGER_HTTP_REQUESTS_MAX`",
    "gateway.relay.OutboxRelay._carried": "`gateway.relay.PARTITIONS_AT_ONCE`",
    "gateway.relay.OutboxRelay._held": _PARTITIONS,
    "gateway.relay.OutboxRelay._resting": _PARTITIONS,
    "gateway.signing_keys.SigningKeys._keys": "`gateway.jwks.KEYS_MAX`, for each algorithm",
    "gateway.sms.SmsSender._sending": "`gateway.sms.AT_ONCE_MAX`",
    "persistence.keys.MemoryKeyStore._used": "the API keys that a test has made",
    "gateway.trials.Trials._tasks": "`GIFT_LEDGER_HTTP_REQUESTS_MAX`",
    "persistence.redis_client._Direct._at_hand": "one connection",
}
"""By module, class and attribute."""
