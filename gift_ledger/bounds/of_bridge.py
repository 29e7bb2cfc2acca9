"""Bounds of what carries between the log and the outside: Kafka and SMS."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_WAITING: Final = "gift_ledger_outbox_waiting"
_WAITING_SECONDS: Final = "gift_ledger_outbox_waiting_seconds"
_LAG: Final = "gift_ledger_inbox_lag"
_RETRIES: Final = "gift_ledger_inbox_retries_total"
_SMS: Final = "gift_ledger_sms_waiting"

EVENTS_OUT: Final = (
    Bound("gateway.relay.PARTITIONS_AT_ONCE", "the others wait in the log", _WAITING, "partitions"),
    Bound("gateway.relay.PAGES_IN_A_ROW", "another partition has its turn", _WAITING, "pages"),
    Bound("gateway.relay.POLL_SECONDS", "a pause", _WAITING_SECONDS),
    Bound("gateway.relay.POLL_SHARE", "the pause becomes longer", _WAITING_SECONDS, "times a look"),
    Bound("gateway.relay.RETRY_SECONDS", "it is tried again, for ever", _WAITING_SECONDS),
    Bound("gateway.relay.HELD_SECONDS", "it is looked at again, for ever", "gift_ledger_outbox_held"),
    Bound("gateway.relay.DRAIN_SECONDS_MAX", "events under way go out a second time", _WAITING),
    Bound("gateway.kafka_lanes.BATCH_RECORDS_MAX", "the others wait for the next batch", _WAITING, "records"),
    Bound("gateway.kafka_producer.BATCH_BYTES_MAX", "the others wait for the next batch", _WAITING),
    Bound("gateway.kafka_lanes.ROUTE_SECONDS_MAX", "it is tried again, for ever", _WAITING_SECONDS),
    Bound(
        "gateway.kafka_lanes.REFUSED_SECONDS", "it is tried again, for ever; readiness is degraded", _WAITING_SECONDS
    ),
    Bound("gateway.kafka_lanes.STALLED_SECONDS", "readiness is degraded", _WAITING_SECONDS),
    Bound("gateway.kafka_producer.REQUEST_SECONDS_MAX", "aiokafka asks again", _WAITING_SECONDS),
    Bound("gateway.kafka_producer.DELIVERY_SECONDS_MAX", "a new producer sends it again", _WAITING_SECONDS),
    Bound("gateway.kafka_producer.START_SECONDS_MAX", "it is tried again after a pause", _WAITING_SECONDS),
    Bound("gateway.kafka_refusals.ASK_SECONDS_MAX", "readiness does not say why Kafka is away"),
    Bound("gateway.kafka_producer.CLOSE_SECONDS_MAX", "its tasks are cancelled"),
    Bound("gateway.kafka_producer.PROBE_SECONDS", "a pause"),
    Bound("gateway.kafka_producer.PROBE_SECONDS_MAX", "readiness is degraded"),
    Bound("gateway.kafka_producer.BACKOFF_SECONDS_MIN", "it is tried again, for ever", _WAITING_SECONDS),
    Bound("gateway.kafka_producer.BACKOFF_SECONDS_MAX", "it is tried again, for ever", _WAITING_SECONDS),
)

EVENTS_IN: Final = (
    Bound(
        "gateway.inbox_reading.WINDOW",
        "further ones wait on their topics",
        f"gift_ledger_inbox_in_flight {_LAG}",
        "records",
    ),
    Bound("gateway.inbox_reading.SPAN_MAX", "the partition is paused", _LAG, "records"),
    Bound("gateway.inputs.LINES_MAX", "the order becomes a dead letter", "gift_ledger_dead_letters_total", "lines"),
    Bound("gateway.inputs.NAME_CHARACTERS_MAX", "the order becomes a dead letter", "gift_ledger_dead_letters_total"),
    Bound("gateway.dead_letters.DETAIL_CHARACTERS_MAX", "the rest of the reason is left out"),
    Bound("gateway.dead_letters.KEY_BYTES_MAX", "the key is left out"),
    Bound("gateway.inbox_work.RETRY_SECONDS_MIN", "the ledger is asked again, for ever", _RETRIES),
    Bound("gateway.inbox_work.RETRY_SECONDS_MAX", "the ledger is asked again, for ever", _RETRIES),
    Bound("gateway.inbox_reading.POLL_SECONDS", "a pause", _LAG),
    Bound("gateway.inbox_reading.REASSIGNMENT_SECONDS", "it polls again", _LAG),
    Bound("gateway.inbox_reading.COMMIT_SECONDS", "what is done is committed"),
    Bound("gateway.inbox_reading.WATCH_SECONDS", "a pause", _LAG),
    Bound("gateway.inbox_reading.STUCK_SECONDS", "a new consumer reads on", _LAG),
    Bound("gateway.inbox_reading.ANSWER_SECONDS_MAX", "it is tried again, with a new consumer if need be", _LAG),
    Bound("gateway.inbox_reading.LOOK_SECONDS_MAX", "readiness is degraded", _LAG),
    Bound("gateway.inbox_reading.SETTLE_SECONDS_MAX", "they are read and applied again", _LAG),
    Bound("gateway.kafka_consumer.SESSION_SECONDS", "another member reads on", _LAG),
    Bound("gateway.kafka_consumer.HEARTBEAT_SECONDS", "a pause"),
    Bound("gateway.kafka_consumer.REBALANCE_SECONDS_MAX", "whoever is late is left out", _LAG),
    Bound("gateway.kafka_consumer.METADATA_SECONDS", "a pause"),
    Bound("gateway.kafka_consumer.FETCH_SECONDS_MAX", "the broker answers with what it has"),
    Bound("gateway.kafka_consumer.STOP_SECONDS_MAX", "its parts are cut off"),
    Bound("gateway.kafka_consumer.CUT_SECONDS_MAX", "they are left behind"),
    Bound("gateway.dead_letter_desk.ANSWER_SECONDS_MAX", "the command fails, and says so"),
)

SMS: Final = (
    Bound("gateway.sms.AT_ONCE_MAX", "the others wait in the log", f"gift_ledger_sms_in_flight {_SMS}", "messages"),
    Bound("gateway.sms.POLL_SECONDS", "a pause", _SMS),
    Bound("gateway.sms.STORAGE_SECONDS", "a pause", _SMS),
    Bound("gateway.sms.SEND_SECONDS_MAX", "it is tried again later", "gift_ledger_sms_retried_total"),
    Bound("gateway.sms.ANSWER_BYTES_MAX", "the rest is not read"),
    Bound("gateway.sms.RETRY_MS_MIN", "it is tried again", "gift_ledger_sms_retried_total"),
    Bound("gateway.sms.RETRY_MS_MAX", "it is tried again", "gift_ledger_sms_retried_total"),
    Bound("gateway.sms.DOUBLINGS_MAX", "the pause grows no more", unit="doublings"),
    Bound("gateway.sms.GIVE_UP_MS", "it is given up; support sends a new CVC", "gift_ledger_sms_given_up_total"),
    Bound("gateway.sms.DRAIN_SECONDS_MAX", "it goes out again, under the same key", _SMS),
)
