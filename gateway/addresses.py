"""Whose address a request comes from, as far as that can be believed."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

FORWARDED: Final = b"x-forwarded-for"
IPV6_PREFIX_BITS: Final = 64
"""Of an IPv6 address: whoever has one has the whole network, as a rule, so its addresses count as one."""
HOPS_MAX: Final = 32
"""Addresses of ``X-Forwarded-For`` that are looked at, from the right."""
NOWHERE: Final = "nowhere"
"""What all that comes from no address counts as."""
KNOWN_MAX: Final = 16_384
"""Texts of addresses whose meaning is kept: to find it out takes longer than all that is then done with it."""

Peer = tuple[str, int] | None
"""Host and port of who is connected; ``None`` if that is no address, e.g. of a Unix socket."""
Networks = tuple[IPv4Network | IPv6Network, ...]

FORWARDED_KEPT_BYTES_MAX: Final = 64
"""Of an ``X-Forwarded-For`` whose meaning is kept: four addresses. So what is kept of all takes some megabytes."""


def networks(text: str) -> Networks:
    """Networks of a list with commas, e.g. ``10.0.0.0/8, fd00::/8, 192.0.2.7``.

    Raises:
        ValueError: one is none; the message names it.
    """
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


@lru_cache(maxsize=KNOWN_MAX)
def counted_as(host: str) -> str | None:
    """What an address counts as: an IPv4 address as itself, one of IPv6 as its network; ``None`` if it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, IPV6_PREFIX_BITS), strict=False))
    return str(address)


@lru_cache(maxsize=KNOWN_MAX)
def packed(host: str) -> bytes:
    """An address as records keep it: 4 bytes (IPv4, also if it came mapped into IPv6) or 16; none if it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return b""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).packed


class Addresses:
    """Finds the address that a request counts for, and the one that its records name.

    Args:
        trusted: networks of proxies, and of storefronts' own servers, that say whom they speak for.
    """

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted
        self._knows = lru_cache(maxsize=KNOWN_MAX)(self._lists)
        self._knows_source = lru_cache(maxsize=KNOWN_MAX)(self._source)

    def trusts(self, host: str) -> bool:
        """Whether what this host says about addresses is believed."""
        return bool(self._trusted) and self._knows(host)

    def of(self, peer: Peer, headers: dict[bytes, bytes]) -> str:
        """The address that a request counts for; all that come from none count as one.

        It is the peer's. A peer that is trusted has written the right-most address of ``X-Forwarded-For`` itself, one
        of ours before it the one beside that, and so on: the first that is none of ours is the client's. What stands
        further to the left is whatever the client has sent. A header that is not made of addresses means nothing.
        """
        host = "" if peer is None else peer[0]
        if self.trusts(host) and (forwarded := headers.get(FORWARDED)) is not None:
            host = self._forwarded(forwarded.decode("latin-1")) or host
        return counted_as(host) or NOWHERE

    def source(self, peer: Peer, headers: dict[bytes, bytes], *, of_proxy: bool) -> bytes:
        """The address that the records of a request name, packed; none if it comes from none.

        It is found as in :meth:`of`, and is whole: an IPv6 address is not cut to its network.

        Args:
            peer: who is connected.
            headers: of the request.
            of_proxy: the last one that is trusted instead, which has named the client: for a client behind which
                shoppers stand, whose own address is personal data (decision 0022).
        """
        host = "" if peer is None else peer[0]
        forwarded = headers.get(FORWARDED) if self._trusted else None
        if forwarded is None:
            return packed(host)
        if len(forwarded) > FORWARDED_KEPT_BYTES_MAX:
            return self._source(host, forwarded, of_proxy)
        return self._knows_source(host, forwarded, of_proxy)

    def _source(self, host: str, forwarded: bytes, of_proxy: bool) -> bytes:  # noqa: FBT001 - the form of a cache's key
        if not self.trusts(host):
            return packed(host)
        trusted = host
        for hop in _from_the_right(forwarded.decode("latin-1")):
            address = _without_port(hop)
            if counted_as(address) is None:
                return packed(host)
            if not self.trusts(address):
                return packed(trusted if of_proxy else address)
            trusted = address
        return packed(trusted)

    def _forwarded(self, header: str) -> str | None:
        for hop in _from_the_right(header):
            address = _without_port(hop)
            if counted_as(address) is None:
                return None
            if not self.trusts(address):
                return address
        return None

    def _lists(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._trusted)


def _from_the_right(header: str) -> Iterator[str]:
    return (hop.strip() for hop in reversed(header.rsplit(",", HOPS_MAX)[-HOPS_MAX:]))


def _without_port(hop: str) -> str:
    """``192.0.2.7:4711`` and ``[2001:db8::7]:4711``, which some proxies write, without the port."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
