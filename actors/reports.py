"""What an actor says of itself to operators."""

from msgspec import Struct


class ActorReport(Struct, frozen=True, kw_only=True):
    """One actor as it is now.

    ``kind``: ``shard``, ``certificate``, ``relay``, ``inbox`` or ``sms``. ``state``: ``ALIVE``, ``RESTARTING``, … as
    Ray names it.
    ``facts``: what it holds and has done, by name, e.g. ``residents``, ``queued``, ``rounds``, ``lag``.
    """

    name: str
    kind: str
    state: str
    pid: int
    node: str
    address: str = ""
    facts: dict[str, int | float | str] = {}
