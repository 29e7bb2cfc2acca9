"""How brokers are spoken to: in the clear or by TLS, as nobody or as a user with a password."""

from typing import Any, Literal

from msgspec import Struct

from persistence.tls import client_context

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSecurity(Struct, frozen=True, kw_only=True):
    """The same for every producer and consumer. Files are PEM."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = None
    issuers: str | None = None
    """File with those who vouch for the brokers; ``None``: whom this machine trusts."""
    certificate: str | None = None
    """File with our own certificate, and beside it its key."""
    key: str | None = None

    def __repr__(self) -> str:
        return f"KafkaSecurity(protocol={self.protocol!r})"

    @property
    def by_tls(self) -> bool:
        """Whether nobody in between can read or change anything."""
        return self.protocol in {"SSL", "SASL_SSL"}

    @property
    def by_user(self) -> bool:
        """Whether a user logs in with a password."""
        return self.protocol in {"SASL_PLAINTEXT", "SASL_SSL"}

    def options(self) -> dict[str, Any]:
        """What aiokafka's clients are told of it; files are read anew, so that renewed ones are taken.

        Raises:
            persistence.tls.TrustError: a file of TLS cannot be used.
        """
        told: dict[str, Any] = {"security_protocol": self.protocol}
        if self.by_tls:
            told["ssl_context"] = client_context(self.issuers, self.certificate, self.key)
        if self.by_user:
            told |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return told
