"""Addresses as they are written in settings: what keeps one from being one."""

import re
from urllib.parse import urlsplit

from gateway.addresses import networks


def wrong_with_url(url: str) -> str:
    """What keeps an address from being one, without a word of it, since it may hold a password; empty if nothing."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is only read when asked for
    except ValueError:
        return "its port is no number from 0 to 65535"
    if parts.scheme == "unix":
        return ""
    if not parts.hostname:
        return "it names no host"
    if parts.scheme.startswith("redis") and not re.fullmatch(r"/?[0-9]*", parts.path):
        return "its path is no number of a database"  # redis-py would take database 0 without a word
    return ""


def wrong_with_networks(text: str) -> str:
    """What keeps a list of networks from being one; empty if nothing."""
    try:
        networks(text)
    except ValueError as error:
        return str(error)
    return ""
