"""The SMS sender: carries CVCs from the log to the SMS gateway.

A message leaves the log only after the gateway has taken it, or has refused it for good. If the sender dies in between,
the message goes out again under the same idempotency key, by which the gateway knows it. A CVC that was replaced while
its message waited does not go out any more.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from gateway.bridge_settings import BridgeSettings
from ledger.identifiers import MESSAGE, entity_key, version_of
from ledger.money import DAY_MS, SECOND_MS
from ledger.records import CvcReissued
from persistence import codec, envelope
from persistence.errors import UNDECODABLE, DamagedLogError, StorageError
from persistence.forgetting import FORGOTTEN
from persistence.log import PAGE_MAX, Log, QueuedMessage
from persistence.vault import SMS, SealBrokenError, Sms, Vault

POLL_SECONDS: Final = 0.1
"""Between two looks for messages: how late one leaves at most."""
STORAGE_SECONDS: Final = 1.0
"""After this a log that did not answer is asked again."""
AT_ONCE_MAX: Final = 32
"""Messages on the way at the same time."""
SEND_SECONDS_MAX: Final = 10.0
"""After this a gateway that has not answered is tried again later."""
ANSWER_BYTES_MAX: Final = 65_536
"""Of an answer; nothing in it is of interest."""
RETRY_MS_MIN: Final = 1 * SECOND_MS
RETRY_MS_MAX: Final = 300 * SECOND_MS
"""Longest pause before a message is tried again."""
DOUBLINGS_MAX: Final = 16
"""How often a pause doubles: far more than it takes to reach the longest."""
GIVE_UP_MS: Final = DAY_MS
"""A message that was queued for so long, and still is not taken, is given up."""
DRAIN_SECONDS_MAX: Final = 5.0
"""How long messages under way may take when the sender stops; they go out again under the same key."""
SUPERSEDED: Final = "its CVC was replaced by a new one"
"""Why a message is not sent that could be."""

_logger = logging.getLogger(__name__)


class Outgoing(Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of the request."""

    message_id: str
    to: str
    text: str

    def __repr__(self) -> str:
        return f"Outgoing(message_id={self.message_id!r})"


class PassingError(Exception):
    """The message was not taken, and may be later: in ``after_ms`` at the earliest."""

    def __init__(self, reason: str, after_ms: int = 0) -> None:
        super().__init__(reason)
        self.after_ms = after_ms


class RefusedError(Exception):
    """The message will never be taken; the text says why, and nothing about who or what."""


