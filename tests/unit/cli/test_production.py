"""``doctor --production``: each line in both of its outcomes."""

import asyncio
import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.bridge_settings import BridgeSettings
from gift_ledger.cli import production
from gift_ledger.cli.check import Check, Level
from gift_ledger.cli.context import now_ms
from gift_ledger.cli.production_probes import RedisFacts, TopicFacts
from gift_ledger.settings import Settings
from gift_ledger.sources import SETTINGS
from ledger.money import DAY_MS
from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, hash_key
from persistence.settings import StorageSettings
from persistence.vault import Vault
from tests.unit.cli.stage import World

TOPICS = [setting.default for setting in SETTINGS.values() if setting.name.startswith("topic_")]
WELL: dict[str, Any] = {
    "redis_url": "rediss://gift-ledger@redis.example:6379/0",
    "redis_password": "hidden",
    "redis_replicas": 1,
    "kafka_bootstrap": "kafka.example:9092",
    "kafka_security_protocol": "SASL_SSL",
    "kafka_username": "gift-ledger",
    "kafka_password": "hidden",
    "sms_url": "https://sms.example/hidden",
    "ray_address": "10.0.0.6:6379",
    "codes": "checked",
    "http_connections_max": 100,
}
TOKEN = {"RAY_AUTH_TOKEN": "hidden"}
FACTS = RedisFacts(
    open_to_all=False,
    allowed=(),
    reads_others=False,
    unsafe=(),
    settings={"protected-mode": "yes", "maxmemory-policy": "noeviction"},
)
KEY = ClientKey(
    key_id="k1", key_hash=hash_key("glk_one"), client="till-1", role="pos", channel="POS", created_at=now_ms(),
    expires_at=now_ms() + DAY_MS,
)  # fmt: skip


@pytest.fixture
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that leave nothing open, of somebody who is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    Vault.create(tmp_path / "secrets.json")
    return Settings(data_dir=str(tmp_path), **WELL)


def looked(settings: Settings, environ: Mapping[str, str] = TOKEN) -> dict[str, Check]:
    checks = production.open_by_settings(settings, environ)
    assert all(check.advice for check in checks if check.level is not Level.OK)
    assert "hidden" not in str(checks)
    return {check.name: check for check in checks}


def test_where_nothing_is_open_every_line_is_ok(well: Settings) -> None:
    found = looked(well)

    assert {name for name, check in found.items() if check.level is not Level.OK} == set()
    assert list(found) == [
        "redis", "kafka", "sms", "ray", "http", "proxies", "tokens", "codes", "redis password", "redis user",
        "redis tls", "replicas", "durability", "kafka tls", "kafka user", "sms tls", "ray network", "ray token",
        "channel", "secrets", "demo keys", "user", "open files",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes", "seen"),
    [
        ("redis", {"redis_url": None, "redis_password": None}, "the embedded server is used"),
        ("kafka", {"kafka_bootstrap": None}, "the embedded server is used"),
        ("sms", {"sms_url": None}, "the embedded server is used"),
        ("ray", {"ray_address": ""}, "the embedded server is used"),
        ("http", {"http_host": "0.0.0.0"}, "plain HTTP on 0.0.0.0"),
        ("proxies", {"http_trusted_proxies": "10.0.0.7, 10.0.0.0/8"}, "10.0.0.0/8 may say"),
        ("codes", {"codes": "any"}, "any code is sold"),
        ("redis password", {"redis_password": None}, "without one"),
        ("redis user", {"redis_url": "rediss://redis.example"}, "the default user"),
        ("redis tls", {"redis_url": "redis://gift-ledger@redis.example"}, "in the clear to redis.example"),
        ("redis tls", {"redis_url": "rediss://u@redis.example?ssl_cert_reqs=none"}, "ssl_cert_reqs off"),
        ("redis tls", {"redis_url": "rediss://u@redis.example?ssl_check_hostname=false"}, "ssl_check_hostname off"),
        ("replicas", {"redis_replicas": 0}, "on one disk"),
        ("durability", {"redis_allow_unsafe": True}, "may be lost"),
        ("kafka tls", {"kafka_security_protocol": "SASL_PLAINTEXT"}, "in the clear to kafka.example"),
        ("kafka user", {"kafka_security_protocol": "SSL"}, "not told who asks"),
        ("sms tls", {"sms_url": "http://sms.example/hidden"}, "in the clear to sms.example"),
        ("ray network", {"ray_address": "8.8.8.8:6379"}, "8.8.8.8 is not known to be private"),
        ("ray network", {"ray_address": "ray-head:6379"}, "ray-head is not known to be private"),
        ("channel", {"channel": "tcp", "channel_host": "0.0.0.0"}, "tcp on 0.0.0.0"),
        ("secrets", {"secrets_path": "/nowhere/secrets.json"}, "no /nowhere/secrets.json"),
        ("open files", {"http_connections_max": 1_000_000}, "1000256 may be needed"),
    ],
)  # fmt: skip
def test_what_a_setting_leaves_open_is_told(
    well: Settings, name: str, changes: dict[str, Any], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))

    found = looked(replace(well, **changes))

    assert found[name].level is Level.FAIL
    assert seen in found[name].seen


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("http", {"http_host": "0.0.0.0", "http_tls_cert": "/tls.crt", "http_tls_key": "/tls.key"}),
        ("http", {"http_host": "localhost"}),
        ("proxies", {"http_trusted_proxies": "10.0.0.7, 10.1.0.0/24"}),
        ("redis tls", {"redis_url": "redis://gift-ledger@127.0.0.1"}),
        ("redis tls", {"redis_url": "unix://gift-ledger@/run/redis.sock"}),
        ("kafka tls", {"kafka_bootstrap": "127.0.0.1:9092", "kafka_security_protocol": "SASL_PLAINTEXT"}),
        ("kafka user", {"kafka_security_protocol": "SSL", "kafka_tls_cert": "/c", "kafka_tls_key": "/k"}),
        ("sms tls", {"sms_url": "http://127.0.0.1:8090/"}),
        ("channel", {"channel": "tcp", "channel_host": "auto"}),
        ("channel", {"channel": "tcp", "channel_host": "10.0.0.7"}),
        ("ray network", {"ray_address": "localhost:6379"}),
    ],
)  # fmt: skip
def test_what_is_closed_in_another_way_is_in_order(well: Settings, name: str, changes: dict[str, Any]) -> None:
    assert looked(replace(well, **changes))[name].level is Level.OK


