"""A stack whose parts are programs of their own, as on several machines: a Ray head, shards, bridge and gateways."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from persistence.vault import Vault
from tests.real.process import ServerProcess, free_port
from tests.real.stack import (
    ANSWER_SECONDS_MAX,
    PROGRAM,
    STOP_SECONDS_MAX,
    kill_all,
    processes_of,
    run_program,
    stack_environment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RAY: Final = str(Path(sys.executable).with_name("ray"))
START_SECONDS_MAX: Final = 90.0
SHARDS_SIGN: Final = "shards listen at"
"""What the role says once all shards can be reached."""
ROLES: Final = {"storefront", "pos", "payments", "support", "ops"}


class Balanced(httpx.AsyncBaseTransport):
    """A load balancer: each request goes to the next gateway, and to another one if that takes no connections."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = 0
        self._http = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it on."""
        self._turn += 1
        first, *others = [self._ports[(self._turn + step) % len(self._ports)] for step in range(len(self._ports))]
        for port in others:
            try:
                return await self._send(request, port)
            except httpx.ConnectError:
                continue
        return await self._send(request, first)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def _send(self, request: httpx.Request, port: int) -> httpx.Response:
        request.url = request.url.copy_with(port=port)
        return await self._http.handle_async_request(request)


class RoleStack:
    """The parts, started one by one; channels go over TCP with a token.

    Its methods block. A test with a running event loop calls them through `asyncio.to_thread`.

    Args:
        directory: Where the secrets and what the programs say are.
        settings: By name, without the prefix: where Redis, Kafka and the SMS gateway are.
        gateways: How many there are.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str], gateways: int = 2) -> None:
        self.role_settings: dict[str, dict[str, object]] = {}
        """What single roles have otherwise."""
        self.role_commands: dict[str, list[str]] = {}
        """Programs of single roles that are not `gift-ledger` itself."""
        self._directory = directory
        self.data_dir = directory / "data"
        self.bootstrap = settings["KAFKA_BOOTSTRAP"]
        self.ports = [free_port() for _ in range(gateways)]
        self.doors = list(self.ports)
        """Ports at which clients reach the gateways."""
        self._ray_port = free_port()
        self._ray_folder = tempfile.TemporaryDirectory(prefix="gl-ray-")  # sockets need a short path
        own = {"RAY_ADDRESS": f"127.0.0.1:{self._ray_port}", "CHANNEL": "tcp", "CHANNEL_HOST": "auto", **settings}
        self.environment = stack_environment(self.data_dir, own, measured=True) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: all on loopback
        }
        self._programs: dict[str, ServerProcess] = {}
        self.keys: dict[str, str] = {}

    def start(self) -> None:
        """Start everything, and make a key for each role."""
        self.data_dir.mkdir(mode=0o700)
        Vault.create(self.data_dir / "secrets.json")
        token = self.data_dir / "channel.token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.start_programs()
        for role in sorted(ROLES):
            made = self.run("keys", "create", f"test-{role}", role)
            assert made.returncode == 0, made.stderr
            self.keys[role] = made.stdout.strip()

    def start_programs(self) -> None:
        """Start everything that runs; what is on disk is there."""
        self._start_ray()
        self.start_role("shards", SHARDS_SIGN)
        self.start_role("bridge")
        for number in range(len(self.ports)):
            self.start_gateway(number)

    def start_gateway(self, number: int, settings: Mapping[str, object] | None = None) -> None:
        """Start a gateway, and wait until it listens."""
        port = self.ports[number]
        sign = f"listening on http://127.0.0.1:{port}"
        self.start_role("gateway", sign, f"gateway-{number}", {"HTTP_PORT": port, **(settings or {})})

    def start_role(
        self, role: str, sign: str = "", name: str | None = None, settings: Mapping[str, object] | None = None
    ) -> None:
        """Start a role, and wait until it has logged ``sign``."""
        folder = self._directory / (name or role)
        own = {**self.role_settings.get(role, {}), **(settings or {})}
        more = {f"GIFT_LEDGER_{key}": str(value) for key, value in own.items()}
        command = ["setsid", *self.role_commands.get(role, [PROGRAM]), role]
        program = ServerProcess(command, folder, self.environment | more)
        self._programs[name or role] = program
        said = program.log_path.stat().st_size if program.log_path.exists() else 0
        program.start(lambda: sign in program.log_path.read_text(errors="replace")[said:], START_SECONDS_MAX)

    def stop(self, name: str) -> None:
        """Ask a program to end (SIGTERM), and wait until it has.

        Raises:
            ServerFailedError: It took too long.
        """
        self._programs.pop(name).stop(STOP_SECONDS_MAX)

    def kill(self, name: str) -> None:
        """Kill a program (SIGKILL)."""
        self._programs.pop(name).kill()

    def kill_programs(self) -> None:
        """Kill everything that runs, as a power cut would."""
        for name in list(self._programs):
            self.kill(name)
        kill_all(self.data_dir)

    def program(self, name: str) -> ServerProcess:
        """A program that was started."""
        return self._programs[name]

    def end(self) -> None:
        """End everything: our programs in good order, then Ray, which would give the actors half a minute to leave."""
        ray = self._programs.pop("ray", None)
        try:
            for name in reversed(list(self._programs)):
                self.stop(name)
        finally:
            if ray is not None:
                ray.kill()
            kill_all(self.data_dir)
            self._ray_folder.cleanup()

    def processes(self, kind: str) -> list[int]:
        """Process ids of the parts of one kind."""
        return sorted(pid for pid, command in processes_of(self.data_dir).items() if kind in command)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `gift-ledger` to its end."""
        return run_program(self.environment, *arguments)

    def actors(self) -> list[dict[str, object]]:
        """What `gift-ledger inspect` tells of the actors."""
        told: list[dict[str, object]] = json.loads(self.run("inspect", "--json").stdout)
        return told

    def client(self, role: str, gateway: int | None = None) -> httpx.AsyncClient:
        """A client with the key of a role: of one gateway, or of all by way of a load balancer."""
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.doors[gateway or 0]}",
            headers={"Authorization": f"Bearer {self.keys[role]}"},
            timeout=ANSWER_SECONDS_MAX,
            trust_env=False,
            transport=Balanced(self.doors) if gateway is None else None,
        )

    def _start_ray(self) -> None:
        ports = {
            "--port": self._ray_port,
            "--ray-client-server-port": free_port(),
            "--dashboard-agent-listen-port": free_port(),
        }
        command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
        command += [f"--temp-dir={self._ray_folder.name}", "--num-cpus=2", "--object-store-memory=80000000"]
        command += [f"{option}={port}" for option, port in ports.items()]
        program = ServerProcess(["setsid", *command], self._directory / "ray", self.environment)
        self._programs["ray"] = program

        def started() -> bool:
            return "Ray runtime started" in program.log_path.read_text(errors="replace") and _listens(self._ray_port)

        program.start(started, START_SECONDS_MAX)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
