"""The compose stack hangs together: read as Compose reads it, against its schema and against the service itself."""

import copy
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from deploy import make_secrets
from deploy.make_secrets import IMAGE_USER, STAND_IN, main, make
from gift_ledger.cli import app
from gift_ledger.sources import PREFIX, SETTINGS, load
from persistence.vault import Vault

ROOT = Path(__file__).resolve().parents[2]
Stack = dict[str, Any]
OF_OTHERS = {"redis_password", "redis_users", "redis_operator_url"}
"""Secrets that Redis itself needs, and the operator."""


def stack() -> Stack:
    parsed: Stack = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack()["services"]
    return found


OURS = sorted(name for name, service in services().items() if service["image"] == "gift-ledger")


def words(service: dict[str, Any]) -> list[str]:
    command = service.get("command", [])
    return command.split() if isinstance(command, str) else list(command)


def problems(parsed: Stack) -> list[str]:
    """What does not resolve."""
    checks = (waits, names, ports, reads)
    return [f"{name} {problem}" for check in checks for name in parsed["services"] for problem in check(parsed, name)]


def waits(parsed: Stack, name: str) -> Iterator[str]:
    for other, how in parsed["services"][name].get("depends_on", {}).items():
        if other not in parsed["services"]:
            yield f"depends on {other}, which is no service"
        elif how["condition"] == "service_healthy" and "healthcheck" not in parsed["services"][other]:
            yield f"waits for the health of {other}, which has no health check"


def names(parsed: Stack, name: str) -> Iterator[str]:
    for kind in ("volumes", "secrets", "networks"):
        for named in parsed["services"][name].get(kind, []):
            if named.split(":")[0] not in parsed.get(kind, {}):
                yield f"names {named}, which is not among the {kind}"


def ports(parsed: Stack, name: str) -> Iterator[str]:
    for port in parsed["services"][name].get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"publishes {port} beyond this machine"


def reads(parsed: Stack, name: str) -> Iterator[str]:
    service = parsed["services"][name]
    named = set(re.findall(r"/run/secrets/(\w+)", f"{service.get('environment')} {words(service)}"))
    for secret in sorted(named - set(service.get("secrets", []))):
        yield f"reads the secret {secret}, which it is not given"


def test_it_obeys_the_compose_specification() -> None:
    jsonschema.validate(stack(), get_builtin_schema("vendor.compose-spec"))


def test_everything_that_a_service_names_is_there() -> None:
    assert problems(stack()) == []


def _unhealthy(parsed: Stack) -> None:
    del parsed["services"]["redis"]["healthcheck"]


def _open_to_all(parsed: Stack) -> None:
    parsed["services"]["kafka"]["ports"] = ["9094:9094"]


def _no_volume(parsed: Stack) -> None:
    del parsed["volumes"]["redis-data"]


def _no_secret(parsed: Stack) -> None:
    parsed["services"]["bridge"]["secrets"] = ["redis_url"]


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_unhealthy, "waits for the health of redis"),
        (_open_to_all, "publishes 9094:9094"),
        (_no_volume, "redis names redis-data:/data"),
        (_no_secret, "bridge reads the secret ledger_secrets"),
    ],
)
def test_what_does_not_resolve_is_seen(breaks: Callable[[Stack], None], said: str) -> None:
    broken = copy.deepcopy(stack())
    breaks(broken)

    assert any(said in problem for problem in problems(broken))


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_there_is(name: str) -> None:
    group = typer.main.get_command(app)
    commands = set(getattr(group, "commands", {}))

    match words(services()[name]):
        case ["ray-node" | "gift-ledger", role, *_]:
            assert role in commands
        case ["python", "-m", module, *_]:
            assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists()
        case command:
            assert command[:2] == ["ray", "start"]


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_are_in_order(name: str, tmp_path: Path) -> None:
    given = {key: str(value) for key, value in services()[name].get("environment", {}).items()}
    for secret in ("redis_url", "redis_operator_url"):
        (tmp_path / secret).write_text("redis://:secret@redis:6379/0")
    (tmp_path / "sms_url").write_text(STAND_IN)
    environment = {
        key: re.sub("^/run/secrets/(redis_url|redis_operator_url|sms_url)$", rf"{tmp_path}/\1", value)
        for key, value in given.items()
        if key.startswith(PREFIX)
    }

    settings = load(environment, tmp_path).settings

    if environment:
        assert settings.redis_url == "redis://:secret@redis:6379/0"
        assert settings.sms_url == "http://sms:8090/"
        assert settings.channel == "tcp"
        assert settings.ray_address == "ray-head:6379"


