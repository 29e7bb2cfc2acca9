"""A proof divided among processes: Python replays records in one thread, and a machine has more cores than that.

Each process takes one partition after the other, so that none is left with a long one in the end. What only shows when
all were read (:meth:`persistence.verification.Proof.conclude`) is looked for here. The findings are the same whatever
the number of processes.
"""

import asyncio
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

from msgspec import Struct

from ledger.policy import DEFAULT_POLICY, Policy
from persistence.errors import StorageError
from persistence.idempotency import now_ms
from persistence.log import Log
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.verification import OnProgress, Progress, Proof, Share, VerificationReport

PROCESSES_MAX: Final = 16
"""Beyond it the one thread of the server, which all of them read from, is what takes the time."""
ENTITIES_EACH_MIN: Final = 5_000
"""A process takes half a second to start: in that time another one has replayed so many entities."""
TOLD_EVERY: Final = 256
"""Entities between two words of a process about how far it is."""
END_SECONDS_MAX: Final = 5.0
"""How long a process may take to end once it is told to; then it is killed, for it only reads."""


class ProcessLostError(OSError):
    """A process ended before it had done its part: it was killed, or there was no memory."""


class Task(Struct, frozen=True, kw_only=True):
    """What every process of a proof has to know. ``clock`` is a function of a module: it goes to other processes."""

    storage: StorageSettings
    policy: Policy = DEFAULT_POLICY
    clock: Callable[[], int] = now_ms


def processes_for(entities: int) -> int:
    """How many processes a proof of so many entities is worth on this machine."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, PROCESSES_MAX, entities // ENTITIES_EACH_MIN))


async def verify_divided(log: Log, task: Task, processes: int, on_progress: OnProgress) -> VerificationReport:
    """Read and prove a whole log.

    Args:
        log: that of ``task``, to look at what only shows in the end.
        task: where the log is, and how it is judged.
        processes: how many to start; no more than there are partitions.
        on_progress: is told now and then how far it is.

    Raises:
        StorageError: the log could not be read.
        ProcessLostError: a process ended before it had done its part.
    """
    division = _Division(task, on_progress, sum(await log.entity_counts()), range(log.partitions))
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(processes, log.partitions)):
                tasks.create_task(division.work())
    except ExceptionGroup as group:
        known, others = group.split((StorageError, ProcessLostError))
        if known is None or others is not None:
            raise
        raise known.exceptions[0] from group  # each of the others has the same to say
    proof = Proof(log, on_progress, clock=task.clock, policy=task.policy)
    for partition in range(log.partitions):
        proof.add(division.shares[partition])
    await proof.conclude()
    return proof.report()


class _Division:
    def __init__(self, task: Task, on_progress: OnProgress, total: int, partitions: range) -> None:
        self._task = task
        self._on_progress = on_progress
        self._total = total
        self._left = deque(partitions)
        self._context = multiprocessing.get_context("spawn")  # a fork would share our event loop and our connections
        self._entities = self._records = 0
        self.shares: dict[int, Share] = {}

    async def work(self) -> None:
        """Have one process prove partitions until none is left."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_prove, args=(theirs, self._task), daemon=True)
        process.start()
        theirs.close()
        try:
            while self._left:
                partition = self._left.popleft()
                ours.send(partition)
                self.shares[partition] = await self._share(ours)
        except (EOFError, ConnectionError):
            raise ProcessLostError("a process of the proof ended before it had done its part") from None
        except BaseException:
            process.terminate()
            process.join(END_SECONDS_MAX)  # it ends the thread that listens to it, too
            raise
        finally:
            ours.close()
            process.join(END_SECONDS_MAX)
            process.kill()
            process.join()

    async def _share(self, process: Connection) -> Share:
        """What one partition came to; on the way there, how far it is."""
        entities = records = 0
        while True:
            told = await asyncio.to_thread(process.recv)
            match told:
                case Progress():
                    self._entities += told.entities - entities
                    self._records += told.records - records
                    entities, records = told.entities, told.records
                    self._on_progress(Progress(self._entities, self._records, self._total))
                case Share():
                    return told
                case StorageError():
                    raise told
                case _:
                    raise TypeError(f"a process of the proof sent a {type(told).__name__}")


def _prove(parent: Connection, task: Task) -> None:
    """The life of a process: prove the partitions that are asked for, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    asyncio.run(_serve(parent, task))


async def _serve(parent: Connection, task: Task) -> None:
    try:
        log = await RedisLog.open(task.storage)
    except StorageError as error:
        parent.send(error)
        return
    try:
        while (partition := _asked(parent)) is not None:
            parent.send(await _proved(log, task, partition, parent))
    finally:
        await log.close()


def _asked(parent: Connection) -> int | None:
    try:
        partition: int = parent.recv()
    except EOFError:
        return None
    return partition


async def _proved(log: Log, task: Task, partition: int, parent: Connection) -> Share | StorageError:
    def tell(progress: Progress) -> None:
        if progress.entities % TOLD_EVERY == 0:
            parent.send(progress)

    proof = Proof(log, tell, clock=task.clock, policy=task.policy)
    try:
        await proof.prove(partition)
    except StorageError as error:
        return error
    share = proof.share()
    parent.send(Progress(share.certificates + share.orders, share.records, 0))
    return share
