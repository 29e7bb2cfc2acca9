"""How the HTTP gateway listens, and what it puts up with."""

from msgspec import Struct

from gateway.token_settings import TokenSettings


class GatewaySettings(Struct, frozen=True, kw_only=True):
    """Address and bounds of the HTTP API. Durations in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 takes any that is free."""
    tls_cert: str | None = None
    """File of the certificate; ``None``: plain HTTP."""
    tls_key: str | None = None
    """File of its key."""
    body_bytes_max: int = 16_384
    """Longest body of a request; the longest that can be valid is far below it."""
    bulk_body_bytes_max: int = 1_048_576
    """Longest body of a bulk call."""
    bulk_items_in_flight_max: int = 4_096
    """Items of bulk calls that are carried out at once; more get 503 ``Overloaded`` in their place. With
    ``requests_in_flight_max`` no more than a shard's mailbox takes, so that batches keep no till out."""
    connections_max: int = 10_000
    """Connections that are open at once, at some 10 KB each; a further one gets 503 ``Overloaded`` and is closed."""
    connections_address_max: int = 2_000
    """Connections of one address, so that it does not take those of all others; trusted proxies may have more."""
    trusted_proxies: str = ""
    """Networks, with commas between them, whose ``X-Forwarded-For`` is believed."""
    rate_per_second: float = 0.0
    """Requests a second of one client on this gateway, and as many at once; more get 429 ``RateLimited``. 0: any."""
    guess_window_seconds: int = 3_600
    """How long a wrong CVC counts, and a right one: long enough that waiting for its end is no way to guess."""
    guess_address_wrong_max: int = 20
    """Wrong CVCs of a client from one address within the window: several people behind one address mistype in turn,
    and a certificate is locked after three."""
    guess_client_wrong_max: int = 100
    """Wrong CVCs of a client within the window: what a guesser with any number of addresses has, whose chance grows
    with it. If one in twenty is mistyped, it is enough for 2 000 CVCs, and a good record adds to it."""
    guess_right_per_wrong: int = 20
    """So many certificates whose right CVC was sent within the window earn client and address one further wrong one:
    as many as are mistyped, so that no shop is held up by its size."""
    head_bytes_max: int = 32_768
    """Longest request line with headers; beyond it the connection is closed."""
    receive_seconds: float = 10.0
    """How long a client may take to send the head of a request, and again its body; with TLS, to shake hands too."""
    deadline_seconds: float = 6.0
    """After this a request that the ledger has not answered gets 503. A little more than the ledger's own time-out,
    which knows better what happened."""
    requests_in_flight_max: int = 4_096
    """Requests that are answered at once; more get 503 ``Overloaded``."""
    idle_seconds: float = 75.0
    """A connection without requests is closed after this."""
    drain_seconds: float = 5.0
    """How long requests under way may take to finish when the gateway stops."""
    keys_refresh_seconds: float = 2.0
    """How often the API keys are read again, from one beginning to the next, and how long a reading may take."""
    keys_refresh_seconds_min: float = 0.5
    """An unknown key has the keys read at once, but not more often than this."""
    keys_stale_seconds_max: float = 30.0
    """Keys are trusted for so long since the last reading that succeeded began; then 503 for everybody. So long a
    revoked key works at most, whatever happens to a gateway: where it reads them, twice ``keys_refresh_seconds``."""
    tokens: TokenSettings | None = None
    """Which tokens of an identity provider are taken instead of keys; ``None``: none."""
    health_seconds: float = 2.0
    """How long a health probe may take."""
    code_prefixes_checked: tuple[str, ...] = ()
    """Codes with one of these prefixes are refused without a look-up if their check character is wrong."""
    health_cache_seconds: float = 0.5
    """Readiness that was found out is told again for so long: anybody may ask, and asking has a cost."""
