"""Tries every script once on keys of its own, before the first true write.

A server stops a script in the middle when its user may not do one of the commands in it, and what was written by then
stays. So whether a user may do all of them has to be known before, and no listing of rights is as sure as doing it.
"""

from secrets import token_hex

import redis.exceptions

from persistence.errors import StorageUnavailableError, StorageUnsafeError
from persistence.idempotency import day_of
from persistence.log import AttemptsChange, Batch, Change, DataKey, Outcome, QueuedMessage
from persistence.redis_append import compile_batch, encode_message
from persistence.redis_client import Client, Word
from persistence.redis_errors import FOREIGN, translate
from persistence.redis_keys import Keys
from persistence.redis_scripts import Script, Scripts

_ENTITY = "c:REHEARSAL"
_ORDER = "o:REHEARSAL"
_MINUTE_MS = 60_000


async def rehearse(client: Client, scripts: Scripts, prefix: str, now: int) -> None:
    """Run all scripts that write, and take away what they have written, as one transaction; ``now`` in milliseconds.

    Raises:
        StorageUnsafeError: one of their commands is not allowed to this user, or unknown to the server.
        StorageError: see :mod:`persistence.redis_errors`.
    """
    keys = Keys(f"{prefix}:rehearsal:{token_hex(8)}", 1)
    calls = _calls(scripts, keys, now)
    try:
        for script, _, _ in calls:
            await client.execute_command("SCRIPT LOAD", script.text)
        async with client.pipeline(transaction=True) as pipeline:
            for script, names, words in calls:
                pipeline.execute_command("EVALSHA", script.digest, len(names), *names, *words)
            pipeline.execute_command("UNLINK", *_written(keys, now))
            await pipeline.execute()
    except FOREIGN as error:
        ours = translate(error)
        if not isinstance(error, redis.exceptions.ResponseError) or type(ours) is not StorageUnavailableError:
            raise ours from error
        raise StorageUnsafeError(
            f"the server does not let us do all that an append does, so that one could stop half-way: {error}. If it "
            "is a right that is missing, allow it: docs/security.md has the whole rule, `ACL SETUSER user ~* +@all "
            "-@admin +config|get` allows more."
        ) from error


def _calls(scripts: Scripts, keys: Keys, now: int) -> list[tuple[Script, list[str], list[Word]]]:
    message = QueuedMessage("rehearsal", _ENTITY, b"", now, now)
    code = _ENTITY[2:]
    first = Batch(
        (Change(_ENTITY, 0, (b"record",), now, b"1|state"),),
        ((_ENTITY, b"event"),),
        (Outcome(b"key", b"value"),),
        (AttemptsChange(code, None, b"one", _MINUTE_MS),),
        (message,),
        (DataKey(_ORDER, "1/1", b"key"),),
    )
    second = Batch((Change(_ENTITY, 1, due=0),), attempts=(AttemptsChange(code, b"one", None, _MINUTE_MS),))
    waiting = [keys.messages[0], keys.messages_due[0]]
    appends = [compile_batch(batch, keys, 1, now) for batch in (first, second)]
    return [
        *((scripts.append, call.keys, call.words) for call in appends),
        (scripts.acknowledge, [keys.outboxes[0], keys.heads[0]], [0, 1]),
        (scripts.message_retry, waiting, ["rehearsal", encode_message(message), now]),
        (scripts.data_keys, [keys.data_keys[0] + _ORDER], ["replace", "1/1", b"key", b"another"]),
        (scripts.message_settle, [*waiting, keys.failures[0]], ["rehearsal", b"note", 1]),
    ]


def _written(keys: Keys, now: int) -> list[str]:
    return [
        keys.logs[0] + _ENTITY,
        keys.snapshots[0] + _ENTITY,
        keys.entities[0],
        keys.timers[0],
        keys.outboxes[0],
        keys.heads[0],
        keys.messages[0],
        keys.messages_due[0],
        keys.failures[0],
        keys.outcomes(day_of(now)),
        keys.attempts(_ENTITY[2:]),
        keys.data_keys[0] + _ORDER,
    ]
