"""Whose address a request counts for."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.addresses import FORWARDED_KEPT_BYTES_MAX, HOPS_MAX, NOWHERE, Addresses, counted_as, networks

TRUSTED = Addresses(networks("10.0.0.0/8, 192.0.2.1,2001:db8:1::/48"))
PROXY = "10.1.2.3"


def of(peer: str, *forwarded: str) -> str:
    headers = {b"x-forwarded-for": ", ".join(forwarded).encode()} if forwarded else {}
    return TRUSTED.of((peer, 4711), headers)


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"),
        ("2001:db8:2:3::", "2001:db8:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", None),
        ("203.0.113.999", None),
        ("", None),
    ],
)
def test_an_address_counts_as_itself_or_as_its_network(host: str, counts_as: str | None) -> None:
    assert counted_as(host) == counts_as


def test_nobody_is_believed_unless_he_is_trusted() -> None:
    assert of("203.0.113.9", "198.51.100.7") == "203.0.113.9"
    assert Addresses(()).of((PROXY, 1), {b"x-forwarded-for": b"198.51.100.7"}) == PROXY
    assert not Addresses(()).trusts(PROXY)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["1.1.1.1", "198.51.100.7"], "198.51.100.7"),  # what a client has sent stands on the left
        (["1.1.1.1", "198.51.100.7", "10.9.9.9", "192.0.2.1"], "198.51.100.7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8:2:3::7]:4711"], "2001:db8:2:3::/64"),
        (["2001:db8:2:3::7"], "2001:db8:2:3::/64"),
        (["::ffff:198.51.100.7", "::ffff:10.0.0.1"], "198.51.100.7"),
        (["10.9.9.9"], PROXY),
        (["198.51.100.7", "nonsense"], PROXY),
        (["nonsense", "198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7", ""], PROXY),
        ([""], PROXY),
        (["unknown"], PROXY),
        (["198.51.100.7 10.0.0.1"], PROXY),
        (["198.51.100.7", *["10.0.0.1"] * (HOPS_MAX - 1)], "198.51.100.7"),
        (["198.51.100.7", *["10.0.0.1"] * HOPS_MAX], PROXY),
    ],
)
def test_a_trusted_peer_says_whom_it_speaks_for(forwarded: list[str], address: str) -> None:
    assert of(PROXY, *forwarded) == address


def test_a_trusted_peer_that_says_nothing_speaks_for_itself() -> None:
    assert of(PROXY) == PROXY


def test_what_is_no_text_means_nothing() -> None:
    assert TRUSTED.of((PROXY, 1), {b"x-forwarded-for": b"\xff\xfe"}) == PROXY


def test_a_peer_that_mapped_ipv4_to_ipv6_is_known() -> None:
    assert of(f"::ffff:{PROXY}", "198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize("peer", [None, ("", 0), ("a-socket", 0)])
def test_all_that_comes_from_no_address_counts_as_one(peer: tuple[str, int] | None) -> None:
    assert TRUSTED.of(peer, {}) == NOWHERE


def test_networks_are_written_with_commas() -> None:
    assert [str(one) for one in networks(" 10.1.2.3/8 , ::1,")] == ["10.0.0.0/8", "::1/128"]
    assert networks("") == ()
    with pytest.raises(ValueError, match="nonsense"):
        networks("10.0.0.0/8,nonsense")


# --- the address that records name ------------------------------------------------------------------------------------


def source(addresses: Addresses, peer: str, *forwarded: str, of_proxy: bool = False) -> str:
    headers = {b"x-forwarded-for": ", ".join(forwarded).encode()} if forwarded else {}
    found = addresses.source((peer, 4711), headers, of_proxy=of_proxy)
    return str(ip_address(found)) if found else ""


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3:4:5:6:7"),
        ("fe80::1%eth0", "fe80::1"),
        ("a-socket", ""),
        ("", ""),
    ],
)
def test_records_name_the_whole_address_of_the_peer(host: str, address: str) -> None:
    assert source(TRUSTED, host) == source(Addresses(()), host) == address


@pytest.mark.parametrize("addresses", [TRUSTED, Addresses(())])
def test_records_name_no_address_where_there_is_none(addresses: Addresses) -> None:
    assert addresses.source(None, {b"x-forwarded-for": b"198.51.100.7"}, of_proxy=False) == b""


@pytest.mark.parametrize("of_proxy", [False, True])
def test_records_do_not_believe_who_is_not_trusted(*, of_proxy: bool) -> None:
    assert source(TRUSTED, "203.0.113.9", "198.51.100.7", of_proxy=of_proxy) == "203.0.113.9"
    assert source(Addresses(()), PROXY, "198.51.100.7", of_proxy=of_proxy) == PROXY


@pytest.mark.parametrize(
    ("forwarded", "address", "proxy"),
    [
        (["198.51.100.7"], "198.51.100.7", PROXY),
        (["1.1.1.1", "198.51.100.7"], "198.51.100.7", PROXY),
        (["1.1.1.1", "198.51.100.7", "10.9.9.9", "192.0.2.1"], "198.51.100.7", "10.9.9.9"),
        (["[2001:db8:2:3::7]:4711"], "2001:db8:2:3::7", PROXY),
        (["10.9.9.9"], "10.9.9.9", "10.9.9.9"),
        (["198.51.100.7", "nonsense"], PROXY, PROXY),
        (["198.51.100.7", "nonsense", "10.9.9.9"], PROXY, PROXY),
        ([""], PROXY, PROXY),
        (["198.51.100.7", *["10.0.0.1"] * HOPS_MAX], "10.0.0.1", "10.0.0.1"),
    ],
)
def test_records_name_the_client_or_the_proxy_that_speaks_for_it(
    forwarded: list[str], address: str, proxy: str
) -> None:
    assert source(TRUSTED, PROXY, *forwarded) == address
    assert source(TRUSTED, PROXY, *forwarded, of_proxy=True) == proxy


def test_a_header_too_long_to_be_kept_means_the_same() -> None:
    padded = "198.51.100.7" + " " * FORWARDED_KEPT_BYTES_MAX

    assert source(TRUSTED, PROXY, padded) == "198.51.100.7"
    assert source(TRUSTED, PROXY, padded, of_proxy=True) == PROXY
