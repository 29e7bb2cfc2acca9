"""A Redis that lets nobody in without a name, a password and a certificate, and nobody do more than he has to."""

from __future__ import annotations

import asyncio
import inspect
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from gift_ledger.cli.production_probes import DANGEROUS, redis_facts
from gift_ledger.recovery.backup import backup
from gift_ledger.recovery.restore import restore
from gift_ledger.settings import Settings
from persistence import redis_address, redis_rights
from persistence.errors import StorageRefusedError, StorageUnavailableError
from persistence.keys import ClientKey, RedisKeyStore, hash_key
from persistence.redis_client import Client, connect
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import Vault
from persistence.verification import verify
from persistence.windows import RedisWindows
from tests.contract.histories import NOON, Writer
from tests.real.certificates import Issuer
from tests.real.fixtures import binary_of
from tests.real.redis import RealServer
from tests.real.secured_redis import ADMIN, OPERATOR_USER, PASSWORD, SERVICE_USER, SecuredServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.real.fixtures import ServerKind

pytestmark = pytest.mark.real

PARTITIONS = 8
WAIT_SECONDS = 60.0
KEY = ClientKey(key_id="k1", key_hash=hash_key("glk_one"), client="till-1", role="pos", channel="POS", created_at=1)
FORBIDDEN = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendfsync", "no"),
    ("CONFIG", "REWRITE"),
    ("CONFIG", "RESETSTAT"),
    ("SHUTDOWN",),
    ("REPLICAOF", "192.0.2.1", "6379"),
    ("MODULE", "LIST"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "another", "on"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("MONITOR",),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LIST"),
    ("KEYS", "*"),
    ("SWAPDB", "0", "1"),
    ("RENAME", "gl:meta", "gl:other"),
    ("COPY", "gl:meta", "gl:other"),
    ("RESTORE", "gl:new", "0", "x"),
    ("PUBLISH", "news", "all"),
    ("SUBSCRIBE", "news"),
    ("GET", "other:meta"),
    ("SET", "other:key", "value"),
    ("DEL", "glx:meta"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", "other:key"),
]
IN_SCRIPTS = ["return redis.call('GET', 'other:key')", "return redis.call('FLUSHALL')"]
OF_OPERATORS = [("SCAN", "0"), ("SYNC",), ("BGREWRITEAOF",), ("TYPE", "gl:meta")]


@pytest.fixture(params=["redis-secured", "valkey-secured"])
def server(request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], SecuredServer]) -> SecuredServer:
    shared = start_shared(request.param)
    shared.empty()
    return shared


@pytest.fixture(autouse=True)
async def what_was_refused_is_closed() -> AsyncIterator[None]:
    """A connection whose handshake failed is closed a few turns of the loop later: let them come before it ends."""
    yield
    for _ in range(5):
        await asyncio.to_thread(int)


@pytest.fixture
def tls_server(start_shared: Callable[[ServerKind], SecuredServer]) -> SecuredServer:
    """The one that has TLS."""
    shared = start_shared("redis-secured")
    assert shared.tls, "Debian's Redis is built with TLS"
    shared.empty()
    return shared


def client_of(server: SecuredServer, user: str) -> Client:
    return connect(server.address(user, PASSWORD), connections_max=1, timeout_seconds=WAIT_SECONDS)


@pytest.fixture
async def service(server: SecuredServer) -> AsyncIterator[Client]:
    client = client_of(server, SERVICE_USER)
    yield client
    await client.aclose()


@pytest.fixture
async def operator(server: SecuredServer) -> AsyncIterator[Client]:
    client = client_of(server, OPERATOR_USER)
    yield client
    await client.aclose()


def settings_of(server: SecuredServer, folder: Path, user: str = SERVICE_USER) -> Settings:
    files_of_tls: dict[str, Any] = {
        f"redis_{name[6:].lower()}": path for name, path in server.settings.items() if "TLS" in name
    }
    return Settings(
        redis_url=server.address(user),
        redis_password=PASSWORD,
        partitions=PARTITIONS,
        data_dir=str(folder),
        **files_of_tls,
    )


async def opened(settings: StorageSettings) -> None:
    await (await RedisLog.open(settings)).close()


@pytest.mark.parametrize("words", FORBIDDEN, ids=" ".join)
async def test_neither_service_nor_operator_may_do_what_the_ledger_never_does(
    service: Client, operator: Client, words: tuple[str, ...]
) -> None:
    for client in (service, operator):
        with pytest.raises(NoPermissionError):
            await client.execute_command(*words)


@pytest.mark.parametrize("script", IN_SCRIPTS)
async def test_nor_in_a_script(service: Client, operator: Client, script: str) -> None:
    for client in (service, operator):
        with pytest.raises(ResponseError, match=r"can't (access|run)|[Nn]o permissions"):
            await client.execute_command("EVAL", script, 0)


