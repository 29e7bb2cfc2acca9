"""Whether a server keeps what it acknowledges.

A server that answers "done" and has forgotten it after a power cut makes a ledger lie. So it is looked at before
anything is written, and all that is wrong is said at once, with what to change.
"""

import logging
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import ResponseError

from persistence.errors import StorageUnsafeError
from persistence.redis_client import Client
from persistence.redis_errors import answered

VERSION_MIN: Final = (7, 0)
"""The first Redis that refuses a script before it runs when it cannot take a write."""
VERSION_WAITAOF: Final = (7, 2)
"""The first Redis that can be asked to wait for its replicas' disks. (A Valkey calls itself a Redis 7.2.)"""

_SETTINGS: Final = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy")


logger: Final = logging.getLogger(__name__)


class Server(Struct, frozen=True):
    """What a server says of itself: ``INFO``, and its settings, or ``None`` if it does not let us see them."""

    info: dict[str, Any]
    settings: dict[str, str] | None


async def require_safe(client: Client, replicas: int, *, allow_unsafe: bool = False) -> None:
    """Refuse a server that would lose data, or with ``allow_unsafe`` warn of it.

    Raises:
        StorageUnsafeError: with all findings in one message.
    """
    unsafe = findings(await look(client), replicas)
    if unsafe and not allow_unsafe:
        listed = "".join(f"\n- {finding}" for finding in unsafe)
        raise StorageUnsafeError(
            f"the server is not safe for a ledger:{listed}\nTo try things out all the same, set allow_unsafe."
        )
    for finding in unsafe:
        logger.warning("The server is not safe for a ledger, and allow_unsafe is set: %s", finding)


async def look(client: Client) -> Server:
    """Ask a server for what the checks need.

    Raises:
        StorageError: see :mod:`persistence.redis_errors`.
    """
    info: dict[str, Any] = await answered(client.execute_command("INFO"))
    return Server(info, await answered(_settings(client)))


async def _settings(client: Client) -> dict[str, str] | None:
    try:
        settings: dict[str, str] = await client.execute_command("CONFIG GET", *_SETTINGS)
    except ResponseError:  # forbidden to this user, or unknown to a hosted server
        return None
    return settings


def findings(server: Server, replicas: int = 0) -> list[str]:
    """All that is unsafe about ``server`` for a ledger that asks for ``replicas``, in words; empty if nothing is."""
    return [*_of_kind(server.info), *_of_replicas(server.info, replicas), *_of_settings(server.settings)]


def _of_kind(info: dict[str, Any]) -> list[str]:
    found = []
    if _version(info) < VERSION_MIN:
        found.append(f"it is Redis {info.get('redis_version')}: use Redis 7.0 or newer, or Valkey.")
    if info.get("role") != "master":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        found.append(f"it is a replica of {primary}: let the redis_url of the settings name the primary.")
    if info.get("cluster_enabled"):
        found.append(
            "it is part of a Redis Cluster, which is not supported: one append writes to several partitions at once, "
            "and across a cluster's nodes nothing is atomic. Use one primary, with replicas (`cluster-enabled no` in "
            "its configuration file)."
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append("its last write to the append-only file failed: look at its log, make room on its disk.")
    return found


def _of_replicas(info: dict[str, Any], replicas: int) -> list[str]:
    found = []
    if replicas and _version(info) < VERSION_WAITAOF:
        found.append(
            f"it is Redis {info.get('redis_version')}, which cannot wait for the disks of replicas (WAITAOF): use "
            "Redis 7.2 or newer, or Valkey, or set replicas to 0."
        )
    connected = int(info.get("connected_slaves", 0))
    if connected < replicas:
        found.append(
            f"{connected} replicas are connected and {replicas} have to confirm each write: start them (`replicaof` in "
            "their configuration files), or set replicas lower."
        )
    return found


def _of_settings(settings: dict[str, str] | None) -> list[str]:
    if settings is None:
        return [
            (
                "it does not tell its settings (CONFIG GET), so nobody knows whether it keeps what it acknowledges: "
                "allow it (`ACL SETUSER user +config|get`), or set allow_unsafe once you know that appendonly is yes, "
                "appendfsync is always and maxmemory-policy is noeviction."
            )
        ]
    found = []
    if settings.get("appendonly") != "yes":
        found.append(_change("appendonly", settings, "yes", "nothing would survive a restart"))
    if settings.get("appendfsync") != "always":
        found.append(_change("appendfsync", settings, "always", "a power cut loses writes that were acknowledged"))
    if settings.get("no-appendfsync-on-rewrite") != "no":
        why = "while the append-only file is rewritten, a power cut loses writes that were acknowledged"
        found.append(_change("no-appendfsync-on-rewrite", settings, "no", why))
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction":
        why = "records are thrown away when memory is short"
        found.append(_change("maxmemory-policy", settings, "noeviction", why))
    return found


def _change(name: str, settings: dict[str, str], wanted: str, why: str) -> str:
    return (
        f"{name} is {settings.get(name)}: {why}. Run `CONFIG SET {name} {wanted}`, and put `{name} {wanted}` into its "
        "configuration file."
    )


def _version(info: dict[str, Any]) -> tuple[int, int]:
    major, minor, *_ = f"{info.get('redis_version', '0.0')}.0".split(".")
    return int(major), int(minor)