def test_ray_without_a_token_is_open(well: Settings, tmp_path: Path) -> None:
    assert looked(well, {"HOME": str(tmp_path)})["ray token"].level is Level.FAIL
    assert looked(well, {**TOKEN, "RAY_AUTH_MODE": "disabled"})["ray token"].level is Level.FAIL


def test_files_that_others_may_read_and_keys_of_demos_are_told(well: Settings, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").chmod(0o640)
    (tmp_path / "keys.json").write_text("{}")

    found = looked(well)

    assert found["secrets"].seen == f"others may read {tmp_path}/secrets.json"
    assert found["demo keys"].level is Level.FAIL


def test_who_may_write_the_providers_keys_is_every_client(well: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "provider.json"
    given = {"jwt_issuer": "https://login.example", "jwt_audience": "gift-ledger"}
    from_file = replace(well, **given, jwt_jwks_url=str(keys))
    from_afar = replace(well, **given, jwt_jwks_url="https://login.example/certs")

    missing = looked(from_file)["tokens"]
    keys.write_text('{"keys": []}')
    keys.chmod(0o664)
    shared = looked(from_file)["tokens"]
    keys.chmod(0o644)

    assert (missing.level, missing.seen) == (Level.FAIL, f"no {keys}: no token is taken")
    assert (shared.level, shared.seen) == (Level.FAIL, f"others may write {keys}, and be every client")
    assert looked(from_file)["tokens"].level is Level.OK
    assert looked(from_afar)["tokens"].seen == "of https://login.example, with the keys that it publishes"


def test_root_is_told(well: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert looked(well)["user"].seen == "runs as root"


class Production:
    """Servers that leave nothing open, unless a test says otherwise."""

    def __init__(self, world: World) -> None:
        self.redis: RedisFacts | Exception = FACTS
        self.topics: dict[str, TopicFacts] | Exception = dict.fromkeys(TOPICS, TopicFacts(replicas=3, in_sync_min=2))
        self.clock_ahead_ms = 0
        world.use(redis_facts=self._redis, topic_facts=self._topics, redis_time=self._time)
        self._world = world

    async def _redis(self, _settings: StorageSettings) -> RedisFacts:
        if isinstance(self.redis, Exception):
            raise self.redis
        return self.redis

    async def _topics(self, _settings: BridgeSettings) -> dict[str, TopicFacts]:
        if isinstance(self.topics, Exception):
            raise self.topics
        return self.topics

    async def _time(self, _settings: StorageSettings) -> int:
        return now_ms() + self.clock_ahead_ms

    def examine(self, code: int) -> dict[str, dict[str, str]]:
        ran = self._world.run("doctor", "--production", "--json")
        assert ran.exit_code == code, ran.stdout
        assert "hidden" not in ran.stdout
        return {check["name"]: check for check in json.loads(ran.stdout)}


@pytest.fixture
def servers(world: World, well: Settings) -> Production:
    world.environ = {SETTINGS[name].variable: str(value) for name, value in WELL.items()}
    world.environ |= {"GIFT_LEDGER_DATA_DIR": well.data_dir, **TOKEN}
    return Production(world)


def test_where_nothing_is_open_it_succeeds(servers: Production, world: World) -> None:
    asyncio.run(world.keys.add(KEY))

    found = servers.examine(0)

    assert {check["level"] for check in found.values()} == {"ok"}
    assert {"redis rights", "keys end", "clock", "kafka in sync"} <= set(found)


def test_settings_that_are_wrong_are_told_alone(world: World, servers: Production) -> None:
    world.environ["GIFT_LEDGER_SHARDS"] = "many"

    assert list(servers.examine(1)) == ["settings"]


@pytest.mark.parametrize(
    ("name", "facts", "seen"),
    [
        ("redis strangers", {"open_to_all": True}, "anybody gets in"),
        ("redis rights", {"allowed": ("FLUSHALL",)}, "the service may FLUSHALL"),
        ("redis keys", {"reads_others": True}, "the keys of others"),
        ("redis protected", {"settings": {"protected-mode": "no"}}, "protected-mode is no"),
        ("redis protected", {"settings": {}}, "protected-mode is not told"),
        ("redis safety", {"unsafe": ("appendfsync is everysec: …",)}, "appendfsync is everysec"),
        ("redis memory", {"settings": {"maxmemory-policy": "allkeys-lru"}}, "maxmemory-policy is allkeys-lru"),
    ],
)
def test_what_redis_leaves_open_is_told(servers: Production, name: str, facts: dict[str, Any], seen: str) -> None:
    assert servers.examine(0)[name]["level"] == "ok"

    servers.redis = replace(FACTS, **facts)

    found = servers.examine(1)[name]
    assert (found["level"], seen in found["seen"]) == ("fail", True)


@pytest.mark.parametrize(
    ("name", "topic", "seen"),
    [
        ("kafka copies", TopicFacts(replicas=1, in_sync_min=2), "fewer than three of All_SalesOrder"),
        ("kafka in sync", TopicFacts(replicas=3, in_sync_min=1), "for All_SalesOrder"),
        ("kafka in sync", TopicFacts(replicas=3, in_sync_min=None), "or it is not told"),
        ("kafka topics", None, "no All_SalesOrder"),
    ],
)
def test_what_kafka_leaves_open_is_told(servers: Production, name: str, topic: TopicFacts | None, seen: str) -> None:
    assert servers.examine(0)[name]["level"] == "ok"

    well = dict.fromkeys(TOPICS, TopicFacts(replicas=3, in_sync_min=2))
    if topic is None:
        del well[TOPICS[0]]
    else:
        well[TOPICS[0]] = topic
    servers.topics = well

    found = servers.examine(1)[name]
    assert (found["level"], seen in found["seen"]) == ("fail", True)


def test_servers_that_cannot_be_looked_at_count_as_open(servers: Production) -> None:
    servers.redis, servers.topics = StorageUnavailableError("no answer"), OSError("refused")

    found = servers.examine(1)

    assert found["redis"]["seen"] == "it cannot be looked at: no answer"
    assert found["kafka"]["seen"] == "it cannot be looked at: refused"


def test_clocks_that_differ_are_told(servers: Production) -> None:
    assert servers.examine(0)["clock"]["level"] == "ok"

    servers.clock_ahead_ms = 2_000

    assert servers.examine(1)["clock"]["level"] == "fail"


@pytest.mark.parametrize(
    ("name", "changes", "seen"),
    [
        ("keys end", {"expires_at": None}, "no end has k1"),
        ("keys used", {"created_at": now_ms() - 100 * DAY_MS}, "nobody has used for 90 days k1"),
        ("keys of demos", {"client": "local-pos"}, "made by `gift-ledger up`: k1"),
    ],
)
def test_keys_that_should_not_be_are_told(
    world: World, servers: Production, name: str, changes: dict[str, Any], seen: str
) -> None:
    asyncio.run(world.keys.add(replace(KEY, **changes)))

    found = servers.examine(1)[name]

    assert (found["level"], seen in found["seen"]) == ("fail", True)


def test_a_key_that_has_ended_is_no_matter(world: World, servers: Production) -> None:
    asyncio.run(world.keys.add(replace(KEY, client="local-pos", created_at=1, expires_at=2)))

    assert {check["level"] for check in servers.examine(0).values()} == {"ok"}


def test_many_names_are_cut_short(world: World, servers: Production) -> None:
    for number in range(7):
        asyncio.run(world.keys.add(replace(KEY, key_id=f"k{number}", created_at=number + now_ms(), expires_at=None)))

    assert servers.examine(1)["keys end"]["seen"].endswith("k0, k1, k2, k3, k4 and 2 more")
