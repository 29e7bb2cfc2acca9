import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.readiness import Readiness
from gateway.services import Component, Condition
from gift_ledger.cli import doctor
from gift_ledger.cli.context import now_ms
from gift_ledger.cli.probes import FoundLedger, NoGatewayError
from gift_ledger.sources import SETTINGS
from persistence.errors import StorageRefusedError, StorageUnavailableError, StorageUnsafeError
from persistence.settings import StorageSettings
from persistence.vault import Vault
from tests.unit.cli.stage import ENDPOINTS, NOON, World

TOPICS = {setting.default: 6 for setting in SETTINGS.values() if setting.name.startswith("topic_")}
WELL = Component(status=Condition.OK)


class Servers:
    """The servers around a ledger, all of them well unless a test says otherwise."""

    def __init__(self) -> None:
        self.ledger: FoundLedger | Exception | None = FoundLedger(vault=None)
        self.clock_ahead_ms = 0
        self.clock_error: Exception | None = None
        self.topics: dict[str, int] | Exception = TOPICS
        self.silent: set[str] = set()
        self.reached: list[tuple[str, int, bool]] = []
        self.asked: list[str] = []
        self.ready: Readiness | Exception = Readiness(Condition.OK, {"storage": WELL})

    async def find_ledger(self, _settings: StorageSettings) -> FoundLedger | None:
        if isinstance(self.ledger, Exception):
            raise self.ledger
        return self.ledger

    async def redis_time(self, _settings: StorageSettings) -> int:
        if self.clock_error is not None:
            raise self.clock_error
        return now_ms() + self.clock_ahead_ms

    async def kafka_topics(self, _bootstrap: str) -> dict[str, int]:
        if isinstance(self.topics, Exception):
            raise self.topics
        return self.topics

    async def connect(self, host: str, port: int, *, tls: bool = False) -> None:
        if host in self.silent:
            raise ConnectionRefusedError("refused")
        self.reached.append((host, port, tls))

    async def readiness(self, url: str) -> Readiness:
        self.asked.append(url)
        if isinstance(self.ready, Exception):
            raise self.ready
        return self.ready


@pytest.fixture
def servers(world: World) -> Servers:
    """Servers that are all configured, and a data folder with secrets."""
    servers = Servers()
    world.use(
        ledger=servers.find_ledger,
        redis_time=servers.redis_time,
        topics=servers.kafka_topics,
        connect=servers.connect,
        ready=servers.readiness,
    )
    data = world.folder / "data"
    data.mkdir(mode=0o700)
    Vault.create(data / "secrets.json")
    world.environ |= {
        "GIFT_LEDGER_DATA_DIR": str(data),
        "GIFT_LEDGER_KAFKA_BOOTSTRAP": "kafka.example:9092",
        "GIFT_LEDGER_SMS_URL": "https://sms.example/hidden",
        "GIFT_LEDGER_RAY_ADDRESS": "ray.example:6379",
    }
    return servers


def examine(world: World, code: int) -> dict[str, dict[str, str]]:
    """What the doctor finds, by name, and of one name the worst; ``code`` is the exit code that it has to give."""
    ran = world.run("doctor", "--json")
    assert ran.exit_code == code, ran.stdout
    assert "hidden" not in ran.stdout
    order = ["ok", "warn", "fail"]
    found = sorted(json.loads(ran.stdout), key=lambda check: order.index(check["level"]))
    assert all(check["advice"] for check in found if check["level"] != "ok")
    return {check["name"]: check for check in found}


def test_when_all_is_well_every_part_is_ok(world: World, servers: Servers) -> None:
    found = examine(world, 0)

    assert {check["level"] for check in found.values()} == {"ok"}
    assert list(found) == [
        "settings", "stack", "data folder", "secrets", "redis", "clock", "kafka", "sms", "ray", "gateway",
    ]  # fmt: skip
    assert found["redis"]["seen"] == "durable and writable; 32 partitions, 0 events wait for Kafka"
    assert "All_Payments (6)" in found["kafka"]["seen"]
    assert ("sms.example", 443, True) in servers.reached
    assert ("ray.example", 6379, False) in servers.reached
    assert servers.asked == ["http://127.0.0.1:8080"]


