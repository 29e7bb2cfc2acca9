"""How many wrong CVCs a client may send, and how many from one address: decision 0020.

The certificate's own limit (:mod:`ledger.attempts`) stops who tries many CVCs on one code. This one stops who tries a
few CVCs on each of many codes. It is asked before the ledger is, so it says nothing about a code.
"""

import asyncio
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import Any, Final

from gateway.faults import Fault, ProblemError
from gateway.record import ASK, FREE, FULL, REFRESH_SECONDS, WAIT, Record
from gateway.settings import GatewaySettings
from ledger.refusals import Refusal
from persistence.errors import StorageError
from persistence.windows import Windows

EARNED_MAX: Final = 500
"""Further wrong CVCs that a good record earns at most."""
RECORDS_MAX: Final = 50_000
"""Clients and addresses that are remembered, the latest ones; what others did is asked for again."""
SEEN_MAX: Final = 50_000
"""Certificates whose right CVC has counted already, the latest ones: who owns one shall not earn guesses with it."""
WAIT_SECONDS_MAX: Final = 3.0
"""How long a call waits for CVCs that are under way."""
CLOSED_SECONDS: Final = 1.0
"""How long nobody asks again after the windows did not answer."""
NAME_BYTES: Final = 12

_logger = logging.getLogger(__name__)


def kept_max(settings: GatewaySettings) -> int:
    """How many of a window have to be kept: more than are ever allowed."""
    floor = max(settings.guess_client_wrong_max, settings.guess_address_wrong_max)
    return 2 * (floor + EARNED_MAX)


class Charge:
    """A CVC that is being tried by a client from an address; :meth:`Guesses.settle` ends it, once."""

    __slots__ = ("address", "client")

    def __init__(self, client: Record, address: Record) -> None:
        self.client: Final = client
        self.address: Final = address


