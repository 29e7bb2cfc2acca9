"""The whole service in one place: what no setting gives an address for is started here, and stopped in reverse.

The HTTP gateway runs in this process, shards and bridge in Ray actors.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from msgspec.structs import replace

from actors import cluster
from actors.cores import cores_apart, stay_on
from actors.settings import ActorSettings
from examples.sms_gateway import SmsGateway
from gateway.app import create_app
from gateway.bridge_actors import start_bridge
from gateway.server import serve, tls_of
from gateway.services import Condition, Services
from gift_ledger import endpoints as files
from gift_ledger.embedded.broker import EmbeddedBroker
from gift_ledger.embedded.folder import locked, make_keys, make_secrets
from gift_ledger.embedded.ray import EmbeddedRay
from gift_ledger.embedded.valkey import EmbeddedValkey
from gift_ledger.endpoints import Endpoints
from gift_ledger.roles import open_log, open_services, settle_garbage, stopped_by_signals
from gift_ledger.settings import Settings

KEYS_FILE: Final = "keys.json"
VITAL: Final = ("storage", "shards")
READY_SECONDS_MAX: Final = 60.0
"""How long what is vital may take from listening to working."""
CARRYING: Final = ("kafka", "sms")
CARRYING_SECONDS_MAX: Final = 10.0
"""How long the bridge is waited for after that: calls are served without it."""

_POLL_SECONDS: Final = 0.05
"""Between two looks whether all parts are well."""

Ready = Callable[[Endpoints], Awaitable[int | None]]
"""Called once the stack is up. What it returns, if not ``None``, stops the stack and is the exit code."""

_logger = logging.getLogger(__name__)


async def run_up(settings: Settings, ready: Ready) -> int:
    """Run the stack until a signal comes, or until ``ready`` says that it has served its purpose.

    Returns:
        The exit code: that of ``ready``, or 0.

    Raises:
        OSError: a part does not start; the message says which and why.
        StorageError: Redis does not answer, or would lose data.
        ExceptionGroup: a part died for good.
    """
    tls_of(settings.http())  # what is wrong with a certificate is told before anything starts
    stop = stopped_by_signals()
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(locked(settings.data_path))
        return await Stack(settings, stack, lock, stop).run(ready)


class Stack:
    """A stack while it runs; everything is closed by ``closing``."""

    def __init__(self, settings: Settings, closing: AsyncExitStack, lock: int, stop: asyncio.Event) -> None:
        self._settings = settings
        self._closing = closing
        self._lock = lock
        self._stop = stop
        self._valkey: EmbeddedValkey | None = None
        self._ray: EmbeddedRay | None = None
        self._cores = cores_apart(settings.shards) if settings.cores_apart else None
        self._exit_code = 0

    async def run(self, ready: Ready) -> int:
        """Start, serve, and give the exit code."""
        endpoints = await self._start_servers()
        stopped_by_signals(self._stop)
        if self._stop.is_set():
            return 0
        settings = self._settings.at(endpoints)
        if self._valkey is not None:
            settings = replace(settings, redis_url=self._valkey.fast_url)
        make_secrets(settings)
        services, partitions = await self._start_shards(settings)
        await make_keys(services.keys, settings.data_path / KEYS_FILE, services.clock())
        http = settings.http()
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def listens(url: str) -> None:
            listening.set_result(url)

        async with asyncio.TaskGroup() as tasks:
            # tills are served meanwhile; it is not cut off, so that everything that it has started can be stopped
            bridge = tasks.create_task(self._start_bridge(settings, partitions), name="bridge")
            background = [
                tasks.create_task(self._announce(listening, endpoints, services, bridge, ready), name="ready")
            ]
            if self._valkey is not None:
                background.append(tasks.create_task(self._valkey.supervise(), name="valkey"))
            if self._ray is not None:
                background.append(tasks.create_task(self._ray.supervise(self._stop), name="ray"))
            app = create_app(services, http)
            settle_garbage()
            if self._cores is not None:
                stay_on(self._cores[0])
            await serve(app, http, self._stop, listens)
            for task in background:
                task.cancel()
        return self._exit_code

    async def _start_servers(self) -> Endpoints:
        """Everything that the service stands on; the slowest, Ray, begins first."""
        settings = self._settings
        async with asyncio.TaskGroup() as tasks:
            ray = tasks.create_task(self._start_ray(), name="ray")
            redis = settings.redis_url or await self._start_valkey()
            kafka = settings.kafka_bootstrap or await self._start_broker()
            sms = settings.sms_url or await self._start_sms()
        address, dashboard = ray.result()
        return Endpoints(http="", redis=redis, kafka=kafka, sms_inbox=sms, ray=address, ray_dashboard=dashboard)

    async def _start_ray(self) -> tuple[str, str]:
        settings = self._settings
        if settings.ray_address:
            return settings.ray_address, ""
        ray = EmbeddedRay(settings.ray_namespace, settings.dashboard_port)
        self._ray = await self._closing.enter_async_context(ray)
        return ray.address, ray.dashboard

    async def _start_valkey(self) -> str:
        folder = self._settings.data_path / "valkey"
        valkey = EmbeddedValkey(folder, self._settings.run_path, self._lock)
        self._valkey = await self._closing.enter_async_context(valkey)
        return self._valkey.url

    async def _start_broker(self) -> str:
        return (await self._closing.enter_async_context(EmbeddedBroker(self._settings.topics()))).bootstrap

    async def _start_sms(self) -> str:
        gateway = SmsGateway()
        url = await gateway.start()
        self._closing.push_async_callback(gateway.stop)
        return url

    async def _start_shards(self, settings: Settings) -> tuple[Services, int]:
        """The way to the shards, which run, and the number of partitions."""
        log = await open_log(settings)
        partitions = log.partitions
        await log.close()
        actors = settings.actors()
        services = await open_services(settings, self._closing)
        self._closing.push_async_callback(self._stop_actors, actors)
        core = None if self._cores is None else self._cores[1]
        await cluster.start_shards(actors, settings.policy(), settings.storage(), partitions, core=core)
        return services, partitions

    async def _start_bridge(self, settings: Settings, partitions: int) -> None:
        bridge = settings.bridge()
        if self._settings.kafka_bootstrap is None:
            bridge = replace(bridge, assign_partitions=True)
        await start_bridge(bridge, settings.actors(), settings.policy(), settings.storage(), partitions)

    async def _stop_actors(self, actors: ActorSettings) -> None:
        if self._ray is None or await self._ray.answers():
            await cluster.stop_actors(actors)

    async def _announce(
        self,
        listening: "asyncio.Future[str]",
        endpoints: Endpoints,
        services: Services,
        bridge: "asyncio.Task[None]",
        ready: Ready,
    ) -> None:
        endpoints = replace(endpoints, http=await listening, http_certificate=self._settings.http_certificate)
        await asyncio.wait({bridge})
        await _until_well(services)
        endpoints.write(self._settings.data_path)
        self._closing.callback((self._settings.data_path / files.FILE_NAME).unlink, missing_ok=True)
        code = await ready(endpoints)
        if code is not None:
            self._exit_code = code
            self._stop.set()


async def _until_well(services: Services) -> None:
    """Wait until all parts are well; those that stay down do not keep the others from serving: readiness tells them."""
    for parts, seconds_max in ((VITAL, READY_SECONDS_MAX), (CARRYING, CARRYING_SECONDS_MAX)):
        try:
            async with asyncio.timeout(seconds_max):
                while True:
                    if await _are_well(services, parts):
                        break
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            _logger.warning("%s: not well yet; `gift-ledger doctor` tells what is wrong.", ", ".join(parts))


async def _are_well(services: Services, parts: Sequence[str]) -> bool:
    health = await services.health.health()
    return all(getattr(health, part).status is Condition.OK for part in parts)
