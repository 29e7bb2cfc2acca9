"""Bounds of the HTTP API."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_SETTINGS: Final = "gateway.settings.GatewaySettings"
_PROBLEMS: Final = "gift_ledger_http_problems_total"
_LIMITED: Final = "gift_ledger_http_limited_total"
_NOTHING: Final = "nothing happened"

HTTP: Final = (
    Bound(
        f"{_SETTINGS}.requests_in_flight_max",
        "503 `Overloaded`: nothing happened",
        "gift_ledger_http_requests_in_flight",
        "requests",
        setting="http_requests_max",
    ),
    Bound(
        f"{_SETTINGS}.connections_max",
        "503 `Overloaded`, and the connection is closed",
        "gift_ledger_http_connections gift_ledger_http_connections_refused_total",
        "connections",
        setting="http_connections_max",
    ),
    Bound(
        f"{_SETTINGS}.connections_address_max",
        "503 `Overloaded`, and the connection is closed",
        "gift_ledger_http_connections_refused_total",
        "connections",
        setting="http_connections_address_max",
    ),
    Bound("gateway.server.BACKLOG", "the kernel lets further ones wait, or refuses them", unit="connections"),
    Bound(
        f"{_SETTINGS}.bulk_items_in_flight_max",
        "items beyond it get 503 `Overloaded`",
        "gift_ledger_http_items_in_flight",
        "items",
        setting="http_bulk_items_max",
    ),
    Bound("gateway.bulk.REQUESTS_MAX", "503 `Overloaded`", _PROBLEMS, "bulk calls"),
    Bound("gateway.bulk_requests.ITEMS_MAX", "400 `InvalidRequest`", _PROBLEMS, "items"),
    Bound("gateway.bulk.KINDS_LOGGED_MAX", "further kinds are counted, not logged", unit="lines of log"),
    Bound(f"{_SETTINGS}.head_bytes_max", "413 `RequestTooLarge`, and the connection is closed", _PROBLEMS),
    Bound(f"{_SETTINGS}.body_bytes_max", "413 `RequestTooLarge`", _PROBLEMS),
    Bound(f"{_SETTINGS}.bulk_body_bytes_max", "413 `RequestTooLarge`", _PROBLEMS, setting="http_bulk_bytes_max"),
    Bound("gateway.bodies._LENGTH_DIGITS_MAX", "413 `RequestTooLarge`", _PROBLEMS, "digits"),
    Bound("gateway.bodies.FAULTS_MAX", "further parts at fault are not told", unit="faults"),
    Bound("gateway.requests.IDENTIFIER_CHARACTERS_MAX", "400 `InvalidRequest`, naming the field", _PROBLEMS),
    Bound("gateway.requests.TEXT_CHARACTERS_MAX", "400 `InvalidRequest`, naming the field", _PROBLEMS),
    Bound("gateway.requests.TTL_SECONDS_MIN", "400 `InvalidRequest`, naming the field", _PROBLEMS),
    Bound("gateway.requests.TTL_SECONDS_MAX", "400 `InvalidRequest`, naming the field", _PROBLEMS),
    Bound("gateway.reads.LIMIT_MAX", "400 `InvalidRequest`, naming the field", _PROBLEMS, "operations"),
    Bound("gateway.exchange._INSTANCE_CHARACTERS_MAX", "the rest of the path is left out"),
    Bound("gateway.keyring._KEY_BYTES_MAX", "401 `Unauthenticated`", _PROBLEMS),
    Bound("gateway.keyring.USED_SECONDS", "a pause; `keys list` shows the last use so much later"),
    Bound("gateway.keyring.RECENT_MAX", "further ones are hashed at each request", unit="headers"),
    Bound(f"{_SETTINGS}.receive_seconds", "408 `RequestTimeout`, and the connection is closed", _PROBLEMS),
    Bound(f"{_SETTINGS}.deadline_seconds", "503 `StorageUnavailable`: repeat with the same key", _PROBLEMS),
    Bound(f"{_SETTINGS}.idle_seconds", "the connection is closed", setting="http_idle_seconds"),
    Bound("gateway.connection.LINGER_SECONDS", "the connection is closed"),
    Bound(
        f"{_SETTINGS}.drain_seconds",
        "503 `StorageUnavailable`: repeat with the same key",
        setting="http_drain_seconds",
    ),
    Bound(
        f"{_SETTINGS}.keys_refresh_seconds",
        "a pause; a read that takes longer is given up",
        setting="keys_refresh_seconds",
    ),
    Bound(f"{_SETTINGS}.keys_refresh_seconds_min", "401 `Unauthenticated` without another look", _PROBLEMS),
    Bound(
        f"{_SETTINGS}.keys_stale_seconds_max",
        "503 `StorageUnavailable` for everybody",
        _PROBLEMS,
        setting="keys_stale_seconds",
    ),
    Bound(f"{_SETTINGS}.health_seconds", "what did not answer is said to be down"),
    Bound(f"{_SETTINGS}.health_cache_seconds", "it is found out anew"),
    Bound("gift_ledger.health.PART_SECONDS_MAX", "the part is said to be down"),
    Bound(
        "gateway.actor_metrics.ANSWER_SECONDS_MAX", "the figures of its last answer are told", "gift_ledger_actor_up"
    ),
    Bound("gateway.addresses.IPV6_PREFIX_BITS", "the rest of an address does not count", unit="bits"),
    Bound("gateway.addresses.HOPS_MAX", "the header is not believed: the proxy's own address counts", unit="addresses"),
    Bound("gateway.addresses.KNOWN_MAX", "the oldest is found out again", unit="addresses"),
    Bound("gateway.addresses.FORWARDED_KEPT_BYTES_MAX", "the header is read anew for each request"),
    Bound("gateway.server.DATE_SECONDS", "a pause"),
    Bound("gateway.problems._RETRY_SECONDS", "callers come again after it"),
)

GUESSING: Final = (
    Bound(f"{_SETTINGS}.guess_window_seconds", "it counts no longer", setting="guess_window_seconds"),
    Bound(
        f"{_SETTINGS}.guess_address_wrong_max",
        f"429 `RateLimited` for a CVC from this address: {_NOTHING}",
        f"{_LIMITED} gift_ledger_http_cvc_wrong_total",
        "wrong CVCs",
        setting="guess_address_wrong_max",
    ),
    Bound(
        f"{_SETTINGS}.guess_client_wrong_max",
        f"429 `RateLimited` for a CVC of this client, but for addresses with a good record: {_NOTHING}",
        f"{_LIMITED} gift_ledger_http_cvc_wrong_total",
        "wrong CVCs",
        setting="guess_client_wrong_max",
    ),
    Bound(
        f"{_SETTINGS}.guess_right_per_wrong",
        "another wrong one is allowed",
        unit="certificates",
        setting="guess_right_per_wrong",
    ),
    Bound("gateway.guesses.EARNED_MAX", "no more are earned", _LIMITED, "wrong CVCs"),
    Bound("gateway.guesses.RECORDS_MAX", "the oldest is forgotten, and asked for again", unit="clients and addresses"),
    Bound("gateway.guesses.SEEN_MAX", "the oldest may count once more", unit="certificates"),
    Bound("gateway.guesses.WAIT_SECONDS_MAX", f"503 `Overloaded`: {_NOTHING}", _LIMITED),
    Bound("gateway.guesses.CLOSED_SECONDS", "it is tried again", _LIMITED),
    Bound("gateway.record.STALE_SECONDS", "the next CVC waits until it is found out"),
    Bound("gateway.record.REFRESH_SECONDS", "it is found out while calls go on"),
    Bound("gateway.record.STRIDE_PART", "the next CVC waits until it is found out", unit="th part of what is allowed"),
    Bound("gateway.record.STRIDE_MIN", "the next CVC waits until it is found out", unit="CVCs"),
    Bound("gateway.trials.VEIL_SECONDS_MIN", "a refusal leaves"),
    Bound("gateway.trials.VEIL_SECONDS_MAX", "a refusal leaves; one that took longer, after as long again"),
    Bound("persistence.windows.CONNECTIONS_MAX", "a question waits for one that is free", unit="connections"),
    Bound(
        "persistence.windows.ANSWER_SECONDS_MAX",
        "503 `Overloaded` for a CVC, but from addresses with a good record",
        _LIMITED,
    ),
)
