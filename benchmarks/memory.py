"""How much memory things take: a process, a Redis, a hash in it."""

from pathlib import Path
from typing import Final

import redis

_PAGE_BYTES: Final = 4_096


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


class RedisMemory:
    """Looks into a Redis.

    Args:
        url: where it is.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def used(self) -> int:
        """Bytes that its data takes, with all that belongs to it."""
        with redis.Redis.from_url(self._url) as client:
            return int(client.info("memory")["used_memory"])

    def of_keys(self, pattern: str) -> int:
        """Bytes of keys, all their members counted."""
        with redis.Redis.from_url(self._url) as client:
            return sum(int(client.memory_usage(key, samples=0) or 0) for key in client.scan_iter(pattern))