def test_people_get_one_line_for_each_check_and_the_advice_below(world: World, servers: Servers) -> None:
    servers.topics = OSError("refused")

    ran = world.run("doctor")

    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    assert "ok    settings      from the environment" in lines
    told = lines.index("fail  kafka         kafka.example:9092 does not answer: refused")
    assert lines[told + 1] == (
        "                    Start it, or correct kafka_bootstrap. Calls go on meanwhile; events wait in Redis."
    )
    assert "hidden" not in ran.output


def test_settings_that_are_wrong_are_all_that_is_said(world: World) -> None:
    world.environ |= {"GIFT_LEDGER_SHARDS": "many", "GIFT_LEDGER_HTTP_PROT": "1"}

    ran = world.run("doctor")

    assert ran.exit_code == 1
    first, second, advice = ran.stdout.splitlines()
    assert first.startswith("fail  settings      There is no setting GIFT_LEDGER_HTTP_PROT. Did you mean")
    assert second.startswith("                    GIFT_LEDGER_SHARDS: expected a whole number")
    assert advice.strip() == "Correct the settings, then try again."


def test_where_the_settings_come_from_is_told(world: World, servers: Servers) -> None:
    (world.folder / "gift-ledger.toml").write_text("shards = 3\n")

    assert examine(world, 0)["settings"]["seen"] == "from gift-ledger.toml, the environment"


def test_on_a_new_machine_it_warns_and_does_not_fail(world: World, servers: Servers) -> None:
    world.environ = {"GIFT_LEDGER_DATA_DIR": str(world.folder / "new")}
    servers.ready = OSError("refused")

    found = examine(world, 0)

    assert found["settings"]["seen"] == "from the environment"
    assert found["stack"]["seen"] == "none runs here; unset: redis_url, kafka_bootstrap, sms_url"
    assert found["data folder"]["level"] == "warn"
    assert found["secrets"]["level"] == "warn"
    assert found["gateway"]["seen"] == "none runs here; nobody else has port 8080"
    assert {"redis", "clock", "kafka", "sms"} & found.keys() == set()


