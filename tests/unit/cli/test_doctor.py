import pytest

from tests.unit.cli.doctor_stage import Servers, examine
from tests.unit.cli.stage import ENDPOINTS, World


def test_when_all_is_well_every_part_is_ok(world: World, servers: Servers) -> None:
    found = examine(world, 0)

    assert {check["level"] for check in found.values()} == {"ok"}
    assert list(found) == [
        "settings", "stack", "data folder", "secrets", "redis", "data keys", "clock", "kafka", "sms", "ray", "gateway",
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
