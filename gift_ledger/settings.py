"""All settings of the service, each with its bounds and what it is for: the one definition behind code, help and docs.

:mod:`gift_ledger.sources` reads them, once; each room gets a struct of its own, made here.
"""

import os
import re
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

from actors.settings import SOCKET_PATH_BYTES_MAX, ActorSettings, Channel, Placement
from gateway.bridge_settings import BridgeSettings
from gateway.settings import GatewaySettings
from gift_ledger.endpoints import Endpoints
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS
from ledger.policy import Policy
from persistence.settings import StorageSettings

SOCKET_NAME_BYTES_MAX: Final = 40
"""Room that ``run_dir`` has to leave for the name of a socket, e.g. ``certificates-00-4711.sock``."""


class SettingsError(Exception):
    """A setting is unknown, missing, or has a value that it cannot have. The message says which one and what to do."""


def about(group: str, description: str, *, secret: bool = False, **bounds: Any) -> Meta:  # noqa: ANN401 - msgspec's own
    """Describe a setting; ``bounds`` are those of :class:`msgspec.Meta`. A secret one is never printed."""
    return Meta(description=description, extra={"group": group, "secret": secret}, **bounds)


def _matching(pattern: str, form: str) -> Meta:
    """A text of a form; ``form`` says it in words."""
    return Meta(pattern=pattern, extra={"form": form})


