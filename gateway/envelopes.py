"""How an event of ours looks on Kafka: which topic, which key, which headers."""

from typing import Final

from gateway.bridge_settings import BridgeSettings
from gateway.kafka_lanes import Outgoing
from ledger.money import rfc3339
from ledger.publications import STATE, TRANSACTION, Publication
from persistence.errors import DamagedLogError

EVENT_ID: Final = "ce_id"
"""Header that names an event; the same event published twice has the same."""


class Envelopes:
    """Puts publications into records.

    Args:
        settings: the names of the topics, and who we are.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._topics: Final = {STATE: settings.states, TRANSACTION: settings.transactions}
        self._source: Final = settings.source.encode()

    def outgoing(self, event: Publication) -> Outgoing:
        """The record for an event.

        Raises:
            DamagedLogError: there is no topic for it.
        """
        topic = self._topics.get(event.topic)
        if topic is None:
            raise DamagedLogError(f"no topic is known for {event.topic}")
        return Outgoing(topic, event.key.encode(), event.value or None, self._headers(event))

    def _headers(self, event: Publication) -> list[tuple[str, bytes]]:
        """The attributes of CloudEvents, in the binary mode."""
        return [
            ("ce_specversion", b"1.0"),
            (EVENT_ID, event.event_id.encode()),
            ("ce_type", event.topic.encode()),
            ("ce_source", self._source),
            ("ce_time", rfc3339(event.at).encode()),
            ("ce_subject", event.key.encode()),
            ("content-type", b"application/json"),
        ]
