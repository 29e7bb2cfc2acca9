"""Peppers in the secrets file and in a vault: they come one after the other, and none that was used ever goes."""

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ledger import peppers
from persistence import secrets_file, vault
from persistence.pepper_prints import PepperPrints
from persistence.secrets_file import KEY_IDS_MAX, Secrets, SecretsError
from persistence.vault import Vault

NOW = 1_795_500_000_000
CODE = "GC-7K2M-9QXA"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "secrets.json"
    secrets_file.create(target)
    return target


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vaults look at their files each time."""
    monkeypatch.setattr(vault, "LOOK_SECONDS", 0.0)


def rotated(path: Path) -> Secrets:
    return secrets_file.change(path, lambda before: before.pepper_prepared().pepper_switched(NOW))


def digest(pepper: bytes, cvc: str) -> bytes:
    """As it is defined: HMAC-SHA256."""
    return hmac.digest(pepper, f"cvc\0{CODE}\0{cvc}".encode(), "sha256")


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_pepper_is_prepared_first_and_used_later(path: Path) -> None:
    first = secrets_file.read(path)

    prepared = secrets_file.change(path, Secrets.pepper_prepared)
    used = secrets_file.change(path, lambda before: before.pepper_switched(NOW))

    assert (first.current_pepper, first.last_pepper, first.next_pepper) == (1, 1, None)
    assert (prepared.current_pepper, prepared.last_pepper, prepared.next_pepper) == (1, 2, 2)
    assert prepared.pepper_prepared() == prepared
    assert (used.current_pepper, used.last_pepper, used.next_pepper, used.pepper_since) == (2, 2, None, NOW)
    assert used.pepper_switched(NOW + 1) == used
    assert used.peppers == {1: first.pepper, 2: prepared.later_peppers[2]}
    assert secrets_file.read(path) == used
    assert set(used.pepper_prepared().peppers) == {1, 2, 3}


def test_one_that_is_not_used_can_be_taken_back_and_no_other(path: Path) -> None:
    prepared = secrets_file.change(path, Secrets.pepper_prepared)

    made = prepared.later_peppers[2]
    assert prepared.pepper_unprepared(3, made) == prepared.pepper_unprepared(2, bytes(32)) == prepared
    assert prepared.pepper_unprepared(2, made) == replace(prepared, later_peppers={})
    used = prepared.pepper_switched(NOW)
    assert used.pepper_unprepared(2, made) == used


def test_a_file_without_later_peppers_is_written_as_it_always_was(path: Path) -> None:
    stored: dict[str, Any] = msgspec.json.decode(path.read_bytes())

    assert set(stored) == {"pepper", "keys", "sealingKey"}


def test_there_are_as_many_peppers_as_a_byte_can_name(path: Path) -> None:
    held = secrets_file.read(path)
    numbers = range(2, KEY_IDS_MAX + 1)
    full = replace(held, later_peppers=dict.fromkeys(numbers, held.pepper), current_pepper=KEY_IDS_MAX)

    with pytest.raises(SecretsError, match="holds 255 peppers"):
        full.pepper_prepared()


@pytest.mark.parametrize(
    ("later", "current"),
    [({3: 32}, 1), ({1: 32}, 1), ({2: 31}, 2), ({2: 32, 3: 32}, 1), ({}, 2), ({2: 32}, 0), ({2: 32}, 3)],
)
def test_what_does_not_fit_is_no_secrets_file(path: Path, later: dict[int, int], current: int) -> None:
    held = secrets_file.read(path)
    stored = msgspec.to_builtins(held, str_keys=True)
    text = stored | {"laterPeppers": {str(number): bytes(size) for number, size in later.items()}}
    path.write_bytes(msgspec.json.encode(text | {"currentPepper": current}))

    with pytest.raises(SecretsError, match="is not a secrets file"):
        Vault.load(path)


CHANGES: list[Callable[[Secrets], Secrets]] = [
    lambda held: replace(held, pepper=bytes(32)),
    lambda held: replace(held, later_peppers={2: bytes(32)}),
    lambda held: replace(held, later_peppers={}, current_pepper=1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_pepper_that_was_used_never_goes(path: Path, change: Callable[[Secrets], Secrets]) -> None:
    used = rotated(path)

    with pytest.raises(SecretsError, match="a pepper stays for life"):
        secrets_file.change(path, change)

    assert secrets_file.read(path) == used


def test_a_print_tells_peppers_apart_and_nothing_of_them(path: Path) -> None:
    used = rotated(path)

    (shown,) = used.pepper_prints().values()

    assert shown == secrets_file.pepper_print(used.later_peppers[2]) != secrets_file.pepper_print(used.pepper)
    assert len(shown) == 16
    assert Vault.load(path).pepper_prints == {2: shown}
    assert Vault.load(path).fingerprint == secrets_file.pepper_print(used.pepper)


# --- a vault ----------------------------------------------------------------------------------------------------------


def test_a_vault_with_one_pepper_works_as_it_always_did(path: Path) -> None:
    held, keeper = secrets_file.read(path), Vault.load(path)

    assert keeper.cvc_digest(CODE, "4821") == keeper.cvc_digests(CODE, "4821") == digest(held.pepper, "4821")


@pytest.mark.usefixtures("at_once")
def test_a_running_vault_carries_a_new_pepper_first_and_keeps_cvcs_with_it_later(path: Path) -> None:
    running = Vault.load(path)
    old = running.cvc_digest(CODE, "4821")

    secrets_file.change(path, Secrets.pepper_prepared)
    prepared = running.pepper, running.cvc_digest(CODE, "4821"), running.cvc_digests(CODE, "4821")
    used = rotated(path)

    new = b"\x02" + digest(used.later_peppers[2], "4821")
    assert prepared == (1, old, b"\x01" + old + new)
    assert (running.pepper, running.cvc_digest(CODE, "4821")) == (2, new)
    assert running.cvc_digests(CODE, "4821") == new + b"\x01" + old
    assert all(peppers.fits(running.cvc_digests(CODE, "4821"), kept) for kept in (old, new))
    assert not any(peppers.fits(running.cvc_digests(CODE, "4822"), kept) for kept in (old, new))


@pytest.mark.usefixtures("at_once")
def test_a_pepper_that_was_prepared_may_go_again_and_a_used_one_may_not(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = Vault.load(path)
    before = path.read_bytes()
    secrets_file.change(path, Secrets.pepper_prepared)
    assert (running.pepper, set(running.pepper_prints)) == (1, {2})
    secrets_file.change(path, lambda held: held.pepper_unprepared(2, held.later_peppers[2]))
    assert (running.pepper, running.pepper_prints, caplog.messages) == (1, {}, [])

    rotated(path)
    assert running.pepper == 2
    path.write_bytes(before)

    assert (running.pepper, set(running.pepper_prints)) == (2, {2})
    assert "another pepper now, or lacks one" in caplog.text


def test_peppers_that_do_not_fit_make_no_vault() -> None:
    with pytest.raises(SecretsError, match="laterPeppers"):
        Vault(bytes(32), {1: bytes(32)}, 1, later_peppers={3: bytes(32)})


def test_what_else_is_in_the_meta_hash_is_no_pepper() -> None:
    meta = {b"vault": b"x", b"sealing_key:1": b"y", b"pepper:2": b"a", b"pepper:3": b"b", b"pepper_used:2": b"a"}

    assert PepperPrints.of(meta) == PepperPrints(known={2: "a", 3: "b"}, used={2: "a"})
