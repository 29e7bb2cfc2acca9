"""Every setting that can be given: what it takes, its default, what it is for. docs/settings.md is made of it."""

from typing import Annotated, Final, Literal

from msgspec import Struct

from actors.settings import Channel, Placement
from gateway.kafka_security import Mechanism, Protocol
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
    Words,
    about,
)

_SERVICE: Final = "Service"
_HTTP: Final = "HTTP"
_TOKENS: Final = "Tokens of an identity provider"
_REDIS: Final = "Redis"
_KAFKA: Final = "Kafka"
_SMS: Final = "SMS"
_ACTORS: Final = "Actors"
_RULES: Final = "Business rules"


class GivenSettings(Struct, frozen=True, kw_only=True):
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

    jwt_issuer: Annotated[
        Text | None, about(_TOKENS, "`iss` of the tokens that are taken instead of API keys. Unset: none are.")
    ] = None
    jwt_audience: Annotated[
        Text | None, about(_TOKENS, "What has to stand in `aud`: the name of this service there.")
    ] = None
    jwt_jwks_url: Annotated[
        Text | None,
        about(_TOKENS, "The provider's keys (JWKS): https://…, http:// on this machine alone, or the path of a file."),
    ] = None
    jwt_algorithms: Annotated[
        Words, about(_TOKENS, "Signatures that are taken, with commas: RS256, PS256, ES256, EdDSA, Ed25519.")
    ] = "RS256,PS256,ES256,EdDSA"
    jwt_role_claim: Annotated[
        Text, about(_TOKENS, "Claim with the role, a list or a text; dots lead into it, e.g. realm_access.roles.")
    ] = "roles"
    jwt_roles: Annotated[
        str,
        about(
            _TOKENS, "What its values mean, with commas, e.g. gift-till=pos,gift-help=support. Empty: our own names."
        ),
    ] = ""
    jwt_client_claim: Annotated[Text, about(_TOKENS, "Claim with the name of the client; operations belong to it.")] = (
        "sub"
    )
    jwt_channel_claim: Annotated[
        Text | None,
        about(_TOKENS, "Claim with the sales channel. Unset or missing: OnlineStore for storefront, POS for pos."),
    ] = None
    jwt_leeway_seconds: Annotated[
        int, about(_TOKENS, "How far the provider's clock may be from ours.", ge=0, le=300)
    ] = 30
    jwt_keys_refresh_seconds: Annotated[
        float,
        about(_TOKENS, "How often its keys are read: a key that it has dropped works so long.", ge=1.0, le=3_600.0),
    ] = 60.0
    jwt_keys_stale_seconds: Annotated[
        float,
        about(_TOKENS, "How long its keys are trusted while they cannot be read; then 503.", ge=1.0, le=86_400.0),
    ] = 900.0

    redis_url: Annotated[
        RedisUrl | None,
        about(
            _REDIS,
            "Redis or Valkey that keeps the ledger; rediss:// is TLS. Unset: an embedded one.",
            secret=True,
        ),
    ] = None
    redis_password: Annotated[
        Text | None, about(_REDIS, "Password, if it does not stand in the address.", secret=True)
    ] = None
    redis_tls_ca: Annotated[
        Text | None,
        about(_REDIS, "File with the issuers of Redis's certificate (PEM). Unset: those that this machine trusts."),
    ] = None
    redis_tls_cert: Annotated[
        Text | None, about(_REDIS, "File with our own certificate (PEM), if Redis asks for one.")
    ] = None
    redis_tls_key: Annotated[Text | None, about(_REDIS, "File with its key (PEM, not encrypted).")] = None
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
    kafka_security_protocol: Annotated[
        Protocol, about(_KAFKA, "How brokers are spoken to: SSL is TLS, SASL a user with a password.")
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[Mechanism, about(_KAFKA, "How SASL shows the password.")] = "SCRAM-SHA-512"
    kafka_username: Annotated[Text | None, about(_KAFKA, "User, with SASL.")] = None
    kafka_password: Annotated[Text | None, about(_KAFKA, "The user's password.", secret=True)] = None
    kafka_tls_ca: Annotated[
        Text | None,
        about(_KAFKA, "File with the issuers of the brokers' certificates (PEM). Unset: those this machine trusts."),
    ] = None
    kafka_tls_cert: Annotated[
        Text | None, about(_KAFKA, "File with our own certificate (PEM), if the brokers ask for one.")
    ] = None
    kafka_tls_key: Annotated[Text | None, about(_KAFKA, "File with its key (PEM, not encrypted).")] = None
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
