import asyncio
import json
import re
from typing import Any

import pytest

from gift_ledger.cli import keys as command
from gift_ledger.cli.lifetimes import milliseconds
from ledger.money import DAY_MS, HOUR_MS, SECOND_MS, rfc3339
from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, KeyStore, MemoryKeyStore, hash_key, is_whole
from persistence.settings import StorageSettings
from tests.unit.cli.stage import NOON, World


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "now_ms", lambda: NOON)


def at(monkeypatch: pytest.MonkeyPatch, later: int) -> None:
    monkeypatch.setattr(command, "now_ms", lambda: NOON + later)


def json_of(world: World, *args: str) -> Any:  # noqa: ANN401 - JSON
    ran = world.run("keys", *args, "--json")
    assert ran.exit_code == 0, ran.stderr
    return json.loads(ran.stdout)


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
    assert re.fullmatch(r"glk_[A-Za-z0-9]{49}\n", world.run("keys", "create", "shop", "storefront").stdout)


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
    assert "revoked  20" in table
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


# --- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90 * SECOND_MS), ("30m", HOUR_MS // 2), ("12h", 12 * HOUR_MS), ("7d", 7 * DAY_MS), ("2w", 14 * DAY_MS)],
)
def test_a_lifetime_is_a_number_and_a_unit(text: str, length: int) -> None:
    assert milliseconds(text) == length


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "1.5d", "7 d", "7y", "3661d", "9999999999d"])
def test_a_lifetime_that_is_none_is_refused_and_nothing_is_made(world: World, text: str) -> None:
    ran = world.run("keys", "create", "till", "pos", f"--expires={text}")

    assert ran.exit_code == 2
    assert "write a whole number and s, m, h, d or w, e.g. 90d" in ran.stderr
    assert stored(world) == []


def test_a_key_may_have_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = world.run("keys", "create", "till", "pos", "--expires", "90d")

    assert f"It works until {rfc3339(NOON + 90 * DAY_MS)}." in ran.stderr
    (key,) = json_of(world, "list")
    assert (key["state"], key["expiresAt"], key["revokedAt"]) == ("ending", rfc3339(NOON + 90 * DAY_MS), None)
    at(monkeypatch, 90 * DAY_MS)
    assert json_of(world, "list")[0]["state"] == "expired"
    assert rfc3339(NOON + 90 * DAY_MS) in world.run("keys", "list").stdout


def test_for_ever_can_be_said(world: World) -> None:
    assert json_of(world, "create", "till", "pos", "--expires", "never")["expiresAt"] is None


# --- rotation --------------------------------------------------------------------------------------------------------


def test_a_key_is_replaced_by_a_second_one_and_gets_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = json_of(world, "create", "till", "pos", "--channel", "Kiosk")
    at(monkeypatch, 1)

    ran = world.run("keys", "rotate", "till", "--overlap", "2d")

    first, second = stored(world)
    text = ran.stdout.strip()
    assert is_whole(text)
    assert (second.key_hash, second.expires_at) == (hash_key(text), None)
    assert (second.client, second.role, second.channel) == ("till", "pos", "Kiosk")
    assert (first.key_id, first.expires_at) == (old["keyId"], NOON + 1 + 2 * DAY_MS)
    assert f"It replaces {first.key_id}, which works until {rfc3339(NOON + 1 + 2 * DAY_MS)}." in ran.stderr
    assert text not in ran.stderr


def test_a_week_is_what_an_old_key_has_if_nothing_is_said(world: World) -> None:
    old = json_of(world, "create", "till", "pos")

    made = json_of(world, "rotate", old["keyId"])

    assert (made["replaces"], made["replacedExpiresAt"]) == (old["keyId"], rfc3339(NOON + 7 * DAY_MS))
    assert [key["state"] for key in json_of(world, "list")] in (["ending", "live"], ["live", "ending"])