def test_defaults_alone_are_told(world: World, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    world.environ = {}

    assert examine(world, 0)["settings"]["seen"] == "from defaults alone"


def test_a_running_stack_is_found_by_its_file(world: World, servers: Servers) -> None:
    ENDPOINTS.write(world.folder / "data")
    world.environ = {"GIFT_LEDGER_DATA_DIR": str(world.folder / "data")}

    found = examine(world, 0)

    assert found["stack"]["seen"].endswith("endpoints.json tells where it is")
    assert servers.asked == [ENDPOINTS.http]
    assert found["dashboard"]["level"] == "ok"
    assert ("127.0.0.1", 16380, False) in servers.reached


def test_a_stack_that_is_gone_is_a_failure(world: World, servers: Servers) -> None:
    ENDPOINTS.write(world.folder / "data")
    servers.ready = TimeoutError()

    found = examine(world, 1)

    assert found["gateway"]["seen"] == f"{ENDPOINTS.http} does not answer: no answer in time"
    assert found["gateway"]["advice"] == "Start it with `gift-ledger up`."


# ------------------------------------------------------------------------------------------------------------- files


def test_a_data_folder_that_is_a_file_is_a_failure(world: World, servers: Servers) -> None:
    path = world.folder / "file"
    path.write_text("")
    world.environ["GIFT_LEDGER_DATA_DIR"] = str(path)

    assert examine(world, 1)["data folder"]["seen"] == f"{path} is no folder"


def test_a_data_folder_that_others_can_look_into_is_a_warning(world: World, servers: Servers) -> None:
    (world.folder / "data").chmod(0o755)

    assert examine(world, 0)["data folder"]["advice"] == f"Run `chmod 700 {world.folder / 'data'}`."


def test_secrets_that_others_can_read_are_a_failure(world: World, servers: Servers) -> None:
    (world.folder / "data/secrets.json").chmod(0o640)

    assert "chmod 600" in examine(world, 1)["secrets"]["seen"]


@pytest.mark.parametrize("name", ["keys.json", "endpoints.json"])
def test_keys_that_others_can_read_are_a_failure(world: World, servers: Servers, name: str) -> None:
    ENDPOINTS.write(world.folder / "data")
    path = world.folder / "data" / name
    path.touch()
    path.chmod(0o644)

    assert examine(world, 1)["files"]["advice"] == f"Run `chmod 600 {path}`."


def test_a_settings_file_with_a_password_that_others_can_read_is_a_failure(world: World, servers: Servers) -> None:
    del world.environ["GIFT_LEDGER_REDIS_URL"]
    toml = world.folder / "gift-ledger.toml"
    toml.write_text('redis_url = "redis://:hidden@h/0"\n')
    toml.chmod(0o644)

    assert examine(world, 1)["files"]["seen"] == f"others can read {toml}"

    toml.chmod(0o600)
    assert "files" not in examine(world, 0)


@pytest.mark.parametrize(
    ("content", "mode", "level", "name"),
    [
        (None, 0, "fail", "channel"),
        ("", 0o600, "fail", "channel"),
        ("t", 0o600, "ok", "channel"),
        ("t", 0o644, "fail", "files"),
    ],
)
def test_the_token_of_the_channel(
    world: World, servers: Servers, content: str | None, mode: int, level: str, name: str
) -> None:
    world.environ["GIFT_LEDGER_CHANNEL"] = "tcp"
    if content is not None:
        path = world.folder / "data/channel.token"
        path.write_text(content)
        path.chmod(mode)

    assert examine(world, 0 if level == "ok" else 1)[name]["level"] == level


# ----------------------------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (StorageUnavailableError("connection refused"), "Start it, or correct redis_url."),
        (StorageRefusedError("NOAUTH"), "Start it, or correct redis_url."),
        (StorageUnsafeError("not safe:\n- appendonly is no"), "Change the server's setting, then try again."),
    ],
)
def test_a_redis_that_cannot_be_used_is_a_failure(
    world: World, servers: Servers, error: Exception, advice: str
) -> None:
    servers.ledger = error
    servers.clock_error = StorageUnavailableError("likewise")

    found = examine(world, 1)

    assert found["redis"]["seen"] == str(error)
    assert found["redis"]["advice"] == advice
    assert "clock" not in found


def test_a_redis_without_a_ledger_is_a_warning_and_stays_without(world: World, servers: Servers) -> None:
    servers.ledger = None

    found = examine(world, 0)

    assert found["redis"]["seen"] == "durable; no ledger 'gl' on it yet"


def test_secrets_of_another_ledger_are_a_failure(world: World, servers: Servers) -> None:
    servers.ledger = FoundLedger(vault="0123456789abcdef")

    found = examine(world, 1)

    assert "made with the pepper 0123456789abcdef" in found["secrets"]["seen"]


def test_secrets_of_this_ledger_are_in_order(world: World, servers: Servers) -> None:
    servers.ledger = FoundLedger(vault=Vault.load(world.folder / "data/secrets.json").fingerprint)

    assert examine(world, 0)["secrets"]["level"] == "ok"


def test_secrets_that_cannot_be_read_are_said_once(world: World, servers: Servers) -> None:
    servers.ledger = FoundLedger(vault="0123456789abcdef")
    (world.folder / "data/secrets.json").write_text("{}")

    found = examine(world, 1)

    assert "is not a secrets file" in found["secrets"]["seen"]


def test_messages_that_were_given_up_are_a_warning(filled: World, servers: Servers) -> None:
    async def give_up() -> None:
        for message in await filled.log.messages_due(NOON):
            await filled.log.message_settle(message, "number unknown")

    asyncio.run(give_up())

    assert examine(filled, 0)["sms"]["seen"] == "1 messages were given up"


