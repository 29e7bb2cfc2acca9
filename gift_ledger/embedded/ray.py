"""The embedded Ray: a cluster of this one machine, with its dashboard, on loopback."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import ray

from actors.ray_calls import call_ray
from gift_ledger.embedded.valkey import free_port

DASHBOARD_PORT: Final = 8265
"""Ray's own choice: only if nobody asks for another, Ray takes the next free one where this one is taken."""
OBJECT_STORE_BYTES: Final = 80_000_000
"""The least that Ray takes; nothing of ours goes through the object store."""

ANSWER_SECONDS_MAX: Final = 1.0
"""How long the cluster may take to say that it is there."""
WATCH_SECONDS: Final = 1.0
"""Between two looks at whether the cluster is still there."""
LOOK_SECONDS_MAX: Final = 4.0
"""How long a look may take: a call that the cluster dies under would come back after a minute."""
MISSED_MAX: Final = 3
"""Looks in a row that may find nobody: the machine may be busy."""


class RayEndedError(OSError):
    """The embedded Ray has ended by itself."""


class RayStartError(OSError):
    """The embedded Ray does not start; the message says why."""


class EmbeddedRay:
    """A Ray cluster that lives as long as the ``async with`` block.

    Args:
        namespace: of our actors.
        dashboard_port: 0 for any free one.
    """

    def __init__(self, namespace: str, dashboard_port: int) -> None:
        self._namespace = namespace
        self._dashboard_port = dashboard_port or free_port()
        self.address = ""
        self.dashboard = ""

    async def __aenter__(self) -> Self:
        """Start it; takes three to five seconds.

        Raises:
            RayStartError: the port of the dashboard is taken.
        """
        self._require_free_port()
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ray ends the processes that it has started here. Those that these have started may outlive them if Ray is ill.
        with _descendants(os.getpid()) as indirect:
            await asyncio.to_thread(ray.shutdown)
            for process in indirect:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)

    def _require_free_port(self) -> None:
        """Where Ray's own choice is taken it finds another port; any other one was asked for."""
        if self._dashboard_port == DASHBOARD_PORT:
            return
        try:
            socket.create_server(("127.0.0.1", self._dashboard_port)).close()
        except OSError as error:
            taken = f"Ray's dashboard cannot have port {self._dashboard_port}: {error.strerror}."
            raise RayStartError(f"{taken} Set another dashboard_port.") from error

    async def supervise(self, stop: asyncio.Event) -> None:
        """Watch over the cluster until ``stop`` is set: the signal that sets it may end Ray's processes as well.

        Without the cluster the actors go on for a while, but nobody would start one that dies; and Ray would end this
        process after a minute, in the middle of whatever it does.

        Raises:
            RayEndedError: it is gone.
        """
        missed = 0
        while missed < MISSED_MAX and not stop.is_set():
            await asyncio.sleep(WATCH_SECONDS)
            missed = 0 if await self._has_a_node() else missed + 1
        if not stop.is_set():
            raise RayEndedError("Ray has ended by itself. Nothing is lost: start the stack again.")

    async def answers(self) -> bool:
        """Whether the cluster is still there.

        A signal that goes to a whole group of processes ends Ray's together with us. Ray's own calls would then wait
        for a minute until they end the process.
        """
        host, _, port = self.address.rpartition(":")
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _has_a_node(self) -> bool:
        if not await self.answers():
            return False
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                nodes = await call_ray(ray.nodes)
        except TimeoutError:
            return False
        return any(node["Alive"] for node in nodes)

    def _start(self) -> None:
        # it would warn of its token and of our thread; both are as they should be
        logging.getLogger("ray").setLevel(logging.ERROR)
        context = ray.init(
            address="local",  # or a file that an earlier cluster has left is taken for a running one
            namespace=self._namespace,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=None if self._dashboard_port == DASHBOARD_PORT else self._dashboard_port,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
        self.address = ray.get_runtime_context().gcs_address
        self.dashboard = f"http://{context.dashboard_url}"


@contextmanager
def _descendants(pid: int) -> Iterator[list[int]]:
    """Descriptors of the children's children of a process, and of all below them."""
    with ExitStack() as descriptors:
        found = []
        below = [grandchild for child in _children(pid) for grandchild in _children(child)]
        while below:
            process = below.pop()
            below += _children(process)
            with suppress(ProcessLookupError):
                found.append(os.pidfd_open(process))
                descriptors.callback(os.close, found[-1])
        yield found


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []  # it has ended
