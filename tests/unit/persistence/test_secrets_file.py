"""The secrets file: replaced whole, read by its owner alone, with keys that come and go and a pepper that stays."""

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from persistence import secrets_file, vault
from persistence.secrets_file import KEY_IDS_MAX, Secrets, SecretsError
from persistence.vault import SMS, SealBrokenError, Vault

NOW = 1_795_500_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "secrets.json"
    secrets_file.create(target)
    return target


def rotated(path: Path) -> Secrets:
    return secrets_file.change(path, lambda before: before.prepared().switched(NOW))


def test_a_change_puts_another_file_in_place_for_the_owner_alone(path: Path) -> None:
    before = secrets_file.read(path)

    after = rotated(path)

    assert secrets_file.read(path) == after
    assert after.pepper == before.pepper
    assert after.keys.items() > before.keys.items()
    assert (after.sealing_key, after.next_key, after.sealing_since) == (2, None, NOW)
    assert after.old_keys == {1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secrets.json"]


def test_a_file_of_the_first_version_is_read(path: Path) -> None:
    held = secrets_file.read(path)
    old: dict[str, Any] = {"pepper": held.pepper, "keys": held.keys, "sealingKey": 1}

    path.write_bytes(msgspec.json.encode(old))

    assert secrets_file.read(path) == held


def test_a_key_that_was_prepared_seals_only_once_it_is_switched_to(path: Path) -> None:
    prepared = secrets_file.change(path, Secrets.prepared)

    assert (prepared.sealing_key, prepared.next_key, prepared.old_keys) == (1, 2, frozenset())
    assert prepared.prepared() == prepared
    assert prepared.without([1, 2]) == prepared
    switched = prepared.switched(NOW)
    assert (switched.sealing_key, switched.next_key, set(switched.keys)) == (2, None, {1, 2})
    assert switched.switched(NOW + 1) == switched
    assert switched.without([1, 2]).keys == {2: prepared.keys[2]}


def test_numbers_go_on_and_begin_again_where_they_end(path: Path) -> None:
    held = secrets_file.read(path)
    last = replace(held, keys={KEY_IDS_MAX: held.keys[1]}, sealing_key=KEY_IDS_MAX)

    assert last.prepared().next_key == 1
    full = replace(held, keys=dict.fromkeys(range(1, KEY_IDS_MAX + 1), held.keys[1]))
    with pytest.raises(SecretsError, match="drop the old ones"):
        full.prepared()


def test_a_full_file_is_still_read(path: Path) -> None:
    held = secrets_file.read(path)
    keys = dict.fromkeys(range(1, KEY_IDS_MAX + 1), held.keys[1])

    full = secrets_file.change(path, lambda before: replace(before, keys=keys, next_key=2, sealing_since=NOW))

    assert secrets_file.read(path) == full


def test_a_pepper_is_never_changed(path: Path) -> None:
    before = path.read_bytes()

    with pytest.raises(SecretsError, match="stays for life"):
        secrets_file.change(path, lambda held: replace(held, pepper=bytes(32)))

    assert path.read_bytes() == before


def test_a_change_that_fails_leaves_the_file_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()

    def fail(_: Secrets) -> Secrets:
        raise SecretsError("no")

    with pytest.raises(SecretsError, match="no"):
        secrets_file.change(path, fail)

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("wrong", [{"nextKey": 1}, {"nextKey": 3}, {"sealingKey": 3}, {"keys": {"0": ""}}])
def test_a_file_that_contradicts_itself_is_told_without_what_is_in_it(path: Path, wrong: dict[str, object]) -> None:
    held = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(held | wrong))

    with pytest.raises(SecretsError, match="is not a secrets file") as told:
        secrets_file.read(path)

    assert held["pepper"] not in str(told.value)


def test_a_fingerprint_tells_keys_apart_and_is_the_same_for_life(path: Path) -> None:
    held = rotated(path)

    prints = held.fingerprints()

    assert Secrets(pepper=bytes(32), keys={7: bytes(32)}, sealing_key=7).fingerprints() == {7: "6ac7470b155685e0"}
    assert len(set(prints.values())) == len(held.keys) == 2
    assert secrets_file.read(path).fingerprints() == prints


