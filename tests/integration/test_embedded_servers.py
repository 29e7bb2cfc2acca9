"""The servers that a stack starts itself: they keep what they answered, come back, and end with the stack."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from gift_ledger.embedded.broker import EmbeddedBroker
from gift_ledger.embedded.folder import FolderBusyError, locked
from gift_ledger.embedded.ray import EmbeddedRay, RayStartError
from gift_ledger.embedded.valkey import ALLOCATOR, EmbeddedValkey, ValkeyError
from persistence import checks
from persistence.errors import StorageError
from persistence.redis_client import Client, connect
from persistence.redis_errors import answered

pytestmark = pytest.mark.real

WAIT_SECONDS = 60.0


@pytest.fixture
async def lock(tmp_path: Path) -> AsyncIterator[int]:
    async with locked(tmp_path) as descriptor:
        yield descriptor


async def ask(valkey: EmbeddedValkey, *words: str) -> object:
    client = connect(valkey.fast_url, connections_max=1, timeout_seconds=WAIT_SECONDS)
    try:
        return await answered(client.execute_command(*words))
    finally:
        await client.aclose()


def runs(pid: int) -> bool:
    """Whether the process lives; one that ended and that nobody has asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def answers_again(client: Client) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await answered(client.execute_command("PING"))
            except StorageError:
                await asyncio.sleep(0.02)  # a server that is down has no event to wait for
            else:
                return


async def test_the_valkey_is_one_that_a_ledger_accepts(tmp_path: Path, lock: int) -> None:
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        client = connect(valkey.url, connections_max=1, timeout_seconds=WAIT_SECONDS)
        try:
            found = checks.findings(await checks.look(client))
        finally:
            await client.aclose()

    assert found == []


async def test_a_valkey_that_is_killed_comes_back_with_what_it_had_answered(tmp_path: Path, lock: int) -> None:
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        supervision = asyncio.create_task(valkey.supervise())
        await ask(valkey, "SET", "balance", "150000")
        first = valkey.pid

        os.kill(first, signal.SIGKILL)

        client = connect(valkey.url, connections_max=1, timeout_seconds=WAIT_SECONDS)
        await answers_again(client)
        await client.aclose()
        assert await ask(valkey, "GET", "balance") == b"150000"
        assert valkey.pid != first
        supervision.cancel()
        await asyncio.gather(supervision, return_exceptions=True)


async def test_a_valkey_that_stopped_in_good_order_has_its_data_the_next_time(tmp_path: Path, lock: int) -> None:
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        await ask(valkey, "SET", "balance", "150000")
        pid = valkey.pid

    assert not runs(pid)
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        assert await ask(valkey, "GET", "balance") == b"150000"


async def test_a_valkey_that_cannot_start_says_where_to_look(tmp_path: Path, lock: int) -> None:
    folder = tmp_path / "valkey"
    async with EmbeddedValkey(folder, tmp_path / "run", lock) as valkey:
        await ask(valkey, "SET", "balance", "150000")
    for part in (folder / "appendonlydir").iterdir():
        part.write_bytes(b"what is this?" + part.read_bytes())

    with pytest.raises(ValkeyError, match=r"valkey\.log says why"):
        await EmbeddedValkey(folder, tmp_path / "run", lock).__aenter__()


async def test_the_valkey_is_told_how_to_allocate_and_whoever_starts_it_may_say_otherwise(
    tmp_path: Path, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(pid: int) -> str:
        # glibc takes its own variable apart in place: a colon becomes the end of a word
        return Path(f"/proc/{pid}/environ").read_text().replace("\0", ":")

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        assert f"GLIBC_TUNABLES={ALLOCATOR['GLIBC_TUNABLES']}" in environment(valkey.pid)

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        assert "GLIBC_TUNABLES=glibc.malloc.check=0" in environment(valkey.pid)


async def test_nobody_without_the_password_reads_the_valkey(tmp_path: Path, lock: int) -> None:
    async with EmbeddedValkey(tmp_path / "valkey", tmp_path / "run", lock) as valkey:
        password = valkey.url.partition("//:")[2].partition("@")[0]
        stranger = connect(valkey.url.replace(f":{password}@", ""), connections_max=1, timeout_seconds=WAIT_SECONDS)
        with pytest.raises(StorageError, match="Authentication required"):
            await answered(stranger.execute_command("GET", "balance"))
        await stranger.aclose()

        assert (tmp_path / "valkey" / "valkey.conf").stat().st_mode & 0o077 == 0


async def test_a_folder_is_for_one_stack_at_a_time(tmp_path: Path, lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_ledger.embedded.folder.LOCK_SECONDS_MAX", 0.2)

    with pytest.raises(FolderBusyError, match="GIFT_LEDGER_DATA_DIR"):
        await locked(tmp_path).__aenter__()


async def test_the_valkey_dies_with_a_stack_that_is_killed_and_only_then_is_its_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gift_ledger.embedded.folder.LOCK_SECONDS_MAX", WAIT_SECONDS)
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from gift_ledger.embedded.folder import locked
        from gift_ledger.embedded.valkey import EmbeddedValkey

        async def main():
            folder = Path(sys.argv[1])
            async with locked(folder) as lock, EmbeddedValkey(folder / "valkey", folder / "run", lock) as valkey:
                print(valkey.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as stack:  # noqa: ASYNC220, S603
        assert stack.stdout is not None
        pid = int(await asyncio.to_thread(stack.stdout.readline))

        stack.kill()

        async with locked(tmp_path):
            assert not runs(pid)


async def test_the_broker_takes_events_and_gives_them_back() -> None:
    async with EmbeddedBroker(["All_Payments"]) as broker:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True) as producer:
            sent = await producer.send_and_wait("All_Payments", b"{}", key=b"SO-1001")
            partitions = await producer.partitions_for("All_Payments")
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
        async with consumer, asyncio.timeout(WAIT_SECONDS):
            consumer.assign([TopicPartition("All_Payments", partition) for partition in partitions])
            got = await consumer.getone()

    assert (got.partition, got.key, got.value) == (sent.partition, b"SO-1001", b"{}")
    assert broker.bootstrap.startswith("127.0.0.1:")


async def test_a_dashboard_port_that_is_taken_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(RayStartError, match=f"cannot have port {port}.*another dashboard_port"):
            await EmbeddedRay("gift-ledger", port).__aenter__()