def test_redis_loses_nothing_that_it_acknowledged() -> None:
    command = " ".join(words(services()["redis"]))

    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in command
    assert "redis-data:/data" in services()["redis"]["volumes"]


@pytest.mark.parametrize("name", [name for name in OURS if name != "sms"])
def test_what_was_forgotten_outlives_the_container(name: str) -> None:
    folder = Path(services()[name]["environment"]["GIFT_LEDGER_DATA_DIR"])
    mounted = {Path(volume.split(":")[1]) for volume in services()[name]["volumes"]}
    opened = re.findall(r"chmod 1777 (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert folder.parent in mounted, "whose rights are the image's; the folder itself is made for its owner alone"
    assert str(folder.parent) in opened[0].split()


def test_every_topic_of_the_service_is_made() -> None:
    made = set(re.findall(r"^topic (\S+)(.*)$", words(services()["topics"])[-1], re.MULTILINE))

    topics = {setting.default for setting in SETTINGS.values() if setting.name.startswith("topic_")}
    assert {name for name, _ in made} == topics
    assert ("GiftCertificateState", " --config cleanup.policy=compact") in made


def test_every_container_of_ours_is_no_root() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^USER ledger$", dockerfile, re.MULTILINE)
    assert f"--uid {IMAGE_USER}" in dockerfile
    for name in OURS:
        assert services()[name]["user"] == f"${{SECRETS_OWNER:-{IMAGE_USER}:{IMAGE_USER}}}"


def test_the_image_holds_every_package_and_only_what_is_let_in() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    }

    assert copied == let_in
    assert {"ledger", "persistence", "actors", "gateway", "gift_ledger", "examples"} <= copied


def test_the_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder, dotenv = tmp_path / "secrets", tmp_path / ".env"
    dotenv.write_text("COMPOSE_PROFILES=all\nSECRETS_OWNER=0:0\n")

    made = make(folder, dotenv)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert sorted(made) == sorted(stack()["secrets"])
    assert {(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    Vault.load(folder / "ledger_secrets")
    password = (folder / "redis_password").read_text()
    assert (folder / "redis_url").read_text() == f"redis://gift-ledger:{password}@redis:6379/0"
    lines = dotenv.read_text().splitlines()
    owner = (folder / "redis_url").stat().st_uid
    assert owner != 0
    assert lines == ["COMPOSE_PROFILES=all", f"SECRETS_OWNER={owner}:{(folder / 'redis_url').stat().st_gid}"]

    assert make(folder, dotenv) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert dotenv.read_text().splitlines() == lines


def test_an_address_without_its_user_is_not_taken(tmp_path: Path) -> None:
    folder, dotenv = tmp_path / "secrets", tmp_path / ".env"
    folder.mkdir()
    (folder / "redis_url").write_text("redis://:secret@redis:6379/0")

    with pytest.raises(SystemExit, match="redis_url does not name the user gift-ledger: remove it"):
        make(folder, dotenv)


def test_the_secrets_of_someone_who_is_not_root_are_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 5678)

    make(tmp_path / "secrets", tmp_path / ".env")

    assert (tmp_path / ".env").read_text() == "SECRETS_OWNER=1234:5678\n"


def test_as_a_program_it_says_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_secrets, "FOLDER", tmp_path / "secrets")
    monkeypatch.setattr(make_secrets, "SETTINGS", tmp_path / ".env")

    main()
    assert capsys.readouterr().out.startswith("Made redis_password, redis_url, ")

    main()
    assert capsys.readouterr().out == f"All secrets are in {tmp_path}/secrets already.\n"