def test_a_next_key_that_is_refused_is_taken_out_again(path: Path) -> None:
    held = secrets_file.read(path)
    prepared = held.prepared()

    key = prepared.keys[2]
    assert prepared.unprepared(2, key) == held
    assert prepared.unprepared(3, key) == prepared
    assert prepared.unprepared(2, b"another") == prepared
    assert prepared.switched(NOW).unprepared(2, key) == prepared.switched(NOW)
    assert held.unprepared(2, key) == held


def test_a_change_leaves_the_file_to_its_owner(path: Path) -> None:
    owner = 12_345 if os.geteuid() == 0 else os.geteuid()
    group = 23_456 if os.geteuid() == 0 else path.stat().st_gid
    os.chown(path, owner, group)

    rotated(path)

    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (owner, group, 0o600)


def test_a_file_that_its_owner_cannot_be_given_is_not_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _owner: int, _group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    before, found = path.read_bytes(), os.stat_result((0o100600, 1, 1, 1, 54_321, 54_321, 1, 1, 1, 1))
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(Path, "stat", lambda *_args, **_options: found)

    with pytest.raises(SecretsError, match="belongs to user 54321, and a new file cannot be given to him"):
        rotated(path)

    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["secrets.json"]


def test_an_owner_who_may_not_give_files_to_its_group_changes_it_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _owner: int, _group: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    found = os.stat_result((0o100600, 1, 1, 1, os.geteuid(), 54_321, 1, 1, 1, 1))
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(Path, "stat", lambda *_args, **_options: found)

    changed = rotated(path)

    monkeypatch.undo()
    assert changed.sealing_key == 2
    assert secrets_file.read(path) == changed


# --- a vault that works while its file changes ------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vaults look at their files each time."""
    monkeypatch.setattr(vault, "LOOK_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_running_vault_seals_with_the_key_that_was_switched_to(path: Path) -> None:
    running = Vault.load(path)
    before = running.seal(b"x", SMS)

    secrets_file.change(path, Secrets.prepared)
    prepared = running.sealing_key
    rotated(path)

    assert (before[0], prepared, running.seal(b"x", SMS)[0]) == (1, 1, 2)
    assert running.unseal(before, SMS) == b"x"


def test_a_running_vault_opens_at_once_what_another_has_sealed_with_a_new_key(path: Path) -> None:
    running = Vault.load(path)
    rotated(path)
    sealed = Vault.load(path).seal(b"x", SMS)

    assert running.unseal(sealed, SMS) == b"x"
    assert running.seal(b"y", SMS)[0] == 2


def test_a_running_vault_looks_at_its_file_only_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "LOOK_SECONDS", 3_600.0)
    running = Vault.load(path)

    rotated(path)

    assert running.seal(b"x", SMS)[0] == 1


@pytest.mark.usefixtures("at_once")
def test_a_key_that_was_dropped_opens_nothing_in_a_running_vault(path: Path) -> None:
    running = Vault.load(path)
    sealed = running.seal(b"x", SMS)

    rotated(path)
    secrets_file.change(path, lambda held: held.without(held.old_keys))

    assert running.sealing_key == 2
    with pytest.raises(SealBrokenError, match="does not have"):
        running.unseal(sealed, SMS)


@pytest.mark.usefixtures("at_once")
def test_a_file_that_others_could_read_is_taken_over_once_they_cannot(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = Vault.load(path)
    rotated(path)
    path.chmod(0o644)

    refused = [running.sealing_key for _ in range(3)]
    path.chmod(0o600)

    assert refused == [1, 1, 1]
    assert running.sealing_key == 2
    assert len(caplog.messages) == 1
    assert "run `chmod 600" in caplog.text


@pytest.mark.usefixtures("at_once")
def test_a_file_that_is_gone_or_another_one_changes_nothing(path: Path, tmp_path: Path) -> None:
    running = Vault.load(path)
    sealed = running.seal(b"x", SMS)

    path.unlink()
    without = running.unseal(sealed, SMS), running.sealing_key
    Vault.create(path)
    rotated(path)

    assert without == (b"x", 1)
    assert (running.unseal(sealed, SMS), running.sealing_key) == (b"x", 1)
    assert tmp_path.exists()
