"""Which tokens of an identity provider are taken, and what their claims mean here."""

from msgspec import Struct, field

from gateway.access import Role


class TokenSettings(Struct, frozen=True, kw_only=True):
    """One issuer and its keys. Durations in seconds."""

    issuer: str
    """What ``iss`` has to be, character by character (RFC 8725, 3.8)."""
    audience: str
    """What ``aud`` has to be, or to hold (RFC 8725, 3.9)."""
    jwks_url: str
    """Where its keys are: an address, or the absolute path of a file."""
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    """What may stand in ``alg`` (RFC 8725, 3.1)."""
    role_claim: str = "roles"
    """Claim with the role."""
    roles: dict[str, Role] = field(default_factory=lambda: {role.value: role for role in Role})
    """What its values mean here."""
    client_claim: str = "sub"
    """Claim with the name of the client."""
    channel_claim: str | None = None
    """Claim with the sales channel; ``None``: that of the role."""
    leeway_seconds: int = 30
    """How far the provider's clock and ours may be apart: servers that keep time differ by far less."""
    keys_refresh_seconds: float = 60.0
    """How often the provider's keys are read, from one beginning to the next: so long a key works that it dropped."""
    keys_refresh_seconds_min: float = 5.0
    """A token of an unknown key has the keys read at once, and so has a failed reading, but not more often than this,
    whoever asks: a provider is not flooded through us."""
    keys_stale_seconds_max: float = 900.0
    """Keys are trusted for so long since the last reading that succeeded began; then 503 for every token. A provider
    that is away for minutes keeps nobody from working who has a token."""