def test_every_secret_is_explained_and_none_is_committed() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "deploy/secrets/README.md").read_text(), re.MULTILINE))
    ignored = (ROOT / ".gitignore").read_text().splitlines()

    assert explained == set(stack()["secrets"])
    assert "/deploy/secrets/*" in ignored


@pytest.mark.parametrize("name", [name for name in OURS if name not in {"sms", "operator"}])
def test_an_actor_finds_the_same_secrets_wherever_ray_puts_it(name: str) -> None:
    service = services()[name]

    assert set(service["secrets"]) == set(stack()["secrets"]) - OF_OTHERS
    assert service["environment"] == services()["gateway-1"]["environment"]


def test_the_operator_differs_from_the_service_by_whom_redis_takes_it_for() -> None:
    operator, service = services()["operator"], services()["gateway-1"]
    name, url = "GIFT_LEDGER_REDIS_URL_FILE", "/run/secrets/redis_operator_url"

    assert operator["environment"] == service["environment"] | {name: url}
    assert set(operator["secrets"]) == set(service["secrets"]) - {"redis_url"} | {"redis_operator_url"}
    assert operator["profiles"], "it is no part of what runs"


@pytest.mark.parametrize("name", sorted(services()))
def test_what_runs_can_neither_gain_rights_nor_change_itself(name: str) -> None:
    service = services()[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) is ("kafka" not in service["image"]), "Kafka writes its configuration"
    if name in OURS:
        assert "cap_add" not in service
        assert all({"noexec", "nosuid", "nodev"} <= set(mount.split(",")) for mount in service["tmpfs"])


def test_no_secret_stands_in_the_stack_itself() -> None:
    variables = {SETTINGS[name].variable for name in SETTINGS if SETTINGS[name].secret}

    for service in services().values():
        assert variables & set(service.get("environment", {})) == set()


def test_the_image_runs_each_role_by_the_script_that_it_holds() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    script = ROOT / "deploy/ray-node"

    assert "COPY --chmod=755 deploy/ray-node /usr/local/bin/ray-node" in dockerfile
    assert script.read_text().startswith("#!/bin/sh\n")
    assert script.read_text().rstrip().endswith('exec gift-ledger "$@"')
    assert "/health/live" in dockerfile


@pytest.mark.parametrize("starts_after", [0, 2])
def test_a_node_waits_for_the_cluster_and_then_becomes_its_role(starts_after: int, tmp_path: Path) -> None:
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name, body in (
        ("ray", f'echo "ray $@" >> {tmp_path}/ran; [ "$(wc -l < {tmp_path}/ran)" -gt {starts_after} ]'),
        ("gift-ledger", f'echo "gift-ledger $@" >> {tmp_path}/ran'),
        ("sleep", "exit 0"),
    ):
        (fakes / name).write_text(f"#!/bin/sh\n{body}\n")
        (fakes / name).chmod(0o700)

    environment = {"PATH": f"{fakes}:{os.environ['PATH']}", "GIFT_LEDGER_RAY_ADDRESS": "ray-head:6379"}
    subprocess.run(["sh", ROOT / "deploy/ray-node", "gateway"], env=environment, check=True)  # noqa: S603, S607

    *joined, role = (tmp_path / "ran").read_text().splitlines()
    assert len(joined) == starts_after + 1
    assert all("--address=ray-head:6379 --num-cpus=0" in line for line in joined)
    assert role == "gift-ledger gateway"


def test_a_node_without_a_cluster_gives_up(tmp_path: Path) -> None:
    for name, status in (("ray", 1), ("sleep", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o700)

    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GIFT_LEDGER_RAY_ADDRESS": "ray-head:6379"}
    ran = subprocess.run(  # noqa: S603
        ["sh", ROOT / "deploy/ray-node", "gateway"],  # noqa: S607
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 1
    assert ran.stderr == "No Ray cluster answers at ray-head:6379.\n"
