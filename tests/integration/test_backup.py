"""A backup is what the server held at one moment, and what comes back is what was there."""

import asyncio
import hashlib
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from msgspec.structs import replace

from gift_ledger.recovery.backup import backup
from gift_ledger.recovery.copy import opened
from gift_ledger.recovery.restore import restore
from gift_ledger.settings import Settings
from persistence.archive import ArchiveError, _manifest
from persistence.codes import RedisCodeStore
from persistence.copying import MEMBERS_AT_ONCE, TargetInUseError, claim, copy_keys, open_copy, require_ours
from persistence.errors import StorageError, StorageRefusedError, StorageUnsafeError
from persistence.log import AttemptsChange, Batch, Outcome
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from persistence.replication import dump
from persistence.settings import StorageSettings
from persistence.vault import Vault
from persistence.verification import VerificationReport, verify
from tests.contract.histories import NOON, Writer, acknowledge_all
from tests.real.redis import RealServer

pytestmark = pytest.mark.real

PARTITIONS = 8
LONG = "GC-LONG-HISTORY"
IMPORTED = [f"GC-BATCH-{number:05d}" for number in range(300)]
COPIES_WHILE_WRITING = 3
WAIT_SECONDS = 60.0


ONE_TARGET = pytest.mark.parametrize("own_redis", ["valkey"], indirect=True)
"""Where it makes no difference of which kind the server is that is restored into."""


def settings_of(server: RealServer, folder: Path) -> Settings:
    return Settings(
        redis_url=server.url, redis_timeout_seconds=WAIT_SECONDS, data_dir=str(folder), partitions=PARTITIONS
    )


async def proof(storage: StorageSettings) -> VerificationReport:
    log = await RedisLog.open(storage)
    try:
        return await verify(log, None, lambda _: None, clock=lambda: NOON + 1)
    finally:
        await log.close()


async def seconds_left(client: Client) -> dict[bytes, int]:
    """Of each key; -1 if it stays."""
    return {key: await client.execute_command("TTL", key) for key in await client.execute_command("KEYS", "*")}


async def everything(client: Client) -> dict[bytes, Any]:
    """What a server holds, by key."""
    found: dict[bytes, Any] = {}
    for key in await client.execute_command("KEYS", "*"):
        kind = (await client.execute_command("TYPE", key)).decode()
        reads: dict[str, tuple[str | int, ...]] = {
            "list": ("LRANGE", 0, -1),
            "hash": ("HGETALL",),
            "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
            "string": ("GET",),
            "set": ("SMEMBERS",),
        }
        command, *words = reads[kind]
        value = await client.execute_command(str(command), key, *words)
        found[key] = (kind, set(value) if kind == "set" else value)
    return found


