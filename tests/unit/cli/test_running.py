import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gift_ledger.cli import running
from gift_ledger.cli.doors import Ready
from gift_ledger.settings import Settings
from gift_ledger.sources import DEFAULT, Loaded
from tests.real.process import free_port
from tests.unit.cli.stage import ENDPOINTS, World


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:], {name: logging.getLogger(name).level for name in running.CHATTY}
    yield
    root.level, root.handlers[:] = before[0], before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


class Play:
    """The demo, which only notes how it was called."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.calls: list[tuple[Path, bool]] = []

    async def __call__(self, data_dir: Path, *, expect_wrong: bool) -> int:
        self.calls.append((data_dir, expect_wrong))
        return self.code


def test_up_says_where_everything_is_and_no_secret(world: World) -> None:
    ran = world.run("up")

    assert ran.exit_code == 0
    assert world.stopped_with is None
    for text in (
        "ready",
        ENDPOINTS.http,
        f"{ENDPOINTS.http}/schema",
        "redis://***@127.0.0.1:16379/0",
        ENDPOINTS.kafka,
        f"{ENDPOINTS.sms_inbox}/messages",
        ENDPOINTS.ray_dashboard,
        "keys.json",
    ):
        assert text in ran.stdout, text
    assert "hidden" not in ran.stdout
    assert "starting" in ran.stderr


def test_up_as_json_is_one_document(world: World) -> None:
    ran = world.run("up", "--json")

    told = json.loads(ran.stdout)
    assert (told["ready"], told["http"]) == (True, ENDPOINTS.http)
    assert told["dataDir"].endswith("/.gift-ledger")


def test_an_sms_gateway_of_ones_own_is_shown_without_its_path(world: World) -> None:
    world.environ["GIFT_LEDGER_SMS_URL"] = "https://sms.example/hidden"

    async def up(_settings: Settings, ready: Ready) -> int:
        await ready(replace(ENDPOINTS, sms_inbox="https://sms.example/hidden"))
        return 0

    world.use(up=up)

    shown = world.run("up").stdout

    assert "https://sms.example/***" in shown
    assert "hidden" not in shown


@pytest.mark.parametrize("code", [0, 1])
def test_the_demo_starts_a_stack_if_none_runs_and_ends_it_with_its_own_exit_code(world: World, code: int) -> None:
    play = Play(code)
    world.use(demo=play)

    ran = world.run("demo")

    assert ran.exit_code == code
    assert world.stopped_with == code
    ((name, settings),) = world.ran
    assert name == "up"
    assert play.calls == [(settings.data_path, False)]


def test_the_demo_takes_another_port_where_the_usual_one_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.use(demo=Play())
    taken = replace(Settings(), http_port=0)
    monkeypatch.setattr(running, "on_a_free_port", lambda loaded: taken if loaded.settings.http_port == 8080 else None)

    world.run("demo")

    assert world.ran == [("up", taken)]


@pytest.mark.parametrize(("origin", "asked_for"), [(DEFAULT, False), ("GIFT_LEDGER_HTTP_PORT", True)])
def test_only_a_port_that_nobody_asked_for_is_given_up(origin: str, asked_for: bool) -> None:  # noqa: FBT001
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = Settings(http_port=port)

        found = running.on_a_free_port(Loaded(settings=settings, origins={"http_port": origin}))

    assert found.http_port == (port if asked_for else 0)


def test_a_port_that_is_free_stays() -> None:
    settings = Settings(http_port=free_port())

    assert running.on_a_free_port(Loaded(settings=settings, origins={"http_port": DEFAULT})) == settings


def test_the_demo_plays_on_a_stack_that_runs(world: World) -> None:
    play = Play()
    world.use(demo=play)
    world.start_stack()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = f"http://127.0.0.1:{listener.getsockname()[1]}"
        replace(ENDPOINTS, http=http).write(world.folder / "data")

        ran = world.run("demo", "--expect-wrong")

    assert ran.exit_code == 0
    assert world.ran == []
    assert play.calls == [(world.folder / "data", True)]


def test_a_stack_that_has_left_its_file_behind_does_not_run(world: World) -> None:
    world.use(demo=Play())
    world.start_stack()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    replace(ENDPOINTS, http=f"http://127.0.0.1:{port}").write(world.folder / "data")

    world.run("demo")

    assert [name for name, _ in world.ran] == ["up"]


@pytest.mark.parametrize("role", ["gateway", "shards", "bridge"])
def test_a_role_runs_with_what_is_set(world: World, role: str) -> None:
    world.environ |= {"GIFT_LEDGER_KAFKA_BOOTSTRAP": "kafka:9092", "GIFT_LEDGER_SMS_URL": "https://sms.example/"}
    world.use(**{role: world.role(role, code=7)})

    ran = world.run(role)

    assert ran.exit_code == 7
    ((name, settings),) = world.ran
    assert name == role
    assert settings.redis_url == "redis://:hidden@127.0.0.1:1/0"


@pytest.mark.parametrize("role", ["gateway", "shards", "bridge"])
def test_a_role_joins_the_stack_that_runs_here(world: World, role: str) -> None:
    world.start_stack()
    world.use(**{role: world.role(role)})

    assert world.run(role).exit_code == 0

    ((_, settings),) = world.ran
    assert settings.redis_url == ENDPOINTS.redis
    assert settings.kafka_bootstrap == ENDPOINTS.kafka
    assert settings.sms_url == ENDPOINTS.sms_inbox
    assert settings.ray_address == ENDPOINTS.ray


def test_a_role_without_anything_to_join_says_what_to_set(world: World) -> None:
    ran = world.run("bridge")

    assert ran.exit_code == 2
    assert "start it with `gift-ledger up`. Or set GIFT_LEDGER_KAFKA_BOOTSTRAP and GIFT_LEDGER_SMS_URL." in ran.stderr


@pytest.mark.parametrize(
    ("level", "ours", "theirs"), [("debug", 10, 30), ("info", 20, 30), ("warning", 30, 30), ("error", 40, 40)]
)
def test_a_role_logs_from_the_level_on_that_is_set(world: World, level: str, ours: int, theirs: int) -> None:
    logging.getLogger().handlers.clear()
    world.environ["GIFT_LEDGER_LOG_LEVEL"] = level
    world.use(shards=world.role("shards"))

    world.run("shards")

    assert logging.getLogger().level == ours
    assert logging.getLogger("aiokafka").getEffectiveLevel() == theirs


@pytest.mark.parametrize("command", ["gateway", "up"])
def test_a_certificate_on_the_command_line_wins_over_the_environment(world: World, command: str) -> None:
    world.use(gateway=world.role("gateway"))
    world.environ |= {"GIFT_LEDGER_HTTP_TLS_CERT": "old.crt", "GIFT_LEDGER_HTTP_TLS_KEY": "old.key"}

    assert world.run(command, "--tls-cert", "/new.crt", "--tls-key", "/new.key").exit_code == 0
    assert world.run(command).exit_code == 0

    certificates = [(settings.http_tls_cert, settings.http_tls_key) for _, settings in world.ran]
    assert certificates == [("/new.crt", "/new.key"), ("old.crt", "old.key")]


def test_a_certificate_without_its_key_is_told(world: World) -> None:
    ran = world.run("gateway", "--tls-cert", "/new.crt")

    assert ran.exit_code == 2
    assert "http_tls_cert and http_tls_key belong together" in ran.stderr
