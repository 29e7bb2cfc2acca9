"""The settings as the rooms get them."""

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from gift_ledger.endpoints import Endpoints
from gift_ledger.settings import Settings, SettingsError
from gift_ledger.sources import SETTINGS
from tests.unit.settings_values import OTHER

STACK = Endpoints(
    http="http://127.0.0.1:1",
    redis="redis://127.0.0.1:2/0",
    kafka="127.0.0.1:3",
    sms_inbox="http://127.0.0.1:4",
    ray="r:5",
)
HERE = frozenset({"log_level", "dashboard_port", "cores_apart"})
"""Settings that the process itself obeys, and no room."""


def given_to_the_rooms(settings: Settings) -> list[object]:
    return [
        settings.storage(),
        settings.actors(),
        settings.http(),
        settings.policy(),
        settings.bridge(),
        settings.data_path,
    ]


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in HERE])
def test_every_setting_reaches_a_room(name: str) -> None:
    provider = {"jwt_issuer": "https://i", "jwt_audience": "a", "jwt_jwks_url": "https://i/keys"}
    usual = msgspec.structs.replace(Settings(), **provider).at(STACK)

    changed = msgspec.convert({**msgspec.structs.asdict(usual), name: OTHER[name]}, Settings, strict=False)

    assert given_to_the_rooms(changed) != given_to_the_rooms(usual)


def test_paths_are_absolute_and_stand_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = Settings(data_dir="data", redis_url="redis://h/0")

    assert settings.data_path == tmp_path / "data"
    assert settings.secrets_file == tmp_path / "data/secrets.json"
    assert settings.actors().channel_token_path == str(tmp_path / "data/channel.token")
    assert settings.storage().secrets_path == str(tmp_path / "data/secrets.json")


def test_paths_that_are_given_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    settings = Settings(secrets_path="~/pepper.json", run_dir="~/run", channel_token_path="~/token")

    assert settings.secrets_file == tmp_path / "pepper.json"
    assert settings.run_path == tmp_path / "run"
    assert settings.actors().run_dir == str(tmp_path / "run")
    assert settings.actors().channel_token_path == str(tmp_path / "token")


def test_two_data_folders_have_two_folders_of_sockets_that_are_short() -> None:
    one, other = Settings(data_dir="/srv/" + "a" * 200), Settings(data_dir="/srv/" + "b" * 200)

    assert one.run_path != other.run_path
    assert len(os.fsencode(one.run_path)) < 60


def test_what_is_unset_comes_from_the_running_stack_and_what_is_set_stays() -> None:
    settings = Settings(kafka_bootstrap="kafka:9092").at(STACK)

    assert settings.redis_url == STACK.redis
    assert settings.kafka_bootstrap == "kafka:9092"
    assert settings.sms_url == STACK.sms_inbox
    assert settings.ray_address == STACK.ray


def test_a_stack_without_an_inbox_leaves_sms_unset() -> None:
    assert Settings().at(replace(STACK, sms_inbox="")).sms_url is None


def test_without_redis_or_kafka_it_is_said_which_setting_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"set GIFT_LEDGER_REDIS_URL, or start a stack with `gift-ledger up`"):
        Settings().storage()
    with pytest.raises(SettingsError, match="GIFT_LEDGER_KAFKA_BOOTSTRAP"):
        Settings().bridge()


def test_the_gateway_waits_longer_than_the_ledger() -> None:
    settings = Settings(request_timeout_seconds=7.0)

    assert settings.http().deadline_seconds > settings.actors().request_timeout_seconds == 7.0


def test_the_numbers_of_the_business_are_in_milliseconds() -> None:
    policy = Settings(reservation_hours=0.5, certificate_lifetime_days=0.25, cvc_lock_first_seconds=1.5).policy()

    assert policy.reservation_ttl_ms == 1_800_000
    assert policy.certificate_lifetime_ms == 21_600_000
    assert policy.cvc_lock_first_ms == 1_500


def test_the_defaults_contradict_nothing() -> None:
    assert Settings().contradictions() == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(topic_states="All_Payments"), "Two topics have the same name"),
        (Settings(cvc_lock_first_seconds=60, cvc_lock_max_seconds=30), "cvc_lock_first_seconds is above"),
        (Settings(request_timeout_seconds=1), "request_timeout_seconds is below redis_timeout_seconds"),
        (Settings(run_dir="/" + "x" * 80), "run_dir: /xxx"),
        (Settings(redis_url="redis://:se/cret@h/0"), "redis_url is no address: its port is no number"),
        (Settings(redis_url="redis://:12/cret@h"), "redis_url is no address: it names no host"),
        (Settings(redis_url="redis://h:99999/0"), "redis_url is no address: its port is no number"),
        (Settings(redis_url="redis://h/gifts"), "redis_url is no address: its path is no number of a database"),
        (Settings(sms_url="https://:443/key"), "sms_url is no address: it names no host"),
        (Settings(http_trusted_proxies="10.0.0.0/8,proxy"), "http_trusted_proxies: 'proxy' does not appear to be"),
    ],
)
def test_what_cannot_be_together_is_said_without_any_secret(settings: Settings, said: str) -> None:
    (found,) = settings.contradictions()

    assert found.startswith(said)
    assert "cret" not in found
    assert "gifts" not in found


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://h/", "rediss://u:p%2F@h:6380/3", "redis://[::1]:6379/0", "unix:///run/redis.sock?db=1"],
)
def test_addresses_of_redis_are_taken(url: str) -> None:
    assert Settings(redis_url=url).contradictions() == []


def test_a_long_folder_of_sockets_does_no_harm_where_none_are_made() -> None:
    assert Settings(run_dir="/" + "x" * 80, channel="tcp").contradictions() == []
