"""What was forgotten is in no file of a real server any more, and does not come back with a backup."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gift_ledger.recovery.backup import backup
from gift_ledger.recovery.restore import Restored, restore
from gift_ledger.settings import Settings
from ledger import records as r
from ledger.commands import PlannedLine
from persistence import envelope, forgetting, redis_files, secrets_file
from persistence.errors import StorageUnsafeError
from persistence.forgetting import Forgotten, Journal
from persistence.log import Batch, DataKey
from persistence.redis_client import connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import RECIPIENT, Vault
from persistence.verification import verify
from tests.contract.histories import NOON, PRICE, Writer
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

WAIT_SECONDS = 60.0
VAULT = Vault.generate()
ORDER = "SO-1"


def settings_of(server: RealServer, folder: Path) -> Settings:
    return Settings(redis_url=server.url, redis_timeout_seconds=WAIT_SECONDS, data_dir=str(folder))


async def opened(server: RealServer) -> RedisLog:
    return await RedisLog.open(StorageSettings(redis_url=server.url, timeout_seconds=WAIT_SECONDS))


async def place(log: RedisLog, order_id: str = ORDER, vault: Vault = VAULT) -> tuple[bytes, bytes]:
    """An order with one recipient; gives what is sealed in the record, and the data key beside it."""
    name = envelope.key_name(order_id, 1, "1")
    sealed, kept = envelope.seal_new(vault, b"+79990000001", RECIPIENT, name)
    placed = r.Placed(1, False, "OnlineStore", "RUB", (PlannedLine("1", PRICE, sealed),))
    await Writer(log).order(order_id, placed, snapshot=True)
    assert await log.append(Batch(data_keys=(DataKey(*name, kept),))) is None
    return sealed, kept


async def forget(log: RedisLog) -> Forgotten:
    known = await forgetting.known_of(log, ORDER)
    assert known is not None
    forgotten = forgetting.planned(ORDER, known, NOON)
    await forgetting.forget(log, forgotten)
    return forgotten


def files_with(content: bytes, server: RealServer) -> list[str]:
    """Names of a server's files that hold some bytes."""
    files = [path for path in server.directory.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if content in path.read_bytes())


async def proved(log: RedisLog) -> bool:
    return (await verify(log, None, lambda _: None, clock=lambda: NOON + 1)).findings == ()


async def test_no_file_of_the_server_holds_the_key_of_who_was_forgotten(own_redis: RealServer) -> None:
    log = await opened(own_redis)
    sealed, kept = await place(log)
    _, other = await place(log, "SO-2")
    before = files_with(kept, own_redis)

    await forget(log)
    in_between = files_with(kept, own_redis)
    rewritten = await log.rewrite_files(WAIT_SECONDS)
    await log.close()

    assert before != []
    assert in_between == before, "until the file is rewritten, the old bytes are in it"
    assert rewritten
    assert files_with(kept, own_redis) == []
    assert files_with(sealed, own_redis) != [], "the log has what it had"
    assert files_with(other, own_redis) != [], "and the others have their keys"


async def test_it_is_on_disk_when_it_returns(own_redis: RealServer) -> None:
    log = await opened(own_redis)
    await place(log)
    await forget(log)
    await log.close()

    await asyncio.to_thread(own_redis.restart)

    log = await opened(own_redis)
    assert await log.data_keys([envelope.key_name(ORDER, 1, "1")]) == [envelope.tombstone(NOON)]
    assert await proved(log)
    await log.close()


async def test_a_rewriting_that_began_before_does_not_count(own_redis: RealServer) -> None:
    log = await opened(own_redis)
    _, kept = await place(log)
    own_redis.ask("BGREWRITEAOF")

    await forget(log)

    assert await log.rewrite_files(WAIT_SECONDS)
    assert files_with(kept, own_redis) == []
    await log.close()


async def test_a_user_who_may_not_rewrite_is_told_so(own_redis: RealServer) -> None:
    own_redis.ask("ACL", "SETUSER", "ledger", "on", "nopass", "~*", "+@all", "-@admin", "+config|get")
    url = own_redis.url.replace("redis://", "redis://ledger:any@")
    client = connect(url, connections_max=1, timeout_seconds=WAIT_SECONDS)

    assert await redis_files.rewrite_files(client, WAIT_SECONDS) is False
    own_redis.ask("ACL", "SETUSER", "ledger", "+bgrewriteaof")
    assert await redis_files.rewrite_files(client, WAIT_SECONDS) is True

    await client.aclose()


async def test_a_server_that_makes_snapshots_has_none_with_what_was_erased(own_redis: RealServer) -> None:
    log = await opened(own_redis)
    own_redis.ask("CONFIG", "SET", "save", "3600 100000")
    _, kept = await place(log)
    own_redis.ask("SAVE")

    await forget(log)
    before = files_with(kept, own_redis)
    rewritten = await log.rewrite_files(WAIT_SECONDS)
    await log.close()

    assert any(name.endswith(".rdb") for name in before)
    assert rewritten
    assert files_with(kept, own_redis) == []


