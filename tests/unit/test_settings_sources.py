"""Where the settings come from: the environment, files, defaults; and what is said when one is wrong."""

from pathlib import Path

import pytest

from gift_ledger.settings import SettingsError
from gift_ledger.sources import CONFIG, DEFAULT, SETTINGS, load, mask, spelled
from tests.unit.settings_values import OTHER

THE_LIST = "`gift-ledger settings --markdown` lists them all."
NUMBERS = [name for name, setting in SETTINGS.items() if "number" in setting.expected]

_TOKENS = ["jwt_issuer", "jwt_audience", "jwt_jwks_url"]
_SASL = ["kafka_bootstrap", "kafka_security_protocol", "kafka_username", "kafka_password"]
TOGETHER = {
    **{name: ["http_tls_cert", "http_tls_key"] for name in ("http_tls_cert", "http_tls_key")},
    **dict.fromkeys(_TOKENS, _TOKENS),
    **{name: ["redis_url"] for name in ("redis_password", "redis_tls_ca")},
    **{name: ["redis_url", "redis_tls_cert", "redis_tls_key"] for name in ("redis_tls_cert", "redis_tls_key")},
    **dict.fromkeys(("kafka_security_protocol", "kafka_username", "kafka_password", "kafka_tls_ca"), _SASL),
    **{name: [*_SASL, "kafka_tls_cert", "kafka_tls_key"] for name in ("kafka_tls_cert", "kafka_tls_key")},
}
"""Settings that cannot be alone, with those that they need."""


def with_partner(name: str) -> list[str]:
    return list(dict.fromkeys([name, *TOGETHER.get(name, [])]))


def refused(environ: dict[str, str], folder: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, folder)
    return str(caught.value)


def in_toml(name: str) -> str:
    text = OTHER[name]
    return text if name in NUMBERS or text in {"true", "false"} else f'"{text}"'


def test_every_setting_is_tried_here() -> None:
    assert list(OTHER) == list(SETTINGS)
    assert all(SETTINGS[name].default != value for name, value in OTHER.items())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_read_from_the_environment(name: str, tmp_path: Path) -> None:
    names = with_partner(name)

    loaded = load({SETTINGS[one].variable: OTHER[one] for one in names}, tmp_path)

    assert spelled(getattr(loaded.settings, name)) == OTHER[name]
    assert {origin for other, origin in loaded.origins.items() if other not in names} == {DEFAULT}
    assert loaded.origins[name] == SETTINGS[name].variable


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_read_from_a_file(name: str, tmp_path: Path) -> None:
    lines = [f"{one} = {in_toml(one)}\n" for one in with_partner(name)]
    (tmp_path / "gift-ledger.toml").write_text("".join(lines))

    loaded = load({}, tmp_path)

    assert spelled(getattr(loaded.settings, name)) == OTHER[name]
    assert loaded.origins[name] == "gift-ledger.toml"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_can_be_written_out(name: str, tmp_path: Path) -> None:
    default = SETTINGS[name].default

    loaded = load({SETTINGS[name].variable: default}, tmp_path)

    assert spelled(getattr(loaded.settings, name)) == default
    assert (loaded.origins[name] == DEFAULT) == (default == "")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_bounds_that_are_told(name: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]

    for wrong in ("-1", "1e9", "nan", "many", "1000000000"):
        assert refused({setting.variable: wrong}, tmp_path) == (
            f"{setting.variable}: expected {setting.expected}, got '{wrong}'."
        )


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("shards", "2.5", "a whole number from 1 to 1024"),
        ("placement", "spread", "one of dedicated, shared"),
        ("redis_allow_unsafe", "maybe", "true or false"),
        ("redis_prefix", "a{b}", "1 to 32 characters"),
        ("kafka_bootstrap", "kafka", "HOST:PORT, or several"),
        ("ray_address", "ray://head:10001", "HOST:PORT, or nothing"),
        ("topic_states", "a topic", "1 to 249 characters"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_what_can(name: str, wrong: str, expected: str, tmp_path: Path) -> None:
    said = refused({SETTINGS[name].variable: wrong}, tmp_path)

    assert said.startswith(f"{SETTINGS[name].variable}: expected {expected}")
    assert said.endswith(f", got '{wrong}'.")


@pytest.mark.parametrize("text", ["1", "TRUE", "yes", "on"])
def test_yes_has_several_words(text: str, tmp_path: Path) -> None:
    assert load({"GIFT_LEDGER_REDIS_ALLOW_UNSAFE": text}, tmp_path).settings.redis_allow_unsafe


def test_a_secret_that_is_wrong_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / "gift-ledger.toml").write_text('sms_url = "hidden"\n')

    said = refused({"GIFT_LEDGER_REDIS_URL": "hidden"}, tmp_path)

    assert "GIFT_LEDGER_REDIS_URL: expected an address such as redis://HOST:6379/0." in said
    assert "sms_url in gift-ledger.toml: expected an address such as https://HOST/PATH." in said
    assert "hidden" not in said


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "gift-ledger.toml").write_text('shards = "2"\nhttp_prot = 1\n')

    said = refused({"GIFT_LEDGER_HTTP_PORT": "x", "GIFT_LEDGER_NONSENSE": "x"}, tmp_path).splitlines()

    assert said == [
        f"gift-ledger.toml: There is no setting http_prot. Did you mean http_port? {THE_LIST}",
        f"There is no setting GIFT_LEDGER_NONSENSE. {THE_LIST}",
        "shards in gift-ledger.toml: expected a whole number from 1 to 1024, got '2'.",
        "GIFT_LEDGER_HTTP_PORT: expected a whole number from 0 to 65535, got 'x'.",
    ]


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("GIFT_LEDGER_REDIS_ULR", "GIFT_LEDGER_REDIS_URL"),
        ("GIFT_LEDGER_SHARD", "GIFT_LEDGER_SHARDS"),
        ("GIFT_LEDGER_SMS_URL_FIEL", "GIFT_LEDGER_SMS_URL_FILE"),
        ("GIFT_LEDGER_CONFIG_FILE", "GIFT_LEDGER_CONFIG"),
    ],
)
def test_an_unknown_name_is_told_with_the_one_that_was_meant(unknown: str, meant: str, tmp_path: Path) -> None:
    assert f"There is no setting {unknown}. Did you mean {meant}?" in refused({unknown: "x"}, tmp_path)


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    assert "Two topics" in refused({"GIFT_LEDGER_TOPIC_STATES": "All_Payments"}, tmp_path)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "gift-ledger.toml").write_text("shards = 3\nhttp_port = 81\n")

    loaded = load({"GIFT_LEDGER_SHARDS": "4", "GIFT_LEDGER_HTTP_PORT": "", "SHARDS": "5"}, tmp_path)

    assert (loaded.settings.shards, loaded.settings.http_port) == (4, 81)
    assert loaded.origins["shards"] == "GIFT_LEDGER_SHARDS"
    assert loaded.origins["http_port"] == "gift-ledger.toml"


