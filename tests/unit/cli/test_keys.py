import asyncio
import json
import re

import pytest

from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, KeyStore, MemoryKeyStore, hash_key
from persistence.settings import StorageSettings
from tests.unit.cli.stage import World


def stored(world: World) -> list[ClientKey]:
    return asyncio.run(world.keys.all())


def test_a_key_is_made_shown_once_and_kept_as_a_hash(world: World) -> None:
    ran = world.run("keys", "create", "till-991", "pos")

    assert ran.exit_code == 0
    text = ran.stdout.strip()
    (key,) = stored(world)
    assert key.key_hash == hash_key(text)
    assert (key.client, key.role, key.channel) == ("till-991", "pos", "POS")
    assert f"Key {key.key_id} for till-991 as pos" in ran.stderr
    assert text not in ran.stderr
    assert text not in world.run("keys", "list").stdout
    assert key.key_hash not in world.run("keys", "list", "--json").stdout


def test_standard_output_is_the_key_alone(world: World) -> None:
    assert re.fullmatch(r"glk_[A-Za-z0-9_-]{43}\n", world.run("keys", "create", "shop", "storefront").stdout)


@pytest.mark.parametrize(
    ("role", "channel"), [("storefront", "OnlineStore"), ("pos", "POS"), ("payments", None), ("ops", None)]
)
def test_a_role_that_sells_has_a_channel(world: World, role: str, channel: str | None) -> None:
    assert json.loads(world.run("keys", "create", "one", role, "--json").stdout)["channel"] == channel


def test_a_channel_can_be_named(world: World) -> None:
    made = json.loads(world.run("keys", "create", "app", "storefront", "--channel", "MobileApp", "--json").stdout)

    assert made["channel"] == "MobileApp"
    assert made["key"].startswith("glk_")
    assert made["createdAt"].endswith("Z")


def test_a_name_that_is_none_is_refused(world: World) -> None:
    for arguments in (["a b", "pos"], ["till", "pos", "--channel", "a/b"]):
        ran = world.run("keys", "create", *arguments)

        assert ran.exit_code == 2
        assert "use 1 to 64 characters of A-Z a-z 0-9 . _ -" in ran.stderr
    assert stored(world) == []


def test_a_role_that_there_is_not_is_told_with_those_that_there_are(world: World) -> None:
    ran = world.run("keys", "create", "till", "cashier")

    assert ran.exit_code == 2
    assert "'storefront'" in ran.stderr


def test_the_list_has_revoked_keys_too(world: World) -> None:
    made = [json.loads(world.run("keys", "create", name, "pos", "--json").stdout) for name in ("till-1", "till-2")]

    assert world.run("keys", "revoke", made[0]["keyId"]).stdout == f"Key {made[0]['keyId']} is revoked.\n"

    listed = json.loads(world.run("keys", "list", "--json").stdout)
    assert {one["client"]: one["revokedAt"] is not None for one in listed} == {"till-1": True, "till-2": False}
    assert all("key" not in one for one in listed)
    table = world.run("keys", "list").stdout
    assert "REVOKED" in table
    assert table.count("till-") == 2


def test_without_keys_it_says_how_to_make_one(world: World) -> None:
    ran = world.run("keys", "list")

    assert ran.exit_code == 0
    assert "gift-ledger keys create CLIENT ROLE" in ran.stdout
    assert json.loads(world.run("keys", "list", "--json").stdout) == []


def test_revoking_twice_is_the_same_as_once(world: World) -> None:
    key_id = json.loads(world.run("keys", "create", "till", "pos", "--json").stdout)["keyId"]
    first = world.run("keys", "revoke", key_id, "--json")
    revoked_at = json.loads(world.run("keys", "list", "--json").stdout)[0]["revokedAt"]

    second = world.run("keys", "revoke", key_id, "--json")

    assert json.loads(first.stdout) == json.loads(second.stdout) == {"keyId": key_id, "revoked": True}
    assert json.loads(world.run("keys", "list", "--json").stdout)[0]["revokedAt"] == revoked_at


def test_a_key_that_there_is_not_is_a_finding(world: World) -> None:
    ran = world.run("keys", "revoke", "k_none")

    assert ran.exit_code == 1
    assert ran.stderr == "gift-ledger: There is no key k_none: `gift-ledger keys list` shows them all.\n"


def test_the_store_is_closed_whatever_happens(world: World) -> None:
    closed = []

    class Broken(MemoryKeyStore):
        async def all(self) -> list[ClientKey]:
            raise StorageUnavailableError("the log's server: away")

        async def close(self) -> None:
            closed.append(True)

    async def open_broken(_settings: StorageSettings) -> KeyStore:
        return Broken()

    world.use(keys=open_broken)

    ran = world.run("keys", "list")

    assert ran.exit_code == 2
    assert ran.stderr == "gift-ledger: the log's server: away. `gift-ledger doctor` tells what is wrong.\n"
    assert closed == [True]