@pytest.mark.parametrize(
    ("ahead_ms", "level"),
    [(0, "ok"), (-300, "ok"), (1_000, "warn"), (-1_000, "warn"), (60_000, "fail"), (-60_000, "fail")],
)
def test_clocks_that_differ(world: World, servers: Servers, ahead_ms: int, level: str) -> None:
    servers.clock_ahead_ms = ahead_ms

    assert examine(world, 1 if level == "fail" else 0)["clock"]["level"] == level


def test_topics_that_are_missing_are_a_warning(world: World, servers: Servers) -> None:
    servers.topics = {name: 1 for name in TOPICS if name not in {"All_Payments", "GiftCertificateState"}}

    assert examine(world, 0)["kafka"]["seen"] == "no topic All_Payments, GiftCertificateState"


def test_an_sms_gateway_that_is_away_is_a_failure(world: World, servers: Servers) -> None:
    servers.silent = {"sms.example"}

    assert examine(world, 1)["sms"]["seen"] == "sms.example:443 does not answer: refused"


def test_a_port_of_its_own_is_tried(world: World, servers: Servers) -> None:
    world.environ["GIFT_LEDGER_SMS_URL"] = "http://sms.example:8090/"

    examine(world, 0)

    assert ("sms.example", 8090, False) in servers.reached


def test_a_ray_that_is_away_is_a_failure_and_its_dashboard_a_warning(world: World, servers: Servers) -> None:
    ENDPOINTS.write(world.folder / "data")
    servers.silent = {"127.0.0.1"}

    assert examine(world, 0)["dashboard"]["level"] == "warn"

    servers.silent = {"ray.example"}
    assert examine(world, 1)["ray"]["seen"] == "ray.example:6379 does not answer: refused"


@pytest.mark.parametrize(
    ("condition", "level", "seen"),
    [
        (Condition.OK, "ok", "http://127.0.0.1:8080 is ready"),
        (Condition.DEGRADED, "warn", "is ready, but kafka is degraded (it waits); sms is degraded"),
        (Condition.DOWN, "fail", "is not ready: kafka is degraded (it waits); sms is degraded"),
    ],
)
def test_what_the_gateway_says_of_itself_is_told(
    world: World, servers: Servers, condition: Condition, level: str, seen: str
) -> None:
    ill = Component(status=Condition.DEGRADED, detail="it waits")
    parts = {"storage": WELL, "kafka": ill, "sms": replace(ill, detail="")} if level != "ok" else {"storage": WELL}
    servers.ready = Readiness(condition, parts)

    found = examine(world, 1 if level == "fail" else 0)["gateway"]

    assert found["level"] == level
    assert found["seen"].endswith(seen)


def test_a_stranger_on_the_port_is_a_warning(world: World, servers: Servers) -> None:
    servers.ready = NoGatewayError("404")

    assert examine(world, 0)["gateway"]["seen"] == "something else answers at http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:81"), ("::1", "http://[::1]:81"), ("10.0.0.5", "http://10.0.0.5:81")],
)
def test_the_gateway_is_asked_where_it_would_be(world: World, servers: Servers, host: str, url: str) -> None:
    world.environ |= {"GIFT_LEDGER_HTTP_HOST": host, "GIFT_LEDGER_HTTP_PORT": "81"}

    examine(world, 0)

    assert servers.asked == [url]


def test_a_gateway_on_any_port_is_not_looked_for(world: World, servers: Servers) -> None:
    world.environ["GIFT_LEDGER_HTTP_PORT"] = "0"

    assert "gateway" not in examine(world, 0)


def test_a_server_that_hangs_does_not_hold_up_the_others(
    world: World, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECK_SECONDS_MAX", 0.05)

    async def hang(_bootstrap: str) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    world.use(topics=hang)

    found = examine(world, 1)

    assert found["kafka"]["seen"] == "no answer in 0.05 s"
    assert found["redis"]["level"] == "ok"
    assert Path(world.environ["GIFT_LEDGER_DATA_DIR"]).exists()