class Guesses:
    """Lets CVCs be tried, and keeps count of those that were wrong.

    A CVC that is being tried counts as wrong until it is answered. What other gateways have counted is asked for before
    a first one, and again and again; an address with a good record of its own does not depend on the rest of its
    client.

    Args:
        windows: what all gateways know, in windows of ``guess_window_seconds``.
        settings: how many may be wrong.
        counts: where CVCs that were wrong, and those that were not tried, are counted.
        clock: seconds.
    """

    def __init__(
        self,
        windows: Windows,
        settings: GatewaySettings,
        counts: Counter[str],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._windows = windows
        self._settings = settings
        self._clock = clock
        self._records: OrderedDict[tuple[str, str], Record] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_until = float("-inf")
        self._failing = False
        self._counts = counts

    def take_now(self, client: str, address: str) -> Charge | None:
        """Have a CVC be tried, if that can be decided by what is known here; ``None``: :meth:`take` decides."""
        now = self._clock()
        of_client, of_address = self._record(client, ""), self._record(client, address)
        if of_address.room(now) is not FREE:
            return None
        room = of_client.room(now)
        if room is not FREE and (room is ASK or not self._is_good(of_address, now)):
            return None
        refresh_before = now - REFRESH_SECONDS
        if (of_client.read_at <= refresh_before or of_address.read_at <= refresh_before) and now >= self._closed_until:
            for record in (of_client, of_address):
                if record.read_at <= refresh_before:
                    self._ask(record)
        return _charge(of_client, of_address)

    async def take(self, client: str, address: str) -> Charge:
        """Have a CVC be tried, as soon as that can be decided.

        Raises:
            ProblemError: 429 ``RateLimited``; 503 ``Overloaded`` if it cannot be decided. Nothing happened.
        """
        deadline = self._clock() + WAIT_SECONDS_MAX
        while True:
            now = self._clock()
            of_client, of_address = self._record(client, ""), self._record(client, address)
            rooms = {record: record.room(now) for record in (of_address, of_client)}
            asking = [record for record, room in rooms.items() if room is ASK]
            if asking and now >= self._closed_until:
                await asyncio.gather(*(asyncio.shield(self._ask(record)) for record in asking))
                continue
            good = self._is_good(of_address, now)
            if asking:
                if not good:
                    raise self._closed()
            elif rooms[of_address] is FULL:
                raise self._refused("address", of_address, now)
            elif rooms[of_client] is FULL and not good:
                raise self._refused("client", of_client, now)
            elif rooms[of_address] is WAIT or (rooms[of_client] is WAIT and not good):
                if not await _changes(of_address if rooms[of_address] is WAIT else of_client, deadline - now):
                    raise self._busy()
                continue
            return _charge(of_client, of_address)

    def settle(self, charge: Charge, *, wrong: bool) -> Awaitable[object]:
        """End a charge that came to nothing, or was wrong.

        That is begun when this returns, whatever becomes of the caller; once what is returned is done, all gateways
        know.
        """
        if not wrong:
            self.let_go(charge)
            return nothing()
        self._counts["wrong"] += 1
        notes = [
            self._spawn(self._note_wrong(record), f"guesses: wrong by {record.name}")
            for record in (charge.address, charge.client)
        ]
        return asyncio.shield(asyncio.gather(*notes))

    def let_go(self, charge: Charge) -> None:
        """End a charge that says nothing, neither of the CVC nor of who sent it."""
        charge.address.end()
        charge.client.end()

    def right(self, charge: Charge, client: str, entity: str) -> None:
        """End a charge that was right. It counts for the record, once for each certificate in a window."""
        self.let_go(charge)
        now = self._clock()
        seen = (client, entity)
        if self._seen.get(seen, float("-inf")) > now:
            return
        self._seen.pop(seen, None)
        self._seen[seen] = now + self._settings.guess_window_seconds
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        for record in (charge.address, charge.client):
            record.right += 1
            if record.right >= self._settings.guess_right_per_wrong and record.earned < EARNED_MAX:
                record.right = 0
                record.earned += 1
                self._spawn(self._note_earned(record), f"guesses: earned by {record.name}")

    async def close(self) -> None:
        """Let what is being noted come to its end."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the windows -------------------------------------------------------------------------------------------------

    def _ask(self, record: Record) -> asyncio.Task[None]:
        """Find out what the others have counted, or wait for whoever does; it never fails."""
        if record.reading is None:
            record.reading = self._spawn(self._read(record), f"guesses: read {record.name}")
            record.reading.add_done_callback(partial(_read_done, record))
        return record.reading

    async def _read(self, record: Record) -> None:
        try:
            if record.failed:
                failed = record.failed
                await self._windows.add(_wrong(record), failed)
                record.failed -= failed
                record.since += failed
            added = record.since
            wrong, earned = await asyncio.gather(
                self._windows.count(_wrong(record)), self._windows.count(_earned(record))
            )
        except StorageError as error:
            self._trouble(error)
            return
        now = self._clock()
        record.wrong, record.earned = wrong.number, min(earned.number, EARNED_MAX)
        record.since -= added
        record.oldest_at = now + wrong.oldest_seconds
        record.read_at = now
        self._failing = False

    async def _note_wrong(self, record: Record) -> None:
        try:
            await self._windows.add(_wrong(record))
        except StorageError as error:
            record.failed += 1
            self._trouble(error)
        except BaseException:
            record.failed += 1
            raise
        else:
            record.since += 1
        finally:
            record.end()

    async def _note_earned(self, record: Record) -> None:
        try:
            await self._windows.add(_earned(record))
        except StorageError as error:
            self._trouble(error)

    def _trouble(self, error: StorageError) -> None:
        self._closed_until = self._clock() + CLOSED_SECONDS
        if not self._failing:
            self._failing = True
            _logger.warning("CVCs are not taken from addresses without a good record: %s", error)

    # --- what is known here ------------------------------------------------------------------------------------------

    def _record(self, client: str, address: str) -> Record:
        """What is known of a client's address, or of all of a client (``""``, which is no address)."""
        key = (client, address)
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
            return record
        settings = self._settings
        floor = settings.guess_address_wrong_max if address else settings.guess_client_wrong_max
        record = self._records[key] = Record(_name(client, address), floor)
        if len(self._records) > RECORDS_MAX:
            self._forget_one()
        return record

    def _forget_one(self) -> None:
        """Forget the one that was not asked for the longest; what is under way or could not be noted stays."""
        for key, record in self._records.items():
            if not record.under_way and not record.failed and record.reading is None:
                del self._records[key]
                return

    def _is_good(self, record: Record, now: float) -> bool:
        return record.is_good(now, self._settings.guess_window_seconds)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- refusals ----------------------------------------------------------------------------------------------------

    def _refused(self, limit: str, record: Record, now: float) -> ProblemError:
        self._counts[limit] += 1
        return too_many(max(1, math.ceil(record.oldest_at - now)))

    def _busy(self) -> ProblemError:
        self._counts["busy"] += 1
        return ProblemError(Fault.OVERLOADED, "Too many CVCs are being tried at once; nothing happened. Try again.")

    def _closed(self) -> ProblemError:
        self._counts["closed"] += 1
        return ProblemError(Fault.OVERLOADED, "A CVC cannot be checked just now; nothing happened. Try again.")


def too_many(wait: int) -> ProblemError:
    """429 for the next ``wait`` seconds; the same whatever the code is, and whichever limit it was."""
    detail = f"Too many wrong CVCs came from here; try again in {wait} s. Nothing happened."
    return ProblemError(Refusal.RATE_LIMITED, detail, figures={"retryAfter": wait})


def _charge(client: Record, address: Record) -> Charge:
    client.begin()
    address.begin()
    return Charge(client, address)


async def _changes(record: Record, seconds_max: float) -> bool:
    """Whether one of those that are under way ends within the time; returns when it does."""
    waiter = record.changed()
    try:
        async with asyncio.timeout(seconds_max):
            await waiter
    except TimeoutError:
        return False
    finally:
        record.forget(waiter)
    return True


def nothing() -> Awaitable[None]:
    """What is done already."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _read_done(record: Record, _task: asyncio.Task[None]) -> None:
    record.reading = None


def _name(client: str, address: str) -> str:
    """The same in all gateways; addresses are personal data, and need not stand in Redis as they are."""
    return blake2b(f"{client}\0{address}".encode(), digest_size=NAME_BYTES).hexdigest()


def _wrong(record: Record) -> str:
    return f"{record.name}:wrong"


def _earned(record: Record) -> str:
    return f"{record.name}:earned"
