"""Where the bridge reaches Kafka and the SMS gateway."""

from msgspec import Struct

from gateway.kafka_security import KafkaSecurity


class BridgeSettings(Struct, frozen=True, kw_only=True):
    """Addresses and names; what bounds the work stands where the work is done."""

    bootstrap: str
    """Brokers to begin with: ``HOST:PORT``, or several with commas between them."""
    security: KafkaSecurity = KafkaSecurity()
    """How they are spoken to."""
    group: str = "gift-ledger"
    """Consumer group of the inbox; its offsets are kept under this name."""
    source: str = "/gift-ledger"
    """``ce_source`` of what is published."""
    sales_orders: str = "All_SalesOrder"
    payments: str = "All_Payments"
    states: str = "GiftCertificateState"
    transactions: str = "GiftCertificateTransaction"
    dead_letters: str = "GiftCertificateProcessing.DeadLetter"
    assign_partitions: bool = False
    """Take all partitions instead of sharing them within the group: for a broker that takes only one member."""
    sms_url: str = ""
    """Where messages are posted to. It may hold a secret."""

    def __repr__(self) -> str:
        return f"BridgeSettings(bootstrap={self.bootstrap!r}, group={self.group!r})"
