"""The Lua scripts, and how they are run."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError

from persistence.errors import StorageUnavailableError
from persistence.redis_client import Client, Word
from persistence.redis_errors import answered

Words = Sequence[Word]

WAIT_SHARE: Final = 0.8
"""Part of the time-out that the server may wait for its replicas, so that its answer comes while we still listen."""


class Script:
    """One script; a server that has seen it knows it by its SHA-1."""

    def __init__(self, name: str) -> None:
        self.text = files("persistence").joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
        self.digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """All scripts, run on one client.

    Args:
        client: where.
        replicas: replicas that have to have a write on disk before it counts.
        timeout_seconds: the client's own time-out.
    """

    def __init__(self, client: Client, *, replicas: int, timeout_seconds: float) -> None:
        self._client = client
        self._replicas = replicas
        self._wait_ms = max(1, int(timeout_seconds * WAIT_SHARE * 1_000))
        self.append = Script("append")
        self.load = Script("load")
        self.acknowledge = Script("acknowledge")
        self.message_retry = Script("message_retry")
        self.message_settle = Script("message_settle")
        self.data_keys = Script("data_keys")
        self.sizes = Script("sizes")
        self.writable = Script("writable")

    async def read(self, script: Script, keys: Words, words: Words = ()) -> Any:  # noqa: ANN401 - as the script returns
        """Run a script whose effect, if it has one, need not reach the replicas.

        Raises:
            StorageError: see :mod:`persistence.redis_errors`.
        """
        return await answered(self._run(script, ("EVALSHA", script.digest, len(keys), *keys, *words)))

    async def write(self, script: Script, keys: Words, words: Words = ()) -> Any:  # noqa: ANN401 - as the script returns
        """Run a script, and return once what it wrote is on disk: here, and on as many replicas as are asked for.

        Raises:
            StorageUnavailableError: also if too few replicas confirmed it in time. It is written here all the same.
        """
        command = ("EVALSHA", script.digest, len(keys), *keys, *words)
        if not self._replicas:
            return await answered(self._run(script, command))
        answer, (_, confirmed) = await answered(self._run_and_wait(script, command))
        if confirmed < self._replicas:
            message = f"{confirmed} of {self._replicas} replicas have the write on disk after {self._wait_ms} ms"
            raise StorageUnavailableError(message)
        return answer

    async def _run(self, script: Script, command: Words) -> Any:  # noqa: ANN401 - as the script returns
        try:
            return await self._client.execute_command(*command)
        except NoScriptError:  # a server that was restarted, or whose scripts were flushed
            await self._client.execute_command("SCRIPT LOAD", script.text)
            return await self._client.execute_command(*command)

    async def _run_and_wait(self, script: Script, command: Words) -> Any:  # noqa: ANN401 - as the script returns
        try:
            return await self._send_both(command)
        except NoScriptError:
            await self._client.execute_command("SCRIPT LOAD", script.text)
            return await self._send_both(command)

    async def _send_both(self, command: Words) -> list[Any]:
        # in one pipeline, because WAITAOF is about the writes of its own connection
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*command)
            pipeline.execute_command("WAITAOF", 1, self._replicas, self._wait_ms)
            answers: list[Any] = await pipeline.execute()
            return answers
