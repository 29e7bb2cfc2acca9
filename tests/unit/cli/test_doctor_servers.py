import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.readiness import Readiness
from gateway.services import Component, Condition
from gift_ledger.cli import doctor
from gift_ledger.cli.probes import FoundLedger, NoGatewayError
from persistence import envelope, rotation, secrets_file
from persistence.errors import StorageRefusedError, StorageUnavailableError, StorageUnsafeError
from persistence.log import Batch, DataKey
from persistence.vault import RECIPIENT, Vault
from tests.real.certificates import Pair, self_signed
from tests.unit.cli.doctor_stage import TOPICS, WELL, Servers, examine
from tests.unit.cli.stage import ENDPOINTS, NOON, World


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


def test_peppers_of_this_ledger_that_the_file_lacks_are_a_failure(world: World, servers: Servers) -> None:
    servers.ledger = FoundLedger(vault=Vault.load(world.folder / "data/secrets.json").fingerprint, peppers={2: "print"})

    found = examine(world, 1)

    assert found["secrets"]["seen"] == "CVCs are kept with peppers that the file lacks: 2"


def test_a_file_that_others_have_gone_on_from_is_a_warning(world: World, servers: Servers) -> None:
    path = world.folder / "data/secrets.json"
    prepared = secrets_file.change(path, secrets_file.Secrets.pepper_prepared)
    servers.ledger = FoundLedger(vault=Vault.load(path).fingerprint, peppers=prepared.pepper_prints())

    found = examine(world, 0)
    secrets_file.change(path, lambda held: held.pepper_switched(1))
    later = examine(world, 0)

    assert found["secrets"]["level"] == "warn"
    assert "new CVCs are kept with the pepper 1 here, and elsewhere with 2" in found["secrets"]["seen"]
    assert later["secrets"]["level"] == "ok"


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
    monkeypatch.setattr(doctor, "CHECK_SECONDS_MAX", 0.5)

    async def hang(_bootstrap: str) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    world.use(topics=hang)

    found = examine(world, 1)

    assert found["kafka"]["seen"] == "no answer in 0.5 s"
    assert found["redis"]["level"] == "ok"
    assert Path(world.environ["GIFT_LEDGER_DATA_DIR"]).exists()


def with_certificate(world: World, pair: Pair) -> None:
    world.environ |= {"GIFT_LEDGER_HTTP_TLS_CERT": str(pair.certificate), "GIFT_LEDGER_HTTP_TLS_KEY": str(pair.key)}


def test_a_gateway_with_a_certificate_is_asked_over_https_and_known_by_it(
    world: World, servers: Servers, tmp_path: Path
) -> None:
    pair = self_signed(tmp_path / "tls", days=90)
    with_certificate(world, pair)

    found = examine(world, 0)

    assert (servers.asked, servers.certificates) == (["https://127.0.0.1:8080"], [str(pair.certificate)])
    assert (found["certificate"]["level"], "valid until" in found["certificate"]["seen"]) == ("ok", True)


@pytest.mark.parametrize(("days", "level", "code"), [(13, "warn", 0), (-1, "fail", 1)])
def test_a_certificate_that_ends_soon_is_told(
    world: World, servers: Servers, tmp_path: Path, days: int, level: str, code: int
) -> None:
    with_certificate(world, self_signed(tmp_path / "tls", days=days))

    found = examine(world, code)["certificate"]

    assert (found["level"], "restart the gateways" in found["advice"]) == (level, True)


def test_a_certificate_that_cannot_be_used_and_a_key_that_others_read_are_told(
    world: World, servers: Servers, tmp_path: Path
) -> None:
    pair = self_signed(tmp_path / "tls")
    pair.certificate.write_text("no PEM")
    pair.key.chmod(0o644)
    with_certificate(world, pair)

    found = examine(world, 1)

    assert "holds no certificate in PEM" in found["certificate"]["seen"]
    assert found["files"]["seen"] == f"others can read {pair.key}"


# --- data keys --------------------------------------------------------------------------------------------------------


def seal(world: World, vault: Vault) -> None:
    """A data key of an order."""
    name = envelope.key_name("SO-1", 1, "1")
    _, kept = envelope.seal_new(vault, b"+79990000001", RECIPIENT, name)
    assert asyncio.run(world.log.append(Batch(data_keys=(DataKey(*name, kept),)))) is None


@pytest.mark.usefixtures("servers")
def test_data_keys_that_open_are_in_order(world: World) -> None:
    seal(world, Vault.load(world.folder / "data/secrets.json"))

    assert examine(world, 0)["data keys"]["seen"] == "1 were tried, and open"


@pytest.mark.usefixtures("servers")
def test_data_keys_that_do_not_open_are_a_failure(world: World) -> None:
    seal(world, Vault.generate())

    found = examine(world, 1)["data keys"]

    assert found["seen"] == "data keys that cannot be opened: 1 of 1, sealed with 1, as o:SO-1 1/1"
    assert "Put the secrets file back" in found["advice"]


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("error", "seen"),
    [(TimeoutError(), "not tried in 10 s"), (StorageRefusedError("NOPERM scan"), "not tried: NOPERM scan")],
)
def test_data_keys_that_cannot_be_looked_at_are_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, seen: str
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(rotation, "tried", fail)

    found = examine(world, 0)["data keys"]

    assert (found["level"], found["seen"]) == ("warn", seen)


def test_data_keys_are_not_tried_with_the_secrets_of_another_ledger(world: World, servers: Servers) -> None:
    servers.ledger = FoundLedger(vault="0123456789abcdef")

    assert "data keys" not in examine(world, 1)