@pytest.mark.parametrize("words", OF_OPERATORS, ids=" ".join)
async def test_what_operators_need_is_not_for_the_service(service: Client, words: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        await service.execute_command(*words)


async def test_nobody_gets_in_without_name_and_password(server: SecuredServer) -> None:
    complete = redis_address.complete
    unnamed = server.address().replace(f"{SERVICE_USER}@", "")
    for url in (
        complete(unnamed, None, server.files),
        complete(server.address(), "wrong", server.files),
        complete(server.address("default"), PASSWORD, server.files),
    ):
        with pytest.raises(StorageRefusedError):
            await opened(StorageSettings(redis_url=url))


async def test_the_service_makes_and_joins_a_ledger_with_what_the_settings_give(
    server: SecuredServer, tmp_path: Path
) -> None:
    settings = settings_of(server, tmp_path).storage()
    assert PASSWORD not in repr(settings_of(server, tmp_path)) + repr(settings)

    log = await RedisLog.open(settings)
    await log.bind_vault("0123456789abcdef")
    await log.check()
    await log.close()
    keys = RedisKeyStore(settings.redis_url, settings.prefix)
    await keys.add(KEY)
    assert list(await keys.all()) == [KEY]
    await keys.close()
    windows = RedisWindows(settings.redis_url, settings.prefix, 60, 5)
    await windows.add("a")
    assert (await windows.count("a")).number == 1
    await windows.close()


async def test_an_operator_verifies_backs_up_and_restores(server: SecuredServer, tmp_path: Path) -> None:
    settings = settings_of(server, tmp_path / "data", OPERATOR_USER)
    log = await RedisLog.open(settings.storage())
    writer = Writer(log)
    await writer.sell("SO-1", "GC-00000001")
    before = await verify(log, None, lambda _: None, clock=lambda: NOON + 1)
    await log.close()
    Vault.create(tmp_path / "secrets.json")

    await backup(settings, tmp_path / "one.backup", lambda _: None)
    server.empty()
    await restore(settings, tmp_path / "one.backup", Path(binary_of("valkey")), lambda *_: None, compare=False)

    log = await RedisLog.open(settings.storage())
    assert await verify(log, None, lambda _: None, clock=lambda: NOON + 1) == before
    await log.close()


async def test_a_server_that_others_vouch_for_is_not_believed(tls_server: SecuredServer, tmp_path: Path) -> None:
    other = Issuer().write(tmp_path / "other.crt")

    for files_of_tls in ({**tls_server.files, "ssl_ca_certs": str(other)}, {}):
        url = redis_address.complete(tls_server.address(), PASSWORD, files_of_tls)
        with pytest.raises(StorageUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await opened(StorageSettings(redis_url=url))


async def test_a_server_under_another_name_is_not_believed(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = SecuredServer(binary_of("redis"), tmp_path_factory.mktemp("misnamed"), here=False)
    server.start_blindly()
    try:
        with pytest.raises(StorageUnavailableError, match="IP address mismatch"):
            await opened(StorageSettings(redis_url=server.address(password=PASSWORD)))
    finally:
        server.kill()


async def test_nobody_gets_in_without_a_certificate_of_his_own_where_one_is_asked_for(
    tls_server: SecuredServer,
) -> None:
    url = redis_address.complete(tls_server.address(), PASSWORD, {"ssl_ca_certs": str(tls_server.ca)})

    with pytest.raises(StorageUnavailableError):
        await opened(StorageSettings(redis_url=url))
    # once it has answered somebody else, its end of the connection that it refused has come, and ours can close
    for _ in range(3):
        await asyncio.to_thread(tls_server.ask, "PING")


async def test_a_file_of_tls_that_is_not_there_is_named(tls_server: SecuredServer) -> None:
    url = redis_address.complete(tls_server.address(), PASSWORD, {"ssl_ca_certs": "/nowhere/ca.crt"})

    with pytest.raises(StorageUnavailableError, match=r"/nowhere/ca\.crt cannot be read: No such file"):
        await opened(StorageSettings(redis_url=url))


def test_every_command_that_is_allowed_is_used() -> None:
    folders = [Path(inspect.getfile(redis_rights)).parent, Path(str(files("limits"))) / "resources/redis/lua_scripts"]
    sources = [
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ".lua"} and path.name != "redis_rights.py"
    ]
    said = "\n".join([*sources, Path("gift_ledger/recovery/backup.py").read_text(encoding="utf-8")])
    by_the_client = {"multi", "exec", "select"}
    of_health_checks = {"ping"}

    allowed = {*redis_rights.SERVICE, *redis_rights.OPERATOR, *redis_rights.REPLICATED}

    unused = {
        command
        for command in allowed - by_the_client - of_health_checks
        if not re.search(rf"""["' ]{command.replace("|", " ")}\b""", said, re.IGNORECASE)
    }
    assert unused == set()


async def test_what_is_open_is_seen_without_any_right_for_it(server: SecuredServer) -> None:
    secured = await redis_facts(StorageSettings(redis_url=server.address(password=PASSWORD)))
    assert (secured.open_to_all, secured.allowed, secured.reads_others, secured.unsafe) == (False, (), False, ())
    assert secured.settings == {"protected-mode": "yes", "maxmemory-policy": "noeviction"}

    admin = await redis_facts(StorageSettings(redis_url=server.address(ADMIN, PASSWORD)))
    assert (admin.open_to_all, admin.allowed, admin.reads_others) == (False, tuple(DANGEROUS), True)


async def test_a_redis_that_lets_anybody_in_is_seen_and_stays_as_it_was(redis_server: RealServer) -> None:
    before = redis_server.ask("ACL", "LIST")
    redis_server.ask("SET", "other:key", "value")

    facts = await redis_facts(StorageSettings(redis_url=redis_server.url))

    assert (facts.open_to_all, facts.allowed, facts.reads_others) == (True, tuple(DANGEROUS), True)
    assert redis_server.running
    assert redis_server.ask("GET", "other:key") == b"value"
    assert redis_server.ask("ACL", "LIST") == before