async def fill(log: RedisLog) -> None:
    """Something of all that a ledger keeps, and a history of more than one page."""
    writer = Writer(log)
    await log.bind_vault("abc")
    await log.bind_peppers({2: "used", 3: "prepared"}, 2)
    await writer.sell("SO-1", LONG, "GC-00000001", snapshot=True)
    await acknowledge_all(log)
    for _ in range(3):
        await writer.spend(LONG, 1, MEMBERS_AT_ONCE // 4)
    await writer.sell("SO-2", *(f"GC-{number:08d}" for number in range(10, 40)))
    outcomes = tuple(Outcome(b"key-%d" % number, b"value") for number in range(2 * MEMBERS_AT_ONCE))
    attempts = (AttemptsChange(LONG, None, b"1", 3_600_000),)
    assert await log.append(Batch(outcomes=outcomes, attempts=attempts)) is None


async def import_codes(storage: StorageSettings) -> None:
    """A batch, and a set as large as one gets with tens of millions of codes."""
    codes = RedisCodeStore.at(storage)
    assert await codes.add(IMPORTED) == len(IMPORTED)
    await codes.close()
    client = connect(storage.redis_url, connections_max=1, timeout_seconds=WAIT_SECONDS)
    await client.execute_command("SADD", "gl:codes:0000", *range(-MEMBERS_AT_ONCE, 2 * MEMBERS_AT_ONCE))
    await client.aclose()


@pytest.fixture
async def log(redis_server: RealServer) -> AsyncIterator[RedisLog]:
    storage = StorageSettings(redis_url=redis_server.url, partitions=PARTITIONS, timeout_seconds=WAIT_SECONDS)
    opened = await RedisLog.open(storage)
    await fill(opened)
    await import_codes(storage)
    yield opened
    await opened.close()


@pytest.fixture
async def source(redis_server: RealServer) -> AsyncIterator[Client]:
    client = connect(redis_server.url, connections_max=2, timeout_seconds=WAIT_SECONDS)
    yield client
    await client.aclose()


@pytest.fixture
async def target(own_redis: RealServer) -> AsyncIterator[Client]:
    client = connect(own_redis.url, connections_max=2, timeout_seconds=WAIT_SECONDS)
    yield client
    await client.aclose()


@pytest.fixture
async def file(log: RedisLog, redis_server: RealServer, tmp_path: Path) -> Path:
    path = tmp_path / "monday.backup"
    sizes: list[int] = []
    manifest = await backup(settings_of(redis_server, tmp_path), path, sizes.append)
    assert sizes[-1] == manifest.data_bytes > 0
    return path


def content_of(file: Path) -> bytes:
    return file.read_bytes()


def change(file: Path, at: int) -> None:
    """Change one bit."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def cut(file: Path, length: int) -> None:
    """Leave only so many bytes."""
    file.write_bytes(file.read_bytes()[:length])


def no_step(_step: str, _done: int, _total: int | None) -> None:
    """Nobody watches."""


async def test_what_comes_back_is_what_was_there(
    file: Path, source: Client, target: Client, own_redis: RealServer, tmp_path: Path
) -> None:
    before, left_before = await everything(source), await seconds_left(source)

    restored = await restore(settings_of(own_redis, tmp_path), file, None, no_step, compare=False)

    after = await everything(target)
    assert {key: value for key, value in after.items() if not key.startswith(b"gl:acts")} == before
    left = await seconds_left(target)
    assert {key for key, seconds in left.items() if seconds >= 0} == {
        key for key, seconds in left_before.items() if seconds >= 0
    }
    assert all(0 <= seconds - left[key] <= 60 for key, seconds in left_before.items())
    assert sum(seconds >= 0 for seconds in left.values()) == 2, "attempts, and outcomes of a day"
    assert restored.keys == len(before) - 1, "all, and what the ledger knows of itself"
    assert not restored.secrets
    report = await proof(StorageSettings(redis_url=own_redis.url))
    assert report.findings == ()
    assert report.certificates == 32


async def test_imported_codes_come_back(file: Path, target: Client, own_redis: RealServer, tmp_path: Path) -> None:
    await restore(settings_of(own_redis, tmp_path), file, None, no_step, compare=False)

    codes = RedisCodeStore(target)
    assert all([await codes.known(code) for code in IMPORTED])
    assert not await codes.known("GC-BATCH-99999")
    assert await target.execute_command("SCARD", "gl:codes:0000") >= 3 * MEMBERS_AT_ONCE


def test_a_backup_is_a_file_that_other_tools_read(file: Path) -> None:
    with tarfile.open(file) as archive:
        names = archive.getnames()
        content = {name: cast("IO[bytes]", archive.extractfile(name)).read() for name in names}

    assert names == ["ledger.rdb", "manifest.json", "SHA256SUMS"]
    assert content["ledger.rdb"][:5] in {b"REDIS", b"VALKE"}
    sums = [f"{hashlib.sha256(content[name]).hexdigest()}  {name}" for name in names[:2]]
    assert content["SHA256SUMS"].decode().splitlines() == sums
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.parent.iterdir() if one.name.endswith(".part")] == []


async def test_a_backup_is_proved_without_touching_anything(file: Path) -> None:
    async with opened(file, None) as copy:
        report = await proof(copy.storage)

    assert (report.findings, report.certificates) == ((), 32)
    told = copy.manifest
    assert (told.partitions, told.vault, told.peppers, told.inbox) == (PARTITIONS, "abc", {2: "used"}, None)


async def test_nothing_is_overwritten_by_a_backup(file: Path, redis_server: RealServer, tmp_path: Path) -> None:
    before = content_of(file)

    with pytest.raises(FileExistsError, match="never overwrites"):
        await backup(settings_of(redis_server, tmp_path), file, lambda _: None)

    assert content_of(file) == before


async def test_backups_are_consistent_while_writers_do_not_rest(
    log: RedisLog, redis_server: RealServer, tmp_path: Path
) -> None:
    stop = asyncio.Event()

    async def write(name: str) -> None:
        writer, turn = Writer(log), 0
        while not stop.is_set():
            turn += 1
            await writer.sell(f"SO-{name}-{turn}", f"GC-{name}-{turn:05d}", snapshot=turn % 2 == 0)
            await writer.spend(f"GC-{name}-{turn:05d}", 1, 3)

    writers = [asyncio.create_task(write(name)) for name in ("ONE", "TWO")]
    files = [tmp_path / f"{number}.backup" for number in range(COPIES_WHILE_WRITING)]
    for path in files:
        await backup(settings_of(redis_server, tmp_path), path, lambda _: None)
    stop.set()
    await asyncio.gather(*writers)

    reports = []
    for path in files:
        async with opened(path, None) as copy:
            reports.append(await proof(copy.storage))
    assert [report.findings for report in reports] == [()] * COPIES_WHILE_WRITING
    records = [report.records for report in reports]
    assert records == sorted(set(records)), "each has more than the one before"
    assert records[-1] <= (await proof(StorageSettings(redis_url=redis_server.url))).records


@ONE_TARGET
@pytest.mark.parametrize("at", [600, -1_700, -3_000])
async def test_a_backup_that_was_changed_is_refused(
    file: Path, own_redis: RealServer, target: Client, tmp_path: Path, at: int
) -> None:
    change(file, at)

    with pytest.raises(ArchiveError):
        await restore(settings_of(own_redis, tmp_path), file, None, no_step, compare=False)

    assert await everything(target) == {}


async def test_a_backup_that_is_cut_off_is_refused(file: Path) -> None:
    for length in (-2_000, 6_000, 700, 100, 0):
        cut(file, length)
        with pytest.raises(ArchiveError):
            async with opened(file, None):
                pass


async def test_a_ledger_is_never_overwritten(
    file: Path, log: RedisLog, source: Client, redis_server: RealServer, tmp_path: Path
) -> None:
    before = await everything(source)

    with pytest.raises(TargetInUseError, match="overwrites nothing"):
        await restore(settings_of(redis_server, tmp_path), file, None, no_step, compare=False)

    assert await everything(source) == before


@ONE_TARGET
async def test_what_a_service_made_in_an_empty_place_is_not_overwritten(target: Client, own_redis: RealServer) -> None:
    await (await RedisLog.open(StorageSettings(redis_url=own_redis.url))).close()

    with pytest.raises(TargetInUseError):
        await claim(target, "gl")

    await (await RedisLog.open(StorageSettings(redis_url=own_redis.url))).close()


@ONE_TARGET
async def test_nobody_opens_a_ledger_that_is_only_half_there(
    log: RedisLog, source: Client, target: Client, own_redis: RealServer
) -> None:
    storage = StorageSettings(redis_url=own_redis.url)
    await claim(target, "gl")
    with pytest.raises(StorageUnsafeError, match="the ledger is closed: a restore into it is under way"):
        await RedisLog.open(storage)
    keys = await copy_keys(source, target, "gl", lambda _: None)
    with pytest.raises(StorageUnsafeError, match="closed"):
        await RedisLog.open(storage)
    with pytest.raises(TargetInUseError):
        await claim(target, "gl")

    await require_ours(target, "gl", keys)
    await open_copy(source, target, "gl")

    assert (await proof(storage)).findings == ()


@ONE_TARGET
async def test_a_service_that_writes_meanwhile_is_noticed(
    log: RedisLog, source: Client, target: Client, own_redis: RealServer
) -> None:
    running = RedisLog(target, partitions=PARTITIONS)  # it was started before, and does not look again
    await claim(target, "gl")
    keys = await copy_keys(source, target, "gl", lambda _: None)
    await Writer(running).sell("SO-NEW", "GC-NEW-00001")

    with pytest.raises(TargetInUseError, match="somebody has written"):
        await require_ours(target, "gl", keys)

    with pytest.raises(StorageUnsafeError, match="closed"):
        await RedisLog.open(StorageSettings(redis_url=own_redis.url))


@ONE_TARGET
async def test_only_the_ledger_is_put_back_and_beside_others(
    file: Path, target: Client, own_redis: RealServer, tmp_path: Path
) -> None:
    await target.execute_command("SET", "other:meta", "theirs")

    await restore(settings_of(own_redis, tmp_path), file, None, no_step, compare=False)

    assert await target.execute_command("GET", "other:meta") == b"theirs"


@ONE_TARGET
async def test_a_backup_does_not_go_with_other_secrets(file: Path, own_redis: RealServer, tmp_path: Path) -> None:
    settings = settings_of(own_redis, tmp_path)
    Vault.create(settings.secrets_file)

    with pytest.raises(StorageUnsafeError, match="made with the pepper abc"):
        await restore(settings, file, None, no_step, compare=False)


@ONE_TARGET
async def test_a_backup_goes_under_its_own_prefix(file: Path, own_redis: RealServer, tmp_path: Path) -> None:
    with pytest.raises(StorageUnsafeError, match="redis_prefix is 'other'"):
        await restore(
            replace(settings_of(own_redis, tmp_path), redis_prefix="other"), file, None, no_step, compare=False
        )


async def test_a_user_who_may_not_copy_is_told_which_rights_it_takes(own_redis: RealServer, target: Client) -> None:
    await target.execute_command("ACL SETUSER", "till", "on", ">pw", "~*", "+@all", "-@admin")
    url = own_redis.url.replace("redis://", "redis://till:pw@")

    with pytest.raises(StorageRefusedError, match=r"\+sync and \+replconf"):
        async for _ in dump(url, timeout_seconds=WAIT_SECONDS):
            pass


async def test_a_server_that_goes_away_leaves_no_file(log: RedisLog, redis_server: RealServer, tmp_path: Path) -> None:
    def kill(_size: int) -> None:
        redis_server.kill()

    path = tmp_path / "broken.backup"
    for number in range(40):  # more than fits into what is on its way
        await log._client.execute_command("SET", f"gl:ballast:{number}", bytes(range(256)) * 4_096)

    with pytest.raises(StorageError):
        await backup(settings_of(redis_server, tmp_path), path, kill)

    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the other way is forbidden in an async function


def foreign_server(folder: Path) -> Path:
    """A program that cannot read what it is given."""
    program = folder / "server"
    program.write_text("#!/bin/sh\necho 'Fatal: format 99' > valkey.log\nexit 1\n")
    program.chmod(0o700)
    return program


async def test_a_server_that_cannot_read_the_data_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"cannot read the data of .*monday.backup: Fatal: format 99"):
        async with opened(file, foreign_server(tmp_path)):
            pass


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="has format 2"):
        _manifest(
            tmp_path,
            b'{"format":2,"program":"p","server":"s","madeAt":1,"prefix":"gl","database":0,"partitions":1,'
            b'"vault":null,"inbox":null,"published":null}',
        )
