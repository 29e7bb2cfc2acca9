"""The command line beside a stack that runs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
import redis

from examples.patience import eventually
from tests.real.market import Market, new_code

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.usefixtures("early_hold")]

DENOMINATION = 5_000
REVOKED_SECONDS_MAX = 60.0
TOPIC = "All_SalesOrder"


async def sold(stack: RunningStack) -> tuple[str, str]:
    """A certificate and its order."""
    async with Market(stack) as market:
        (code,) = await market.sell(1, DENOMINATION)
        return code, str((await market.certificate(code))["orderId"])


def test_inspect_shows_every_actor(shared_stack: RunningStack) -> None:
    told = json.loads(shared_stack.run("inspect", "--json").stdout)
    shown = shared_stack.run("inspect")

    assert [(actor["name"], actor["kind"], actor["state"]) for actor in told] == [
        ("bridge:inbox", "inbox", "ALIVE"),
        ("bridge:relay", "relay", "ALIVE"),
        ("bridge:sms", "sms", "ALIVE"),
        ("certificates:00", "shard", "ALIVE"),
        ("certificates:01", "shard", "ALIVE"),
    ]
    assert {actor["pid"] for actor in told} <= set(shared_stack.processes("ray::"))
    assert (shown.returncode, "certificates:01" in shown.stdout) == (0, True)


async def test_inspect_shows_certificates_and_orders(shared_stack: RunningStack) -> None:
    code, order_id = await sold(shared_stack)

    certificate, order = shared_stack.run("inspect", code), shared_stack.run("inspect", order_id)
    unknown = shared_stack.run("inspect", new_code())

    assert certificate.returncode == order.returncode == 0
    for text in (code, "Active", "5 000 RUB", "Activate", order_id):
        assert text in certificate.stdout
    assert code in order.stdout
    assert unknown.returncode == 1


async def test_the_doctor_finds_everything_well(shared_stack: RunningStack) -> None:
    async with shared_stack.client() as anybody:
        await eventually(lambda: anybody.get("/health/ready"), lambda seen: seen.json()["status"] == "ok")

    ran = await asyncio.to_thread(shared_stack.run, "doctor", "--json")

    levels = {check["name"]: check["level"] for check in json.loads(ran.stdout)}
    assert ran.returncode == 0
    assert set(levels.values()) == {"ok"}, ran.stdout
    assert {"redis", "kafka", "sms", "ray", "gateway", "secrets"} <= levels.keys()


async def test_a_revoked_key_is_refused_within_seconds(shared_stack: RunningStack) -> None:
    made = json.loads(shared_stack.run("keys", "create", "till-991", "pos", "--json").stdout)
    listed = json.loads(shared_stack.run("keys", "list", "--json").stdout)
    body = {"purpose": "Redemption", "amount": 1, "currency": "RUB"}
    async with shared_stack.client() as till:
        till.headers["Authorization"] = f"Bearer {made['key']}"
        before = await till.post(f"/certificates/{new_code()}/authorize", json=body)

        revoked = shared_stack.run("keys", "revoke", made["keyId"])

        async with asyncio.timeout(REVOKED_SECONDS_MAX):
            after = before
            while after.status_code != 401:
                after = await till.post(f"/certificates/{new_code()}/authorize", json=body)
    assert before.status_code == 404  # the code, not the key
    assert made["keyId"] in {key["keyId"] for key in listed}
    assert revoked.returncode == 0
    assert after.json()["code"] == "Unauthenticated"


async def test_a_dead_letter_is_listed_and_replayed(shared_stack: RunningStack) -> None:
    key = f"SO-{new_code()}"
    async with Market(shared_stack) as market:
        await market._publisher.publish(TOPIC, key, b"{ no JSON")
        listed: list[dict[str, object]] = []
        async with asyncio.timeout(60):
            while key not in {letter["key"] for letter in listed}:
                listed = json.loads((await asyncio.to_thread(shared_stack.run, "dlq", "list", "--json")).stdout)

    replayed = await asyncio.to_thread(shared_stack.run, "dlq", "replay", "--all")

    (letter,) = [letter for letter in listed if letter["key"] == key]
    assert letter["topic"] == TOPIC
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_the_settings_are_shown_with_their_origin_and_without_secrets(shared_stack: RunningStack) -> None:
    ran = shared_stack.run("settings")

    assert ran.returncode == 0
    assert "GIFT_LEDGER_DATA_DIR" in ran.stdout
    assert str(shared_stack.data_dir) in ran.stdout.replace("\n", "")


async def test_verify_finds_a_byte_that_was_changed_by_hand(shared_stack: RunningStack) -> None:
    code, _ = await sold(shared_stack)
    before = shared_stack.run("verify")
    with redis.Redis.from_url(shared_stack.endpoints.redis) as client:
        (log,) = client.scan_iter(f"gl:*:w:c:{code}")
        record = client.lindex(log, 1)
        client.lset(log, 1, record[:-1] + bytes([record[-1] ^ 1]))
        try:
            changed = shared_stack.run("verify", code)
            told = json.loads(shared_stack.run("verify", "--json").stdout)
        finally:
            client.lset(log, 1, record)
    after = shared_stack.run("verify")

    assert (before.returncode, changed.returncode, after.returncode) == (0, 1, 0)
    assert code in changed.stdout
    assert {(finding["entity"], finding["version"]) for finding in told["findings"]} >= {(f"c:{code}", 2)}


async def test_a_backup_is_proved_and_the_topics_of_the_embedded_broker_are_compared(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    code, _ = await sold(shared_stack)
    file = str(tmp_path / "monday.backup")

    made = shared_stack.run("backup", file)
    proved = shared_stack.run("verify", "--backup", file, code)
    compared = json.loads(shared_stack.run("reconcile", "--json").stdout)
    refused = shared_stack.run("restore", file)

    assert (made.returncode, proved.returncode) == (0, 0), made.stderr + proved.stdout
    assert "All is proved." in proved.stdout
    assert [one for one in compared["differences"] if one["code"] == code] == []
    assert compared["events"] > 0
    assert compared["lost"] == []
    assert refused.returncode == 2
    assert "another stack runs on" in refused.stderr


async def test_the_gateway_says_which_version_answers(shared_stack: RunningStack) -> None:
    version = shared_stack.run("--version")

    assert (version.returncode, version.stdout.split()[0]) == (0, "gift-ledger")
