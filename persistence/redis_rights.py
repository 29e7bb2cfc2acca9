"""What a user of Redis needs to be allowed: docs/security.md shows it, and the tests of the log run with no more."""

from collections.abc import Sequence
from typing import Final

SERVICE: Final = (
    # connections, transactions and scripts
    *("ping", "select", "multi", "exec", "eval", "evalsha", "script|load"),
    # whether the server keeps what it acknowledges, and what its clock says
    *("info", "config|get", "time"),
    # reading
    *("get", "hexists", "hget", "hgetall", "hlen", "hmget", "hscan", "lindex", "llen", "lrange", "sismember"),
    *("zcard", "zmscore", "zrange", "zrangebyscore", "zscan"),
    # writing
    *("del", "expire", "hdel", "hset", "hsetnx", "incrby", "lpush", "ltrim", "rpush", "sadd", "set", "unlink"),
    *("zadd", "zrem"),
)
"""Of gateways, shards and bridge, and of the commands that look at single things."""
OPERATOR: Final = (
    # verify, reconcile, keys rotate-data, codes check, restore: the names of all keys on the server, whosever they are
    "scan",
    # backup: all data of the server, whosever they are
    *("client|info", "replconf", "sync"),
    # restore
    *("pexpire", "pttl", "sscan", "type"),
    # forget, keys rotate-data
    "bgrewriteaof",
)
"""Of commands that read or write whole ledgers, beside :data:`SERVICE`."""
REPLICATED: Final = ("waitaof",)
"""Of both, where replicas are waited for; a Redis before 7.2 does not know it."""


def rule(commands: Sequence[str], prefix: str) -> str:
    """What stands behind the name and the password in an ACL: these commands, on the keys of one ledger."""
    return f"resetchannels ~{prefix}:* -@all {' '.join(f'+{command}' for command in commands)}"
