"""Bounds of the HTTP API."""

from typing import Final

from gift_ledger.bounds.bound import Bound

_SETTINGS: Final = "gateway.settings.GatewaySettings"
_PROBLEMS: Final = "gift_ledger_http_problems_total"

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
    Bound(f"{_SETTINGS}.keys_stale_seconds_max", "503 `StorageUnavailable` for everybody", _PROBLEMS),
    Bound(f"{_SETTINGS}.health_seconds", "what did not answer is said to be down"),
    Bound(f"{_SETTINGS}.health_cache_seconds", "it is found out anew"),
    Bound("gift_ledger.health.PART_SECONDS_MAX", "the part is said to be down"),
    Bound(
        "gateway.actor_metrics.ANSWER_SECONDS_MAX", "the figures of its last answer are told", "gift_ledger_actor_up"
    ),
    Bound("gateway.server.DATE_SECONDS", "a pause"),
    Bound("gateway.problems._RETRY_SECONDS", "callers come again after it"),
)