class SmsSender:
    """Sends the messages that are due.

    Args:
        log: where they wait.
        vault: opens them.
        settings: where to.
        clock: milliseconds since the epoch.
        client: does the requests.
    """

    def __init__(
        self,
        log: Log,
        vault: Vault,
        settings: BridgeSettings,
        clock: Callable[[], int],
        client: httpx.AsyncClient,
    ) -> None:
        self._log = log
        self._vault = vault
        self._url = settings.sms_url
        self._clock = clock
        self._client = client
        # without it every cookie that the gateway sets would be kept and sent back, as many as it likes
        client.cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._moved = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._waiting = 0
        self._failure = ""
        self._log_failure = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Send until ``stop`` is set; requests under way may still be answered."""
        stopped = asyncio.create_task(stop.wait(), name="sms stop")
        try:
            async with asyncio.TaskGroup() as tasks:
                while not stopped.done():
                    full = await self._begin(tasks)
                    self._moved.clear()
                    moved = asyncio.create_task(self._moved.wait())
                    await asyncio.wait(
                        {stopped, moved} if full else {stopped},
                        timeout=STORAGE_SECONDS if self._log_failure else POLL_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    moved.cancel()
                if self._sending:
                    await asyncio.wait(self._sending.values(), timeout=DRAIN_SECONDS_MAX)
                for task in self._sending.values():
                    task.cancel()
        finally:
            stopped.cancel()

    def report(self) -> dict[str, int | float | str]:
        """What it has sent, and what waits."""
        return {
            "accepted": self._counts["accepted"],
            "retried": self._counts["retried"],
            "givenUp": self._counts["givenUp"],
            "inFlight": len(self._sending),
            "waiting": self._waiting,
            "lastError": self._failure or self._log_failure,
        }

    def ready(self) -> bool:
        """Whether the gateway took, or refused, the last message that it was given; and the log answers."""
        return not self._failure and not self._log_failure

    async def _begin(self, tasks: asyncio.TaskGroup) -> bool:
        """Begin to send what is due, as far as there is room; gives whether there may be more."""
        try:
            due = await self._log.messages_due(self._clock(), AT_ONCE_MAX)
            self._waiting = await self._log.messages_waiting()
        except StorageError as error:
            self._note_log(error)
            return False
        self._log_failure = ""
        for message in due:
            # one at a time for each certificate: an old CVC that is on the way has arrived before the new one leaves
            if message.entity not in self._sending and len(self._sending) < AT_ONCE_MAX:
                task = tasks.create_task(self._carry(message), name=f"sms {message.message_id}")
                self._sending[message.entity] = task
                task.add_done_callback(partial(self._ended, message.entity))
        return len(due) == AT_ONCE_MAX

    def _ended(self, entity: str, _: asyncio.Task[None]) -> None:
        del self._sending[entity]
        self._moved.set()

    async def _carry(self, message: QueuedMessage) -> None:
        """Send one message and note what came of it."""
        try:
            await self._carry_unguarded(message)
        except StorageError as error:
            # it stays due: it is sent again, under the same key
            self._note_log(error)

    async def _carry_unguarded(self, message: QueuedMessage) -> None:
        if message.damage is not None:
            await self._give_up(message, message.damage)
            return
        try:
            if await self._superseded(message):
                _logger.info("message %s is not sent: %s", message.message_id, SUPERSEDED)
                await self._log.message_settle(message, SUPERSEDED)
                return
            await self._send(message)
        except RefusedError as refused:
            await self._give_up(message, str(refused))
        except PassingError as passing:
            self._failure = str(passing)
            now = self._clock()
            give_up_at = message.queued_at + GIVE_UP_MS
            if now >= give_up_at:
                await self._give_up(message, f"not taken within 24 h, at last: {passing}")
                return
            self._counts["retried"] += 1
            _logger.warning("message %s waits: %s", message.message_id, passing)
            pause = max(pause_ms(message.tries), min(passing.after_ms, RETRY_MS_MAX))
            await self._log.message_retry(message, min(now + pause, give_up_at))
        else:
            self._counts["accepted"] += 1
            self._failure = ""
            await self._log.message_settle(message)

    async def _give_up(self, message: QueuedMessage, reason: str) -> None:
        self._counts["givenUp"] += 1
        _logger.error("message %s is given up: %s", message.message_id, reason)
        await self._log.message_settle(message, reason)

    async def _send(self, message: QueuedMessage) -> None:
        """One attempt.

        Raises:
            PassingError: try again later.
            RefusedError: never try again.
        """
        body = await self._open(message)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Idempotency-Key": message.message_id,
        }
        try:
            async with (
                asyncio.timeout(SEND_SECONDS_MAX),
                self._client.stream(
                    "POST", self._url, content=body, headers=headers, follow_redirects=False, timeout=SEND_SECONDS_MAX
                ) as response,
            ):
                await _drain(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # the error's text may hold the address, and that a secret
            raise PassingError(type(error).__name__) from None
        status = response.status_code
        if response.is_success:
            return
        if response.is_client_error:
            self._failure = ""
            raise RefusedError(f"HTTP {status}")
        raise PassingError(f"HTTP {status}", _retry_after_ms(response))

    async def _superseded(self, message: QueuedMessage) -> bool:
        """Whether the CVC in it is void by now: its certificate was given another one after it.

        Raises:
            PassingError: the log cannot tell.
        """
        after = version_of(message.message_id, entity_key(message.entity), MESSAGE)
        if after is None:
            return False
        while True:
            stored = await self._log.history(message.entity, after, PAGE_MAX)
            try:
                if any(isinstance(codec.decode(one).body, CvcReissued) for one in stored):
                    return True
            except DamagedLogError as error:
                raise PassingError(f"{message.entity}: {error}") from None
            if len(stored) < PAGE_MAX:
                return False
            after += PAGE_MAX

    async def _open(self, message: QueuedMessage) -> bytes:
        try:
            sms = msgspec.json.decode(await self._unsealed(message.sealed), type=Sms)
        except SealBrokenError as error:
            # the message may be well and the key not here: somebody may put it back
            raise PassingError(f"cannot be opened: {error}") from None
        except UNDECODABLE:
            raise RefusedError("cannot be opened: not a message") from None
        return msgspec.json.encode(Outgoing(message_id=message.message_id, to=sms.to, text=sms.text))

    async def _unsealed(self, sealed: bytes) -> bytes:
        """What the message says, as long as its recipient was not forgotten.

        Raises:
            RefusedError: he was.
            SealBrokenError: it cannot be opened.
        """
        key = envelope.key_of(sealed)
        if key is None:
            return self._vault.unseal(sealed, SMS)
        (kept,) = await self._log.data_keys([key])
        if kept is None:
            raise SealBrokenError("the data key of its recipient is missing")
        if envelope.is_forgotten(kept):
            raise RefusedError(FORGOTTEN)
        return envelope.unseal(self._vault, sealed, SMS, kept)

    def _note_log(self, error: StorageError) -> None:
        self._log_failure = type(error).__name__
        _logger.warning("the log does not answer the SMS sender: %s", error)


def pause_ms(tries: int) -> int:
    """Pause before the next try, after ``tries`` and one more: 1 s, doubled each time up to 5 min, up to half less."""
    longest = min(RETRY_MS_MIN << min(tries, DOUBLINGS_MAX), RETRY_MS_MAX)
    return int(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load, keeps no secret


def _retry_after_ms(response: httpx.Response) -> int:
    """When the gateway wants to be asked again; 0 if it does not say, or says it as a date."""
    text = response.headers.get("retry-after", "")
    return int(text) * SECOND_MS if text.isascii() and text.isdigit() and len(text) <= 6 else 0  # noqa: PLR2004


async def _drain(response: httpx.Response) -> None:
    """Read the answer, so that the connection can be used again; a long one is cut off."""
    taken = 0
    async for chunk in response.aiter_raw():
        taken += len(chunk)
        if taken > ANSWER_BYTES_MAX:
            return
