"""The shells of the bridge, without Ray: what they open, what they tell, and how they end."""

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from actors.settings import ActorSettings
from gateway import bridge_actors
from gateway.bridge_actors import BridgeActor, BridgeBoot, OutboxRelayActor, SmsSenderActor, Worker
from gateway.bridge_settings import BridgeSettings
from ledger.policy import DEFAULT_POLICY
from persistence import secrets_file
from persistence.errors import StorageUnavailableError
from persistence.memory import MemoryLog
from persistence.settings import StorageSettings
from persistence.vault import Vault


class Quiet:
    """A worker that waits to be stopped, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.running = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        self.running.set()
        if self.failure is not None:
            raise self.failure
        await stop.wait()

    def report(self) -> dict[str, int | float | str]:
        return {"carried": 7}

    def ready(self) -> bool:
        return True


class QuietActor(BridgeActor):
    kind = "quiet"
    carries = "nothing"
    quiet: Quiet

    async def worker(self, log: object, vault: Vault, stack: AsyncExitStack) -> Worker:  # noqa: ARG002
        return self.quiet


class Log(MemoryLog):
    closed = False

    async def close(self) -> None:
        self.closed = True


class Opened:
    """Stands in for the log in Redis."""

    def __init__(self, refusals: int = 0) -> None:
        self.log = Log()
        self.refusals = refusals

    async def open(self, _settings: StorageSettings) -> MemoryLog:
        if self.refusals:
            self.refusals -= 1
            raise StorageUnavailableError("still loading")
        return self.log


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The actor sets levels for its whole process; they are set back."""
    names = ("httpx", "aiokafka")
    levels = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    made = Opened()
    monkeypatch.setattr(bridge_actors, "RedisLog", made)
    monkeypatch.setattr(bridge_actors, "_REOPEN_SECONDS", 0.0)
    return made


@pytest.fixture
def boot(tmp_path: Path) -> BridgeBoot:
    path = tmp_path / "secrets.json"
    Vault.create(path)
    return BridgeBoot(
        name="bridge:quiet",
        bridge=BridgeSettings(bootstrap="127.0.0.1:1", sms_url="http://127.0.0.1:1/"),
        actors=ActorSettings(),
        policy=DEFAULT_POLICY,
        storage=StorageSettings(redis_url="redis://127.0.0.1:1/0", secrets_path=str(path)),
        partitions=32,
    )


async def test_it_waits_for_the_log_works_and_ends_in_good_order(opened: Opened, boot: BridgeBoot) -> None:
    opened.refusals = 2
    QuietActor.quiet = Quiet()
    actor = QuietActor(boot)
    starting = await actor.report()

    await QuietActor.quiet.running.wait()
    alive = await actor.report()
    await actor.stop()

    assert (starting.state, starting.facts) == ("STARTING", {"ready": 0})
    assert (alive.name, alive.kind, alive.state) == ("bridge:quiet", "quiet", "ALIVE")
    assert alive.facts == {"ready": 1, "carried": 7}
    assert opened.log.closed
    assert repr(actor) == "bridge:quiet (nothing)"


async def test_with_the_secrets_of_another_ledger_it_carries_nothing_until_the_right_ones_are_back(
    opened: Opened, boot: BridgeBoot
) -> None:
    await opened.log.bind_vault("0123456789abcdef")
    QuietActor.quiet = Quiet()
    actor = QuietActor(boot)

    async with asyncio.timeout(60):
        while not opened.log.closed:  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(0)
    refused = await actor.report()
    worked = QuietActor.quiet.running.is_set()
    other, right = Log(), f"{boot.storage.secrets_path}.right"
    await other.bind_vault(Vault.create(right).fingerprint)
    os.replace(right, boot.storage.secrets_path)  # noqa: PTH105 - at once, as long as it is being read
    opened.log = other
    await QuietActor.quiet.running.wait()
    alive = await actor.report()
    await actor.stop()

    assert (refused.state, refused.facts["ready"], worked) == ("STARTING", 0, False)
    assert "made with the pepper 0123456789abcdef" in str(refused.facts["lastError"])
    assert (alive.state, alive.facts) == ("ALIVE", {"ready": 1, "carried": 7})


async def test_without_a_pepper_in_use_it_carries_nothing_until_it_has_the_file(
    opened: Opened, boot: BridgeBoot
) -> None:
    newer = Path(f"{boot.storage.secrets_path}.newer")
    shutil.copy2(boot.storage.secrets_path, newer)
    held = secrets_file.change(newer, lambda one: one.pepper_prepared().pepper_switched(1))
    await opened.log.bind_peppers(held.pepper_prints(), held.current_pepper)
    QuietActor.quiet = Quiet()
    actor = QuietActor(boot)

    async with asyncio.timeout(60):
        while not opened.log.closed:  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(0)
    refused = await actor.report()
    worked = QuietActor.quiet.running.is_set()
    newer.replace(boot.storage.secrets_path)  # noqa: ASYNC240 - at once, as long as it is being read
    await QuietActor.quiet.running.wait()
    await actor.stop()

    assert (refused.state, worked) == ("STARTING", False)
    assert "kept with the pepper 2" in str(refused.facts["lastError"])


async def test_a_worker_that_dies_takes_its_process_with_it(
    opened: Opened, boot: BridgeBoot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("gateway.bridge_actors.os._exit", ended.append)
    monkeypatch.setattr("gateway.bridge_actors.logging.shutdown", lambda: None)
    QuietActor.quiet = Quiet(ZeroDivisionError())

    actor = QuietActor(boot)
    await actor.stop()

    assert ended == [1]
    assert "bridge:quiet failed and starts anew" in caplog.text


async def test_loggers_that_would_tell_too_much_are_quiet(opened: Opened, boot: BridgeBoot) -> None:
    QuietActor.quiet = Quiet()
    actor = QuietActor(boot)
    await actor.stop()

    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)


@pytest.mark.parametrize("kind", [OutboxRelayActor, SmsSenderActor])
async def test_each_actor_makes_its_worker(opened: Opened, boot: BridgeBoot, kind: type[BridgeActor]) -> None:
    actor = kind(boot)
    async with asyncio.timeout(60):
        while (await actor.report()).state != "ALIVE":  # noqa: ASYNC110 - the actor sets no event
            await asyncio.sleep(0.01)
    assert "waiting" in (await actor.report()).facts

    await actor.stop()


async def test_messages_go_past_the_proxies_of_the_environment(
    boot: BridgeBoot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    made: list[httpx.AsyncClient] = []

    def sender(_log: object, _vault: object, _settings: object, _clock: object, client: httpx.AsyncClient) -> Quiet:
        made.append(client)
        return Quiet()

    monkeypatch.setattr(bridge_actors, "SmsSender", sender)
    shell = SmsSenderActor.__new__(SmsSenderActor)
    shell.boot = boot
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, AsyncExitStack() as stack:
        await shell.worker(MemoryLog(), Vault.generate(), stack)  # type: ignore[arg-type]  # no Redis is asked
        answered = await made[0].get(f"http://127.0.0.1:{port}/send")

    assert answered.status_code == 204
    assert asked[0].startswith(b"GET /send ")
    assert b"authorization" not in asked[0].lower()
