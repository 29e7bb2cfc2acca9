"""All settings of the service, each with its bounds and what it is for: the one definition behind code, help and docs.

:mod:`gift_ledger.sources` reads them, once; each room gets a struct of its own, made here.
"""

import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from actors.settings import SOCKET_PATH_BYTES_MAX, ActorSettings, Channel, Placement
from gateway.bridge_settings import BridgeSettings
from gateway.settings import GatewaySettings
from gift_ledger.endpoints import Endpoints
from gift_ledger.given_addresses import wrong_with_networks, wrong_with_url
from gift_ledger.setting_kinds import (
    Brokers,
    Days,
    Hours,
    Port,
    Prefix,
    Prefixes,
    RayAddress,
    RedisUrl,
    Seconds,
    Text,
    Topic,
    WebUrl,
    about,
)
from ledger.codes import Salable
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS
from ledger.policy import Policy
from persistence.settings import StorageSettings

SOCKET_NAME_BYTES_MAX: Final = 40
"""Room that ``run_dir`` has to leave for the name of a socket, e.g. ``certificates-00-4711.sock``."""


class SettingsError(Exception):
    """A setting is unknown, missing, or has a value that it cannot have. The message says which one and what to do."""


_SERVICE: Final = "Service"
_HTTP: Final = "HTTP"
_REDIS: Final = "Redis"
_KAFKA: Final = "Kafka"
_SMS: Final = "SMS"
_ACTORS: Final = "Actors"
_RULES: Final = "Business rules"


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting by its name; its environment variable is ``GIFT_LEDGER_`` and the name in capitals."""

    data_dir: Annotated[Text, about(_SERVICE, "Folder of secrets, keys, endpoints and the embedded servers' data.")] = (
        ".gift-ledger"
    )
    secrets_path: Annotated[
        str | None,
        about(_SERVICE, "File with the pepper and the data key, mode 0600. Unset: secrets.json in data_dir."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], about(_SERVICE, "Least serious lines that are logged.")
    ] = "info"

    http_host: Annotated[Text, about(_HTTP, "Address that the gateway listens on.")] = "127.0.0.1"
    http_port: Annotated[Port, about(_HTTP, "Port of the gateway; 0: any free one.")] = 8080
    http_tls_cert: Annotated[
        Text | None,
        about(_HTTP, "File with the gateway's certificate (PEM, its issuers' after it). Unset: plain HTTP."),
    ] = None
    http_tls_key: Annotated[Text | None, about(_HTTP, "File with the certificate's key (PEM, not encrypted).")] = None
    http_requests_max: Annotated[
        int, about(_HTTP, "Most requests under way at a time; more are told to come back.", ge=1, le=1_000_000)
    ] = 4_096
    http_connections_max: Annotated[
        int, about(_HTTP, "Most open connections; a further one is told to come back, and closed.", ge=1, le=1_000_000)
    ] = 10_000
    http_connections_address_max: Annotated[
        int, about(_HTTP, "Most open connections of one address; trusted proxies have more.", ge=1, le=1_000_000)
    ] = 2_000
    http_trusted_proxies: Annotated[
        str,
        about(
            _HTTP, "Addresses or networks, with commas, of proxies and storefronts' servers that say for whom they ask."
        ),
    ] = ""
    http_rate_per_second: Annotated[
        float, about(_HTTP, "Requests a second of one client on one gateway; 0: any number.", ge=0.0, le=100_000.0)
    ] = 0.0
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
        float,
        about(_HTTP, "How often API keys are read: a revoked one works twice this at most.", ge=0.1, le=30.0),
    ] = 2.0
    keys_stale_seconds: Annotated[
        float,
        about(
            _HTTP,
            "How long a gateway that cannot read API keys trusts those it knows; a revoked one works as long there.",
            ge=1.0,
            le=3_600.0,
        ),
    ] = 30.0

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
    guess_window_seconds: Annotated[
        int, about(_RULES, "How long wrong and right CVCs count for client and address.", ge=60, le=86_400)
    ] = 3_600
    guess_address_wrong_max: Annotated[
        int, about(_RULES, "Wrong CVCs of one client from one address in that time.", ge=1, le=10_000)
    ] = 20
    guess_client_wrong_max: Annotated[
        int, about(_RULES, "Wrong CVCs of one client in that time, whatever addresses they come from.", ge=1, le=10_000)
    ] = 100
    guess_right_per_wrong: Annotated[
        int, about(_RULES, "Certificates whose right CVCs earn one further wrong one.", ge=1, le=10_000)
    ] = 20
    cvc_attempts_free: Annotated[
        int, about(_RULES, "Wrong CVCs in a row after which attempts are locked.", ge=1, le=10)
    ] = 3
    cvc_lock_first_seconds: Annotated[Seconds, about(_RULES, "First lock; it doubles each time.")] = 30.0
    cvc_lock_max_seconds: Annotated[Seconds, about(_RULES, "Longest lock.")] = 3_600.0
    codes: Annotated[
        Literal["any", "checked", "imported"],
        about(
            _RULES,
            "Codes that are sold: any; checked: our own, from `codes generate`; imported: of batches from `codes "
            "import`. Unless any, a code of ours with a wrong check character is refused without a look-up.",
        ),
    ] = "any"
    codes_prefixes: Annotated[Prefixes, about(_RULES, "First parts of our own codes, with commas between them.")] = "GC"
    errand_retry_seconds: Annotated[
        Seconds, about(_RULES, "When work that an order owes its certificates is tried again.")
    ] = 2.0

    def contradictions(self) -> list[str]:
        """What is wrong between settings that are each valid; empty if nothing is."""
        found = [
            f"{name} is no address: {wrong}. Write what is special in a user or password as %XX, e.g. %2F for a slash."
            for name, url in (("redis_url", self.redis_url), ("sms_url", self.sms_url))
            if url is not None and (wrong := wrong_with_url(url))
        ]
        if wrong := wrong_with_networks(self.http_trusted_proxies):
            found.append(f"http_trusted_proxies: {wrong}. Write networks, or addresses, with commas between them.")
        if len(set(self.topics())) < len(self.topics()):
            found.append("Two topics have the same name: give each of the topic_… settings its own.")
        if (self.http_tls_cert is None) != (self.http_tls_key is None):
            found.append("http_tls_cert and http_tls_key belong together: set both, or neither.")
        if self.keys_stale_seconds < 2 * self.keys_refresh_seconds:
            found.append("keys_stale_seconds is below twice keys_refresh_seconds: raise the first or lower the other.")
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
    def http_certificate(self) -> str:
        """The file of the gateway's certificate, absolute; empty if it speaks plain HTTP."""
        return str(self._path(self.http_tls_cert, "")) if self.http_tls_cert else ""

    @property
    def run_path(self) -> Path:
        """The folder of the sockets, absolute; two data folders on one machine have two."""
        if self.run_dir is not None:
            return Path(self.run_dir).expanduser().absolute()
        name = blake2b(os.fsencode(self.data_path), digest_size=4).hexdigest()
        return Path(tempfile.gettempdir()) / f"gift-ledger-{os.getuid()}-{name}"

    @property
    def code_prefixes(self) -> tuple[str, ...]:
        """The prefixes of our own codes; the first one is that of a new batch."""
        return tuple(self.codes_prefixes.split(","))

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
            tls_cert=self.http_certificate or None,
            tls_key=str(self._path(self.http_tls_key, "")) if self.http_tls_key else None,
            # a little more than the ledger's own time-out, which knows better what happened
            deadline_seconds=self.request_timeout_seconds + 1.0,
            requests_in_flight_max=self.http_requests_max,
            connections_max=self.http_connections_max,
            connections_address_max=self.http_connections_address_max,
            trusted_proxies=self.http_trusted_proxies,
            rate_per_second=self.http_rate_per_second,
            guess_window_seconds=self.guess_window_seconds,
            guess_address_wrong_max=self.guess_address_wrong_max,
            guess_client_wrong_max=self.guess_client_wrong_max,
            guess_right_per_wrong=self.guess_right_per_wrong,
            bulk_items_in_flight_max=self.http_bulk_items_max,
            bulk_body_bytes_max=self.http_bulk_bytes_max,
            idle_seconds=self.http_idle_seconds,
            drain_seconds=self.http_drain_seconds,
            keys_refresh_seconds=self.keys_refresh_seconds,
            keys_stale_seconds_max=self.keys_stale_seconds,
            code_prefixes_checked=() if self.codes == "any" else self.code_prefixes,
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
            codes=Salable(self.codes),
            code_prefixes=self.code_prefixes,
            errand_retry_ms=round(self.errand_retry_seconds * SECOND_MS),
        )

    def _path(self, given: str | None, name: str) -> Path:
        return self.data_path / name if given is None else Path(given).expanduser().absolute()
