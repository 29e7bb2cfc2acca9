"""``doctor --production``: what is open at the servers, and which API keys are."""

from collections.abc import Sequence
from typing import Final

from gift_ledger.cli import servers
from gift_ledger.cli.check import Check, Level, fail, ok
from gift_ledger.cli.context import Context, now_ms
from gift_ledger.settings import Settings
from ledger.money import DAY_MS
from persistence.errors import StorageError

UNUSED_DAYS_MAX: Final = 90
"""A key that nobody has used for so long is forgotten by its owner."""
IN_SYNC_MIN: Final = 2
"""Brokers that have to have a record: with one a disk that breaks takes events with it."""


async def redis(context: Context, settings: Settings) -> list[Check]:
    """What Redis lets the service do, and strangers."""
    if settings.redis_url is None:
        return []
    try:
        facts = await context.doors.redis_facts(settings.storage())
    except StorageError as error:
        return [fail("redis", f"it cannot be looked at: {error}", "Have it answer, then try again.")]
    advice = "Run the service by the rule in docs/security.md: `ACL SETUSER`."
    mode, policy = facts.settings.get("protected-mode"), facts.settings.get("maxmemory-policy")
    return [
        _either(
            "redis strangers",
            not facts.open_to_all,
            ("nobody gets in without a password", "anybody gets in, without a password"),
            "Shut the default user: `user default off` in its list of users, or requirepass.",
        ),
        _either(
            "redis rights",
            not facts.allowed,
            ("no dangerous command is allowed", f"the service may {', '.join(facts.allowed)}"),
            advice,
        ),
        _either("redis keys", not facts.reads_others, ("its own prefix alone", "the keys of others, too"), advice),
        _either(
            "redis protected",
            mode == "yes",
            ("protected-mode is yes", f"protected-mode is {mode or 'not told'}"),
            "Put `protected-mode yes` into its configuration file: then no mistake with a user opens it to others.",
        ),
        _either(
            "redis safety",
            not facts.unsafe,
            ("each write is synced before its answer", " ".join(facts.unsafe)),
            "Change its settings as it says there.",
        ),
        _either(
            "redis memory",
            policy == "noeviction",
            ("nothing is evicted", f"maxmemory-policy is {policy or 'not told'}"),
            "Put `maxmemory-policy noeviction` into its configuration file: others throw records away.",
        ),
    ]


async def clock(context: Context, settings: Settings) -> list[Check]:
    """Whether the clocks agree: ends of keys and holds go by them."""
    return [
        fail(check.name, check.seen, check.advice) if check.level is Level.WARN else check
        for check in await servers.clock(context, settings)
    ]


async def keys(context: Context, settings: Settings) -> list[Check]:
    """API keys that never end, that nobody uses, or that were made for trying things out."""
    if settings.redis_url is None:
        return []
    try:
        store = await context.doors.keys(settings.storage())
        try:
            every, used = await store.all(), await store.used()
        finally:
            await store.close()
    except StorageError as error:
        return [fail("keys", f"they cannot be read: {error}", "Have Redis answer, then try again.")]
    now = now_ms()
    live = [key for key in every if not key.ended(now)]
    old = now - UNUSED_DAYS_MAX * DAY_MS
    return [
        _either(
            "keys end",
            not (endless := [key.key_id for key in live if key.expires_at is None]),
            ("each has an end", f"no end has {_some(endless)}"),
            "Give their clients new ones: `gift-ledger keys rotate CLIENT --expires 365d`.",
        ),
        _either(
            "keys used",
            not (idle := [key.key_id for key in live if used.get(key.key_id, key.created_at) < old]),
            (f"each within {UNUSED_DAYS_MAX} days", f"nobody has used for {UNUSED_DAYS_MAX} days {_some(idle)}"),
            "Ask whose they are, and `gift-ledger keys revoke KEY_ID`.",
        ),
        _either(
            "keys of demos",
            not (local := [key.key_id for key in live if key.client.startswith("local-")]),
            ("none", f"made by `gift-ledger up`: {_some(local)}"),
            "Revoke them: they stand in a file in the clear.",
        ),
    ]


async def kafka(context: Context, settings: Settings) -> list[Check]:
    """Whether a broker that breaks takes events with it."""
    if settings.kafka_bootstrap is None:
        return []
    try:
        facts = await context.doors.topic_facts(settings.bridge())
    except OSError as error:
        seen = f"it cannot be looked at: {str(error) or 'no answer in time'}"
        return [fail("kafka", seen, "Have it answer, and let us in, then try again.")]
    ours = {name: facts[name] for name in settings.topics() if name in facts}
    missing = [name for name in settings.topics() if name not in facts]
    single = [name for name, topic in ours.items() if topic.replicas < IN_SYNC_MIN + 1]
    weak = [name for name, topic in ours.items() if topic.in_sync_min is not None and topic.in_sync_min < IN_SYNC_MIN]
    untold = [name for name, topic in ours.items() if topic.in_sync_min is None]
    return [
        _either("kafka topics", not missing, ("all are there", f"no {_some(missing)}"), "Make them."),
        _either(
            "kafka copies",
            not single,
            ("three or more of each topic", f"fewer than three of {_some(single)}"),
            "Give them a replication factor of 3: `kafka-reassign-partitions.sh`.",
        ),
        _either(
            "kafka in sync",
            not weak and not untold,
            (
                f"{IN_SYNC_MIN} brokers have each event",
                f"one broker is enough, or it is not told, for {_some(weak + untold)}",
            ),
            "Set min.insync.replicas=2 for them; to be told of it the user needs DescribeConfigs.",
        ),
    ]


def _either(name: str, well: object, said: tuple[str, str], advice: str) -> Check:
    return ok(name, said[0]) if well else fail(name, said[1], advice)


def _some(names: Sequence[str]) -> str:
    most = 5
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
