"""The address of Redis with all that a connection needs to know: whoever has it needs nothing else."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

DEFAULT_USER: Final = "default"
"""Who somebody is to Redis that names no user."""


def complete(url: str, password: str | None, files: Mapping[str, str | None]) -> str:
    """An address with the password in its place, and the files of TLS among its options, where redis-py looks for them.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        password: stands in no address yet.
        files: by redis-py's names, e.g. ``ssl_ca_certs``; those that are ``None`` are left out.
    """
    parts = urlsplit(url)
    place, query = parts.netloc, parts.query
    if password is not None:
        user, _, host = place.rpartition("@")
        place = f"{user.partition(':')[0]}:{quote(password, safe='')}@{host}"
    if options := {name: path for name, path in files.items() if path is not None}:
        query = "&".join(part for part in (query, urlencode(options)) if part)
    # put together by hand: urlunsplit leaves out the empty host of unix://
    return f"{parts.scheme}://{place}{parts.path}{f'?{query}' if query else ''}"


def user_of(url: str) -> str:
    """Whom a connection logs in as."""
    return unquote(urlsplit(url).username or "") or DEFAULT_USER


def has_password(url: str) -> bool:
    """Whether an address holds a password."""
    return bool(urlsplit(url).password)