async def test_a_user_who_may_make_no_snapshot_is_told_so_where_there_are_any(own_redis: RealServer) -> None:
    own_redis.ask("CONFIG", "SET", "save", "3600 100000")
    rights = ("~*", "+@all", "-@admin", "+config|get", "+bgrewriteaof")
    own_redis.ask("ACL", "SETUSER", "ledger", "on", "nopass", *rights)
    url = own_redis.url.replace("redis://", "redis://ledger:any@")
    client = connect(url, connections_max=1, timeout_seconds=WAIT_SECONDS)

    assert await redis_files.rewrite_files(client, WAIT_SECONDS) is False
    own_redis.ask("ACL", "SETUSER", "ledger", "+bgsave")
    assert await redis_files.rewrite_files(client, WAIT_SECONDS) is True
    own_redis.ask("ACL", "SETUSER", "ledger", "-config|get", "-bgsave")
    assert await redis_files.rewrite_files(client, WAIT_SECONDS) is False, "it does not tell whether it makes any"

    await client.aclose()


async def test_who_waits_for_no_time_does_not_wait(own_redis: RealServer) -> None:
    log = await opened(own_redis)

    assert await log.rewrite_files(0.0) is False

    await log.close()


# --- backups ----------------------------------------------------------------------------------------------------------

ONE_TARGET = pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)


@pytest.fixture
async def source(redis_server: RealServer) -> AsyncIterator[RedisLog]:
    log = await opened(redis_server)
    yield log
    await log.close()


async def put_back(server: RealServer, folder: Path, file: Path) -> tuple[Restored, RedisLog]:
    restored = await restore(settings_of(server, folder), file, None, lambda *_: None, compare=False)
    return restored, await opened(server)


@ONE_TARGET
async def test_what_was_forgotten_before_a_backup_is_not_in_it(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    await place(source)
    await forget(source)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)

    restored, log = await put_back(own_redis, tmp_path, tmp_path / "b")

    assert restored.forgotten is None, "there is no list"
    assert await log.data_keys([envelope.key_name(ORDER, 1, "1")]) == [envelope.tombstone(NOON)]
    assert await proved(log)
    await log.close()


@ONE_TARGET
async def test_what_was_forgotten_after_a_backup_is_forgotten_again(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    await place(source)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)
    late = Forgotten(order_id="SO-LATER", lines=("1",), names=("1/1",), at=NOON)
    for one in (await forget(source), late):
        Journal.of(tmp_path).note(one)

    restored, log = await put_back(own_redis, tmp_path, tmp_path / "b")
    after = await log.data_keys([envelope.key_name(ORDER, 1, "1"), envelope.key_name("SO-LATER", 1, "1")])
    await place(log, "SO-LATER")  # it is read again from Kafka, with a fresh key

    assert restored.forgotten == 2
    assert after == [envelope.tombstone(NOON)] * 2
    assert await log.data_keys([envelope.key_name("SO-LATER", 1, "1")]) == [envelope.tombstone(NOON)]
    assert await proved(log)
    await log.close()


@ONE_TARGET
async def test_a_list_that_cannot_be_read_stops_a_restore_before_it_begins(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    await place(source)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)
    Journal.of(tmp_path).path.write_text("no list\n")

    with pytest.raises(OSError, match="no list of what was forgotten"):
        await put_back(own_redis, tmp_path, tmp_path / "b")

    assert own_redis.ask("DBSIZE") == 0


@ONE_TARGET
async def test_without_the_list_a_backup_holds_the_keys_of_its_time(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    sealed, _ = await place(source)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)
    await forget(source)

    _, log = await put_back(own_redis, tmp_path / "elsewhere", tmp_path / "b")

    (kept,) = await log.data_keys([envelope.key_name(ORDER, 1, "1")])
    assert envelope.unseal(VAULT, sealed, RECIPIENT, kept or b"") == b"+79990000001"
    await log.close()


@ONE_TARGET
async def test_a_secrets_file_that_does_not_open_a_backup_stops_a_restore_before_it_begins(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    await place(source, vault=Vault.create(settings_of(own_redis, right).secrets_file))
    Vault.create(settings_of(own_redis, wrong).secrets_file)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)

    with pytest.raises(StorageUnsafeError, match="cannot be opened: 1 of 1, sealed with 1, as o:SO-1 1/1"):
        await put_back(own_redis, wrong, tmp_path / "b")
    written = own_redis.ask("DBSIZE")
    restored, log = await put_back(own_redis, right, tmp_path / "b")

    assert written == 0
    assert restored.secrets
    await log.close()


@ONE_TARGET
async def test_a_secrets_file_without_a_pepper_of_a_backup_stops_a_restore_before_it_begins(
    source: RedisLog, redis_server: RealServer, own_redis: RealServer, tmp_path: Path
) -> None:
    folder = tmp_path / "right"
    path = settings_of(own_redis, folder).secrets_file
    vault = Vault.create(path)
    before = path.read_bytes()
    held = secrets_file.change(path, lambda one: one.pepper_prepared().pepper_switched(1))
    await source.bind_vault(vault.fingerprint)
    await source.bind_peppers(held.pepper_prints(), held.current_pepper)
    await backup(settings_of(redis_server, tmp_path), tmp_path / "b", lambda _: None)
    right = path.read_bytes()

    path.write_bytes(before)
    with pytest.raises(StorageUnsafeError, match=r"kept with the pepper 2 .* which the secrets file lacks"):
        await put_back(own_redis, folder, tmp_path / "b")
    written = own_redis.ask("DBSIZE")
    path.write_bytes(right)
    _, log = await put_back(own_redis, folder, tmp_path / "b")

    assert written == 0
    assert (await log.pepper_prints()).used == held.pepper_prints()
    await log.close()
