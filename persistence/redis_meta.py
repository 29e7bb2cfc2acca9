"""What a ledger in Redis knows of itself: its schema, its number of partitions, its peppers, whether it is closed."""

from collections.abc import Mapping
from typing import Final

from persistence.batches import require_same_keys
from persistence.errors import StorageUnsafeError
from persistence.pepper_prints import KNOWN, USED, PepperPrints
from persistence.redis_client import Client
from persistence.redis_errors import answered
from persistence.redis_keys import meta_key

SCHEMA: Final = 1
"""Layout of the keys; raised when this version could not work on what an older one has made."""

CLOSED: Final = "closed"
"""Field that says why nobody may open the ledger: a restore is not done yet."""


async def found_or_join(client: Client, prefix: str, partitions: int, now: int) -> int:
    """Make a ledger if there is none, and return the number of partitions of the one that is there.

    Of several that come at once, one makes it and all get its number.

    Raises:
        StorageUnsafeError: a ledger of another schema is there, or one that is closed.
    """
    key = meta_key(prefix)
    async with client.pipeline(transaction=True) as pipeline:
        for field, value in (("schema", SCHEMA), ("partitions", partitions), ("created_at", now)):
            pipeline.execute_command("HSETNX", key, field, value)
        pipeline.execute_command("HMGET", key, "schema", "partitions", CLOSED)
        schema, found, closed = (await answered(pipeline.execute()))[-1]
    if closed is not None:
        raise StorageUnsafeError(f"the ledger is closed: {closed.decode()}")
    if int(schema) != SCHEMA:
        raise StorageUnsafeError(
            f"{key} says that the ledger has schema {int(schema)}, and this version knows {SCHEMA}: run the version of "
            "gift-ledger that made it, or give this one another prefix."
        )
    return int(found)


async def bind_vault(client: Client, prefix: str, fingerprint: str) -> None:
    """Note the fingerprint of the first pepper that the ledger's CVCs are kept with; the first one counts for ever.

    Raises:
        StorageUnsafeError: it was another one.
    """
    key = meta_key(prefix)
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("HSETNX", key, "vault", fingerprint)
        pipeline.execute_command("HGET", key, "vault")
        bound = (await answered(pipeline.execute()))[-1].decode()
    if bound != fingerprint:
        raise StorageUnsafeError(
            f"the ledger was made with the pepper {bound}, and the secrets file has {fingerprint}: with it no CVC "
            "would ever be right. Put the secrets file back that belongs to this ledger."
        )


async def bind_sealing_keys(client: Client, prefix: str, fingerprints: Mapping[int, str]) -> None:
    """Note the fingerprints of sealing keys by their ids; the first one of each id counts for ever.

    What is refused is not noted, nor is anything else of it: it would shut out the key that others make rightly. Only
    if two come at the same moment, the one that is refused may have noted others of its ids.

    Raises:
        StorageUnsafeError: the ledger knows another key by one of the ids.
    """
    key = meta_key(prefix)
    fields = {key_id: f"sealing_key:{key_id}" for key_id in fingerprints}

    async def require_same() -> None:
        found = await answered(client.execute_command("HMGET", key, *fields.values()))
        known = {key_id: value.decode() for key_id, value in zip(fields, found, strict=True) if value is not None}
        require_same_keys(known, fingerprints)

    await require_same()
    async with client.pipeline(transaction=True) as pipeline:
        for key_id, field in fields.items():
            pipeline.execute_command("HSETNX", key, field, fingerprints[key_id])
        await answered(pipeline.execute())
    await require_same()  # another one may have come in between


async def bind_peppers(client: Client, prefix: str, ours: Mapping[int, str], current: int) -> None:
    """Note the prints of a secrets file's later peppers, and that those up to ``current`` are in use.

    The first print of each number counts for ever. What is refused is not noted, nor is anything else of it.

    Raises:
        StorageUnsafeError: the ledger knows another pepper of a number, or uses one that is not among them.
    """
    key = meta_key(prefix)

    async def merged() -> PepperPrints:
        return (await pepper_prints(client, prefix)).with_ours(ours, current)

    after = await merged()
    # one after the other: none is in use that is not known
    for begin, prints in ((KNOWN, after.known), (USED, after.used)):
        if prints:
            async with client.pipeline(transaction=True) as pipeline:
                for number, held in prints.items():
                    pipeline.execute_command("HSETNX", key, f"{begin}{number}", held)
                await answered(pipeline.execute())
            await merged()  # another one may have come in between


async def pepper_prints(client: Client, prefix: str) -> PepperPrints:
    """What the ledger knows of the peppers after its first one."""
    return PepperPrints.of(await answered(client.execute_command("HGETALL", meta_key(prefix))))
