"""How many connections of each address are open."""

from gateway.addresses import Addresses, Peer, counted_as


class Crowd:
    """Counts the connections of each address; those of trusted proxies are many people's, and are not counted.

    Args:
        addresses: says who is trusted.
        each_max: connections of one address.
    """

    def __init__(self, addresses: Addresses, each_max: int) -> None:
        self._addresses = addresses
        self._each_max = each_max
        self._open: dict[str, int] = {}

    def enter(self, peer: Peer) -> str | None:
        """Count a connection; gives what it counts for, to be handed to :meth:`leave`."""
        address = None if peer is None or self._addresses.trusts(peer[0]) else counted_as(peer[0])
        if address is not None:
            self._open[address] = self._open.get(address, 0) + 1
        return address

    def is_too_large(self, address: str | None) -> bool:
        """Whether there are more connections of the address than there may be."""
        return address is not None and self._open.get(address, 0) > self._each_max

    def leave(self, address: str | None) -> None:
        """A connection has ended."""
        if address is not None:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
