"""What makes a server unsafe, each with what to change."""

import logging
from typing import Any

import pytest
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import NoPermissionError, ResponseError

from persistence.checks import Server, findings, look, require_safe
from persistence.errors import StorageUnavailableError, StorageUnsafeError
from persistence.redis_client import Pipeline, Word

INFO: dict[str, Any] = {"redis_version": "7.4.1", "role": "master", "cluster_enabled": 0, "connected_slaves": 0}
SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
}


class Answering:
    """A server that answers what a test wants."""

    def __init__(self, info: object, settings: object) -> None:
        self._answers = {"INFO": info, "CONFIG GET": settings}

    async def execute_command(self, *words: Word) -> Any:  # noqa: ANN401 - as the command answers
        answer = self._answers[str(words[0])]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool) -> Pipeline:  # noqa: FBT001 - redis-py's own signature
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def test_a_safe_server_has_no_findings() -> None:
    assert findings(Server(INFO, SETTINGS)) == []
    assert findings(Server(INFO | {"connected_slaves": 2}, SETTINGS), replicas=2) == []
    assert findings(Server(INFO | {"redis_version": "7.2"}, SETTINGS | {"maxmemory": "1000"})) == []


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.2.14"}, ("Redis 6.2.14", "7.0 or newer")),
        ({"redis_version": "6"}, ("Redis 6", "7.0 or newer")),
        ({"role": "slave", "master_host": "db1", "master_port": 6379}, ("replica of db1:6379", "redis_url")),
        ({"cluster_enabled": 1}, ("Redis Cluster", "cluster-enabled no")),
        ({"aof_last_write_status": "err"}, ("append-only file failed", "make room")),
    ],
)
def test_a_server_of_the_wrong_kind_is_found(info: dict[str, Any], words: tuple[str, ...]) -> None:
    (found,) = findings(Server(INFO | info, SETTINGS))

    assert all(word in found for word in words)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("appendfsync", "no", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
    ],
)
def test_an_unsafe_setting_is_found_with_the_command_that_mends_it(setting: str, value: str, wanted: str) -> None:
    (found,) = findings(Server(INFO, SETTINGS | {setting: value}))

    assert found.startswith(f"{setting} is {value}")
    assert f"`CONFIG SET {setting} {wanted}`" in found


def test_eviction_is_found_where_memory_is_bounded() -> None:
    evicting = SETTINGS | {"maxmemory-policy": "allkeys-lru"}

    assert findings(Server(INFO, evicting)) == []
    (found,) = findings(Server(INFO, evicting | {"maxmemory": "100000"}))
    assert "`CONFIG SET maxmemory-policy noeviction`" in found


def test_settings_that_are_not_told_are_found() -> None:
    (found,) = findings(Server(INFO, None))

    assert "ACL SETUSER" in found


def test_replicas_that_are_asked_for_have_to_be_there_and_can_be_waited_for() -> None:
    few = findings(Server(INFO | {"connected_slaves": 1}, SETTINGS), replicas=2)
    old = findings(Server(INFO | {"redis_version": "7.0.15", "connected_slaves": 2}, SETTINGS), replicas=2)

    assert len(few) == len(old) == 1
    assert "1 replicas are connected and 2 have to confirm" in few[0]
    assert "WAITAOF" in old[0]
    assert findings(Server(INFO | {"redis_version": "7.0.15"}, SETTINGS)) == []


async def test_all_that_is_wrong_is_told_at_once() -> None:
    server = Answering(INFO | {"role": "slave"}, SETTINGS | {"appendonly": "no", "appendfsync": "no"})

    with pytest.raises(StorageUnsafeError) as caught:
        await require_safe(server, 0)

    assert str(caught.value).count("\n- ") == 3
    assert "allow_unsafe" in str(caught.value)


async def test_a_safe_server_is_taken() -> None:
    await require_safe(Answering(INFO, SETTINGS), 0)


async def test_an_unsafe_server_can_be_allowed_and_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await require_safe(Answering(INFO, SETTINGS | {"appendonly": "no"}), 0, allow_unsafe=True)

    assert "appendonly is no" in caplog.text


@pytest.mark.parametrize("error", [NoPermissionError("NOPERM"), ResponseError("ERR unknown command")])
async def test_a_server_that_hides_its_settings_is_looked_at_without(error: Exception) -> None:
    assert await look(Answering(INFO, error)) == Server(INFO, None)


async def test_a_server_that_does_not_answer_is_not_called_unsafe() -> None:
    with pytest.raises(StorageUnavailableError):
        await look(Answering(NotConnectedError("gone"), SETTINGS))
    with pytest.raises(StorageUnavailableError):
        await look(Answering(INFO, NotConnectedError("gone")))