@pytest.mark.parametrize("name", ["till", "KEY"])
def test_a_third_live_key_is_refused_with_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    old = json_of(world, "create", "till", "pos")["keyId"]
    new = json_of(world, "rotate", "till")["keyId"]
    before = stored(world)

    for arguments in (["rotate", name.replace("KEY", new)], ["create", "till", "pos"]):
        ran = world.run("keys", *arguments)

        assert ran.exit_code == 2
        assert "till has 2 live keys as pos" in ran.stderr
        assert f"{old} (until {rfc3339(NOON + 7 * DAY_MS)})" in ran.stderr
        assert "revoke the one that is used no more with `gift-ledger keys revoke`" in ran.stderr
    assert stored(world) == before

    at(monkeypatch, 7 * DAY_MS)
    assert json_of(world, "rotate", "till")["replaces"] == new, "the old one has ended by itself"


def test_after_a_revocation_there_is_room(world: World) -> None:
    old = json_of(world, "create", "till", "pos")["keyId"]
    new = json_of(world, "rotate", "till")["keyId"]
    world.run("keys", "revoke", new)

    made = json_of(world, "rotate", "till", "--expires", "never")

    assert made["replaces"] == old
    assert made["replacedExpiresAt"] == rfc3339(NOON + 7 * DAY_MS), "an end is not put off"


def test_a_key_with_an_end_is_not_replaced_by_one_without_unawares(world: World) -> None:
    json_of(world, "create", "till", "pos", "--expires", "3d")

    ran = world.run("keys", "rotate", "till")

    assert ran.exit_code == 2
    assert "say how long the new one is to work with --expires" in ran.stderr
    made = json_of(world, "rotate", "till", "--expires", "90d")
    assert made["expiresAt"] == rfc3339(NOON + 90 * DAY_MS)
    assert made["replacedExpiresAt"] == rfc3339(NOON + 3 * DAY_MS), "the sooner end counts"


def test_whose_key_it_is_has_to_be_clear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    site, books = (json_of(world, "create", "shop", role)["keyId"] for role in ("storefront", "payments"))

    ran = world.run("keys", "rotate", "shop")

    assert ran.exit_code == 2
    assert f"{site} (storefront)" in ran.stderr
    assert f"{books} (payments)" in ran.stderr
    assert json_of(world, "rotate", books)["role"] == "payments"
    for name, found in (("nobody", "none of a client nobody"), ("k_none", "There is no live key k_none")):
        ran = world.run("keys", "rotate", name)
        assert ran.exit_code == 1
        assert found in ran.stderr
    world.run("keys", "revoke", site)
    ran = world.run("keys", "rotate", site)
    assert (ran.exit_code, "works no more" in ran.stderr) == (1, True)


class Contended(MemoryKeyStore):
    """A store that others change at the same moment, some times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def all(self) -> list[ClientKey]:
        keys = await super().all()
        if self.times:
            self.times -= 1
            await super().add(ClientKey(key_id=f"k_{self.times}", key_hash="00", client="other", role="ops",
                                        channel=None, created_at=0))  # fmt: skip
        return keys


@pytest.mark.parametrize(("times", "code"), [(0, 0), (4, 0), (99, 2)])
def test_what_others_do_at_the_same_moment_is_looked_at_again(world: World, times: int, code: int) -> None:
    world.keys = Contended(0)
    json_of(world, "create", "till", "pos")
    world.keys.times = times

    for arguments in (["create", "till-2", "pos"], ["rotate", "till"]):
        ran = world.run("keys", *arguments)

        assert ran.exit_code == code
        assert ("nothing was done" in ran.stderr) == (code == 2)


def test_a_lost_answer_says_what_may_be_left(world: World) -> None:
    class Lost(MemoryKeyStore):
        async def add(self, *_: object, **__: object) -> bool:
            raise StorageUnavailableError("the log's server: away")

    world.keys = Lost()

    ran = world.run("keys", "create", "till", "pos")

    assert ran.exit_code == 2
    assert re.search(r"away\. Whether key k_[0-9a-f]{8} was made is unknown", ran.stderr)
    assert ran.stdout == ""


def test_the_last_use_is_shown(world: World) -> None:
    key_id = json_of(world, "create", "till", "pos")["keyId"]
    assert json_of(world, "list")[0]["lastUsedAt"] is None

    asyncio.run(world.keys.note_used({key_id: NOON + 1}))

    assert json_of(world, "list")[0]["lastUsedAt"] == rfc3339(NOON + 1)
    assert rfc3339(NOON + 1) in world.run("keys", "list").stdout
