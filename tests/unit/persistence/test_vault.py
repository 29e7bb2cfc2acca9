"""Secrets at rest: what is sealed opens only where it belongs, and the file is for its owner alone."""

import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from persistence.secrets_file import Secrets, SecretsError
from persistence.vault import RECIPIENT, SMS, Recipient, SealBrokenError, Sms, Vault, new_cvc

PEPPER = bytes(range(32))
OLD, NEW = b"\x01" * 32, b"\x02" * 32


def test_what_was_sealed_opens_in_its_context() -> None:
    keeper = Vault.generate()

    sealed = keeper.seal(b"+79990000001", RECIPIENT)

    assert b"+79990000001" not in sealed
    assert keeper.unseal(sealed, RECIPIENT) == b"+79990000001"
    assert keeper.unseal(keeper.seal(b"", SMS), SMS) == b""


def test_nothing_is_sealed_the_same_way_twice() -> None:
    keeper = Vault.generate()

    assert keeper.seal(b"same", SMS) != keeper.seal(b"same", SMS)


def test_another_context_does_not_open() -> None:
    keeper = Vault.generate()

    with pytest.raises(SealBrokenError, match="sms"):
        keeper.unseal(keeper.seal(b"x", RECIPIENT), SMS)


def test_any_changed_byte_breaks_the_seal() -> None:
    keeper = Vault.generate()
    sealed = keeper.seal(b"plain", SMS)

    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SealBrokenError):
            keeper.unseal(bytes(changed), SMS)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01short", b"\x09" + bytes(40)])
def test_what_was_never_sealed_is_told(sealed: bytes) -> None:
    with pytest.raises(SealBrokenError):
        Vault(PEPPER, {1: OLD}, 1).unseal(sealed, SMS)


def test_a_key_can_be_replaced_and_the_old_one_still_opens() -> None:
    before, after = Vault(PEPPER, {1: OLD}, 1), Vault(PEPPER, {1: OLD, 2: NEW}, 2)
    sealed = before.seal(b"x", SMS)

    assert after.unseal(sealed, SMS) == b"x"
    with pytest.raises(SealBrokenError, match="does not have"):
        before.unseal(after.seal(b"x", SMS), SMS)


def test_the_digest_of_a_cvc_depends_on_pepper_code_and_digits() -> None:
    keeper = Vault(PEPPER, {1: OLD}, 1)
    digest = keeper.cvc_digest("GC-00000001", "4821")

    assert (
        digest.hex() == "e8be0228fa6778261f659f4fe84d6eeaf2fb5162c6f09c02ff415955a9ca2c41"
    )  # for ever: it cannot be made anew
    assert digest == Vault(PEPPER, {1: NEW}, 1).cvc_digest("GC-00000001", "4821")
    others = (
        keeper.cvc_digest("GC-00000002", "4821"),
        keeper.cvc_digest("GC-00000001", "4822"),
        Vault(NEW, {1: OLD}, 1).cvc_digest("GC-00000001", "4821"),
    )
    assert digest not in others


def test_a_cvc_has_four_digits_and_all_of_them_come_up() -> None:
    drawn = {new_cvc() for _ in range(2_000)}

    assert all(len(cvc) == 4 and cvc.isascii() and cvc.isdigit() for cvc in drawn)
    assert len(drawn) > 1_000
    assert {cvc[0] for cvc in drawn} == set("0123456789")


@pytest.mark.parametrize(
    ("pepper", "keys", "sealing"),
    [
        (b"short", {1: OLD}, 1),
        (PEPPER, {1: b"short"}, 1),
        (PEPPER, {1: OLD}, 2),
        (PEPPER, {}, 1),
        (PEPPER, {0: OLD}, 0),
        (PEPPER, {256: OLD}, 256),
    ],
)
def test_keys_that_are_none_are_refused(pepper: bytes, keys: dict[int, bytes], sealing: int) -> None:
    with pytest.raises(SecretsError):
        Vault(pepper, keys, sealing)


def test_nothing_secret_is_shown() -> None:
    keeper = Vault(PEPPER, {1: OLD}, 1)
    stored = Secrets(pepper=PEPPER, keys={1: OLD}, sealing_key=1)

    shown = "".join(map(repr, (keeper, stored, Recipient(phone="+7999"), Sms(to="+7999", text="4821"))))

    assert keeper.fingerprint in shown
    assert len(keeper.fingerprint) == 16
    assert not any(secret in shown for secret in ("7999", "4821", repr(PEPPER)[2:-1], repr(OLD)[2:-1]))


# --- the file ---------------------------------------------------------------------------------------------------------


def test_secrets_are_made_for_their_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secrets.json"

    made = Vault.create(path)
    read = Vault.load(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read.fingerprint == made.fingerprint
    assert read.unseal(made.seal(b"x", SMS), SMS) == b"x"
    assert [one.name for one in path.parent.iterdir()] == ["secrets.json"]


def test_secrets_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    Vault.create(path)
    before = path.read_bytes()

    with pytest.raises(SecretsError, match="never overwritten"):
        Vault.create(path)

    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.json"]


def test_of_many_that_make_secrets_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made: list[Vault] = []
    refused: list[SecretsError] = []
    together = threading.Barrier(8)

    def make() -> None:
        together.wait()
        try:
            made.append(Vault.create(path))
        except SecretsError as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(made), len(refused)) == (1, 7)
    assert Vault.load(path).fingerprint == made[0].fingerprint


def test_a_draft_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("persistence.vault.os.fsync", full)

    with pytest.raises(OSError, match="No space"):
        Vault.create(tmp_path / "secrets.json")

    assert list(tmp_path.iterdir()) == []


def test_missing_secrets_are_told(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="No such file"):
        Vault.load(tmp_path / "secrets.json")


def test_a_folder_or_a_pipe_is_no_secrets_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(SecretsError, match="not a file"):
            Vault.load(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_secrets_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.json"
    Vault.create(path)
    path.chmod(mode)

    with pytest.raises(SecretsError, match="chmod 600"):
        Vault.load(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"pepper":"c2VjcmV0"}', b'{"pepper":1,"keys":{},"sealingKey":1}'])
def test_what_is_no_secrets_file_is_told_without_its_content(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(text)
    path.chmod(0o600)

    with pytest.raises(SecretsError, match="not a secrets file") as caught:
        Vault.load(path)

    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_field_in_the_secrets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    Vault.create(path)
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | {"peper": ""}))

    with pytest.raises(SecretsError, match="peper"):
        Vault.load(path)