_SERVICE: Final = "Service"
_HTTP: Final = "HTTP"
_REDIS: Final = "Redis"
_KAFKA: Final = "Kafka"
_SMS: Final = "SMS"
_ACTORS: Final = "Actors"
_RULES: Final = "Business rules"

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(ge=0.001, le=86_400.0)]
Days = Annotated[float, Meta(ge=0.0001, le=36_500.0)]
Hours = Annotated[float, Meta(ge=0.0001, le=87_600.0)]
Topic = Annotated[str, _matching(r"^[A-Za-z0-9._-]{1,249}$", "1 to 249 characters of A-Z a-z 0-9 . _ -")]
Prefix = Annotated[str, _matching(r"^[A-Za-z0-9._-]{1,32}$", "1 to 32 characters of A-Z a-z 0-9 . _ -")]
RedisUrl = Annotated[str, _matching(r"^(rediss?|unix)://.", "an address such as redis://HOST:6379/0")]
WebUrl = Annotated[str, _matching(r"^https?://[^/]", "an address such as https://HOST/PATH")]
Brokers = Annotated[
    str, _matching(r"^[^\s:,]+:[0-9]{1,5}(,[^\s:,]+:[0-9]{1,5})*$", "HOST:PORT, or several with commas between them")
]
RayAddress = Annotated[str, _matching(r"^([^\s:,/]+:[0-9]{1,5})?$", "HOST:PORT, or nothing")]


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting by its name; its environment variable is ``GIFT_LEDGER_`` and the name in capitals."""

    data_dir: Annotated[Text, about(_SERVICE, "Folder of secrets, keys, endpoints and the embedded servers' data.")] = (
        ".gift-ledger"
    )
    secrets_path: Annotated[
        str | None,
        about(_SERVICE, "File with the pepper and the sealing keys, mode 0600. Unset: secrets.json in data_dir."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], about(_SERVICE, "Least serious lines that are logged.")
    ] = "info"

    http_host: Annotated[Text, about(_HTTP, "Address that the gateway listens on.")] = "127.0.0.1"
    http_port: Annotated[Port, about(_HTTP, "Port of the gateway; 0: any free one.")] = 8080
    http_requests_max: Annotated[
        int, about(_HTTP, "Most requests under way at a time; more are told to come back.", ge=1, le=1_000_000)
    ] = 4_096
    http_connections_max: Annotated[
        int, about(_HTTP, "Most open connections; a further one is told to come back, and closed.", ge=1, le=1_000_000)
    ] = 10_000
    http_bulk_items_max: Annotated[
        int,
        about(_HTTP, "Most items of bulk calls under way at a time; more are told to come back.", ge=1, le=1_000_000),
    ] = 4_096
    http_bulk_bytes_max: Annotated[
        int, about(_HTTP, "Longest body of a bulk call, in bytes.", ge=16_384, le=16_777_216)
    ] = 1_048_576
    http_idle_seconds: Annotated[Seconds, about(_HTTP, "A connection without requests is closed after this.")] = 75.0
    http_drain_seconds: Annotated[Seconds, about(_HTTP, "Time for requests under way when the gateway stops.")] = 5.0
    keys_refresh_seconds: Annotated[
        float, about(_HTTP, "How often API keys are read: how soon a revoked one is refused.", ge=0.1, le=30.0)
    ] = 2.0

    redis_url: Annotated[
        RedisUrl | None,
        about(_REDIS, "Redis or Valkey that keeps the ledger. Unset: an embedded one.", secret=True),
    ] = None
    redis_prefix: Annotated[Prefix, about(_REDIS, "First part of all keys: two ledgers on one server need two.")] = "gl"
    partitions: Annotated[
        int, about(_REDIS, "Partitions of the ledger, fixed for life: only used when it is made.", ge=1, le=4_096)
    ] = 32
    redis_timeout_seconds: Annotated[Seconds, about(_REDIS, "After this a call without an answer counts as lost.")] = (
        5.0
    )
    redis_connections_max: Annotated[int, about(_REDIS, "Most connections of one process.", ge=1, le=1_000)] = 8
    redis_replicas: Annotated[
        int, about(_REDIS, "Replicas that have a write on disk before it counts; 0: the primary alone.", ge=0, le=16)
    ] = 0
    redis_allow_unsafe: Annotated[
        bool, about(_REDIS, "Run on a server that may lose what it acknowledged. For trying things out.")
    ] = False

    kafka_bootstrap: Annotated[Brokers | None, about(_KAFKA, "Brokers to begin with. Unset: an embedded broker.")] = (
        None
    )
    kafka_group: Annotated[Topic, about(_KAFKA, "Consumer group that orders and payments are read in.")] = "gift-ledger"
    topic_sales_orders: Annotated[Topic, about(_KAFKA, "Orders, in.")] = "All_SalesOrder"
    topic_payments: Annotated[Topic, about(_KAFKA, "Payments, in.")] = "All_Payments"
    topic_states: Annotated[Topic, about(_KAFKA, "States of certificates, out (cleanup.policy=compact).")] = (
        "GiftCertificateState"
    )
    topic_transactions: Annotated[Topic, about(_KAFKA, "Transactions, out.")] = "GiftCertificateTransaction"
    topic_dead_letters: Annotated[Topic, about(_KAFKA, "Inputs that can never be applied, out.")] = (
        "GiftCertificateProcessing.DeadLetter"
    )

    sms_url: Annotated[
        WebUrl | None, about(_SMS, "SMS gateway that messages are posted to. Unset: an inbox.", secret=True)
    ] = None

    cores_apart: Annotated[
        bool,
        about(_ACTORS, "`up` on two cores, with one shard: the gateway stays on the one, the shard on the other."),
    ] = True
    placement: Annotated[
        Placement, about(_ACTORS, "shared: certificates share shards. dedicated: a Ray actor (55 MB) for each.")
    ] = "shared"
    shards: Annotated[
        int,
        about(
            _ACTORS,
            "Ray actors that host certificates: one for each two cores, the same number everywhere.",
            ge=1,
            le=1_024,
        ),
    ] = 1
    dedicated_max: Annotated[
        int, about(_ACTORS, "Most dedicated Ray actors at a time, at 55 MB each.", ge=1, le=100_000)
    ] = 64
    residents_max: Annotated[
        int, about(_ACTORS, "Most certificates and orders in a shard's memory, 1 to 2 KB each.", ge=1, le=10_000_000)
    ] = 200_000
    idle_seconds: Annotated[
        float, about(_ACTORS, "Idle time after which a certificate leaves memory.", ge=1.0, le=604_800.0)
    ] = 600.0
    batch_max: Annotated[int, about(_ACTORS, "Most commands that one append holds.", ge=1, le=4_096)] = 512
    mailbox_max: Annotated[
        int, about(_ACTORS, "Most commands that wait in a shard; more are told to come back.", ge=1, le=1_000_000)
    ] = 8_192
    snapshot_every: Annotated[
        int, about(_ACTORS, "Records between two snapshots of a certificate.", ge=1, le=100_000)
    ] = 200
    timer_poll_seconds: Annotated[float, about(_ACTORS, "Time between two looks at the timers.", ge=0.01, le=60.0)] = (
        0.25
    )
    request_timeout_seconds: Annotated[
        Seconds, about(_ACTORS, "After this a command without an answer has an unknown outcome.")
    ] = 5.0
    channel: Annotated[
        Channel, about(_ACTORS, "unix: sockets, on one machine. tcp: between machines, with a token.")
    ] = "unix"
    channel_host: Annotated[
        Text, about(_ACTORS, "Address that shards listen on with tcp; auto: the one that Ray knows their machine by.")
    ] = "127.0.0.1"
    channel_token_path: Annotated[
        str | None,
        about(_ACTORS, "File with the token of tcp, mode 0600, the same everywhere. Unset: channel.token in data_dir."),
    ] = None
    run_dir: Annotated[
        str | None,
        about(_ACTORS, "Folder of the unix sockets; its path has to be short. Unset: one in the temporary folder."),
    ] = None
    ray_address: Annotated[RayAddress, about(_ACTORS, "HOST:PORT of a Ray cluster. Empty: a local one.")] = ""
    ray_namespace: Annotated[Text, about(_ACTORS, "Ray namespace: two ledgers on one cluster need two.")] = (
        "gift-ledger"
    )
    dashboard_port: Annotated[Port, about(_ACTORS, "Port of the local Ray's dashboard.")] = 8265

    reservation_hours: Annotated[Hours, about(_RULES, "A reservation lapses after this if nothing was collected.")] = (
        24.0
    )
    certificate_lifetime_days: Annotated[Days, about(_RULES, "From activation to expiry.")] = 365.0
    void_after_expiry_days: Annotated[
        float, about(_RULES, "How long after expiry a capture can still be voided.", ge=0.0, le=36_500.0)
    ] = 30.0
    hold_seconds: Annotated[int, about(_RULES, "Life of a hold whose authorization names none.", ge=60, le=604_800)] = (
        900
    )
    cvc_attempts_free: Annotated[
        int, about(_RULES, "Wrong CVCs in a row after which attempts are locked.", ge=1, le=10)
    ] = 3
    cvc_lock_first_seconds: Annotated[Seconds, about(_RULES, "First lock; it doubles each time.")] = 30.0
    cvc_lock_max_seconds: Annotated[Seconds, about(_RULES, "Longest lock.")] = 3_600.0
    errand_retry_seconds: Annotated[
        Seconds, about(_RULES, "When work that an order owes its certificates is tried again.")
    ] = 2.0

    def contradictions(self) -> list[str]:
        """What is wrong between settings that are each valid; empty if nothing is."""
        found = [
            f"{name} is no address: {wrong}. Write what is special in a user or password as %XX, e.g. %2F for a slash."
            for name, url in (("redis_url", self.redis_url), ("sms_url", self.sms_url))
            if url is not None and (wrong := _wrong_with(url))
        ]
        if len(set(self.topics())) < len(self.topics()):
            found.append("Two topics have the same name: give each of the topic_… settings its own.")
        if self.cvc_lock_first_seconds > self.cvc_lock_max_seconds:
            found.append("cvc_lock_first_seconds is above cvc_lock_max_seconds: lower the first or raise the other.")
        if self.request_timeout_seconds < self.redis_timeout_seconds:
            found.append("request_timeout_seconds is below redis_timeout_seconds: raise the first or lower the other.")
        longest = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES_MAX
        if self.channel == "unix" and len(os.fsencode(self.run_path)) > longest:
            found.append(
                f"run_dir: {self.run_path} is too long for sockets, at most {longest} bytes: set a shorter one."
            )
        return found

    @property
    def data_path(self) -> Path:
        """The data folder, absolute: Ray's workers run elsewhere."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def secrets_file(self) -> Path:
        """The file of pepper and data keys, absolute."""
        return self._path(self.secrets_path, "secrets.json")

    @property
    def run_path(self) -> Path:
        """The folder of the sockets, absolute; two data folders on one machine have two."""
        if self.run_dir is not None:
            return Path(self.run_dir).expanduser().absolute()
        name = blake2b(os.fsencode(self.data_path), digest_size=4).hexdigest()
        return Path(tempfile.gettempdir()) / f"gift-ledger-{os.getuid()}-{name}"

    def topics(self) -> tuple[str, ...]:
        """The names of all topics."""
        return tuple(str(getattr(self, name)) for name in self.__struct_fields__ if name.startswith("topic_"))

    def at(self, endpoints: Endpoints) -> "Settings":
        """These settings with what is unset filled in from a running stack."""
        return replace(
            self,
            redis_url=self.redis_url or endpoints.redis,
            kafka_bootstrap=self.kafka_bootstrap or endpoints.kafka,
            sms_url=self.sms_url or endpoints.sms_inbox or None,
            ray_address=self.ray_address or endpoints.ray,
        )

    def storage(self) -> StorageSettings:
        """How the log is reached.

        Raises:
            SettingsError: no address of Redis is known.
        """
        if self.redis_url is None:
            raise SettingsError(
                "redis_url is not set: set GIFT_LEDGER_REDIS_URL, or start a stack with `gift-ledger up`."
            )
        return StorageSettings(
            redis_url=self.redis_url,
            partitions=self.partitions,
            prefix=self.redis_prefix,
            timeout_seconds=self.redis_timeout_seconds,
            connections_max=self.redis_connections_max,
            replicas=self.redis_replicas,
            allow_unsafe=self.redis_allow_unsafe,
            secrets_path=str(self.secrets_file),
        )

    def actors(self) -> ActorSettings:
        """Placement and bounds of the actors."""
        return ActorSettings(
            placement=self.placement,
            shards=self.shards,
            dedicated_max=self.dedicated_max,
            namespace=self.ray_namespace,
            ray_address=self.ray_address,
            residents_max=self.residents_max,
            idle_seconds=self.idle_seconds,
            batch_max=self.batch_max,
            mailbox_max=self.mailbox_max,
            snapshot_every=self.snapshot_every,
            timer_poll_seconds=self.timer_poll_seconds,
            request_timeout_seconds=self.request_timeout_seconds,
            channel=self.channel,
            channel_host=self.channel_host,
            run_dir=str(self.run_path),
            channel_token_path=str(self._path(self.channel_token_path, "channel.token")),
        )

    def http(self) -> GatewaySettings:
        """How the HTTP gateway listens."""
        return GatewaySettings(
            host=self.http_host,
            port=self.http_port,
            # a little more than the ledger's own time-out, which knows better what happened
            deadline_seconds=self.request_timeout_seconds + 1.0,
            requests_in_flight_max=self.http_requests_max,
            connections_max=self.http_connections_max,
            bulk_items_in_flight_max=self.http_bulk_items_max,
            bulk_body_bytes_max=self.http_bulk_bytes_max,
            idle_seconds=self.http_idle_seconds,
            drain_seconds=self.http_drain_seconds,
            keys_refresh_seconds=self.keys_refresh_seconds,
        )

    def bridge(self) -> BridgeSettings:
        """Where Kafka and the SMS gateway are.

        Raises:
            SettingsError: no address of Kafka is known.
        """
        if self.kafka_bootstrap is None:
            raise SettingsError(
                "kafka_bootstrap is not set: set GIFT_LEDGER_KAFKA_BOOTSTRAP, or start a stack with `gift-ledger up`."
            )
        return BridgeSettings(
            bootstrap=self.kafka_bootstrap,
            group=self.kafka_group,
            sales_orders=self.topic_sales_orders,
            payments=self.topic_payments,
            states=self.topic_states,
            transactions=self.topic_transactions,
            dead_letters=self.topic_dead_letters,
            sms_url=self.sms_url or "",
        )

    def policy(self) -> Policy:
        """The numbers of the business."""
        return Policy(
            reservation_ttl_ms=round(self.reservation_hours * HOUR_MS),
            certificate_lifetime_ms=round(self.certificate_lifetime_days * DAY_MS),
            void_after_expiry_ms=round(self.void_after_expiry_days * DAY_MS),
            hold_ttl_ms=self.hold_seconds * SECOND_MS,
            cvc_attempts_free=self.cvc_attempts_free,
            cvc_lock_first_ms=round(self.cvc_lock_first_seconds * SECOND_MS),
            cvc_lock_max_ms=round(self.cvc_lock_max_seconds * SECOND_MS),
            errand_retry_ms=round(self.errand_retry_seconds * SECOND_MS),
        )

    def _path(self, given: str | None, name: str) -> Path:
        return self.data_path / name if given is None else Path(given).expanduser().absolute()


def _wrong_with(url: str) -> str:
    """What keeps an address from being one, without a word of it, since it may hold a password; empty if nothing."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is only read when asked for
    except ValueError:
        return "its port is no number from 0 to 65535"
    if parts.scheme == "unix":
        return ""
    if not parts.hostname:
        return "it names no host"
    if parts.scheme.startswith("redis") and not re.fullmatch(r"/?[0-9]*", parts.path):
        return "its path is no number of a database"  # redis-py would take database 0 without a word
    return ""