def test_the_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("shards = 3\n")

    loaded = load({CONFIG: str(tmp_path / "other.toml")}, tmp_path)

    assert loaded.settings.shards == 3
    assert loaded.origins["shards"] == "other.toml"


def test_a_named_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert f"{CONFIG}: {tmp_path}/none.toml cannot be read" in refused({CONFIG: f"{tmp_path}/none.toml"}, tmp_path)


@pytest.mark.parametrize(
    "content", [b"shards = ", b"\xff", b"shards = " + b"9" * 5_000, b"shards = " + b"[" * 5_000, b"#" * 70_000]
)
def test_a_file_that_is_no_toml_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "gift-ledger.toml").write_bytes(content)

    assert refused({}, tmp_path).startswith(f"{tmp_path}/gift-ledger.toml cannot be read as TOML: ")


def test_a_value_that_makes_no_sense_is_quoted_as_far_as_it_fits_into_a_line(tmp_path: Path) -> None:
    (tmp_path / "gift-ledger.toml").write_text(f"shards = 0x{'f' * 5_000}\nhttp_port = '{'a' * 999}'")

    first, second = refused({}, tmp_path).splitlines()

    assert "got a number of thousands of digits." in first
    assert "got 'aaaa" in second
    assert second.endswith("aaa….")
    assert len(second) < 400


def test_a_file_in_the_home_of_nobody_is_said(tmp_path: Path) -> None:
    nowhere = "~nobody-of-this-name/gift-ledger"

    assert f"{nowhere} cannot be read" in refused({CONFIG: nowhere}, tmp_path)
    assert f"{nowhere} cannot be read" in refused({"GIFT_LEDGER_SMS_URL_FILE": nowhere}, tmp_path)


def test_a_secret_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "redis_url"
    file.write_text("redis://:hidden@redis/0\n")

    loaded = load({"GIFT_LEDGER_REDIS_URL_FILE": str(file)}, tmp_path)

    assert loaded.settings.redis_url == "redis://:hidden@redis/0"
    assert loaded.origins["redis_url"] == "GIFT_LEDGER_REDIS_URL_FILE"
    assert loaded.shown(SETTINGS["redis_url"]) == "redis://***@redis/0"


def test_a_secret_from_two_places_is_refused(tmp_path: Path) -> None:
    said = refused({"GIFT_LEDGER_SMS_URL": "http://a", "GIFT_LEDGER_SMS_URL_FILE": "/b"}, tmp_path)

    assert said == "GIFT_LEDGER_SMS_URL and GIFT_LEDGER_SMS_URL_FILE are both set: unset one of them."


def test_the_file_of_a_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    said = refused({"GIFT_LEDGER_SMS_URL_FILE": str(tmp_path)}, tmp_path)

    assert said.startswith(f"GIFT_LEDGER_SMS_URL_FILE: {tmp_path} cannot be read")


def test_only_secrets_have_files(tmp_path: Path) -> None:
    assert "There is no setting GIFT_LEDGER_SHARDS_FILE" in refused({"GIFT_LEDGER_SHARDS_FILE": "x"}, tmp_path)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("redis://user:hidden@redis:6379/0", "redis://***@redis:6379/0"),
        ("redis://:hid/den@redis:6379/0", "redis://***@redis:6379/0"),
        ("redis://:hid@den@redis/0", "redis://***@redis/0"),
        ("redis://redis/0?password=hidden", "redis://redis/0?***"),
        ("unix://user:hidden@/run/redis.sock", "unix://***@/run/redis.sock"),
        ("https://sms.example/key/hidden", "https://sms.example/***"),
        ("https://sms.example/", "https://sms.example/"),
        ("https://sms.example?key=hidden", "https://sms.example?***"),
    ],
)
def test_what_may_be_shown_of_an_address(value: str, shown: str) -> None:
    assert mask(value) == shown


def test_a_secret_is_shown_masked_and_an_unset_one_as_nothing(tmp_path: Path) -> None:
    loaded = load({"GIFT_LEDGER_SMS_URL": OTHER["sms_url"]}, tmp_path)

    assert loaded.shown(SETTINGS["sms_url"]) == "https://sms.example/***"
    assert loaded.shown(SETTINGS["redis_url"]) == ""
    assert loaded.shown(SETTINGS["shards"]) == "1"
