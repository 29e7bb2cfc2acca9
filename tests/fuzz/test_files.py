"""Files that somebody else may have written or damaged: secrets, backups, settings."""

from __future__ import annotations

import asyncio
import json
import string
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gift_ledger.settings import SettingsError
from gift_ledger.sources import SETTINGS, load, mask, spelled
from persistence import envelope
from persistence.archive import ArchiveError, Manifest, extract, write_archive
from persistence.secrets_file import SecretsError
from persistence.vault import RECIPIENT, SMS, SealBrokenError, Vault
from tests.fuzz.breaking import DEEP, broken, broken_json
from tests.fuzz.judge import judge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- secrets ---------------------------------------------------------------------------------------------------------

KEY = "A" * 43 + "="
SECRETS = {"pepper": KEY, "keys": {"1": KEY, "255": KEY}, "sealingKey": 1}
ROTATED = SECRETS | {"laterPeppers": {"2": KEY, "3": KEY}, "currentPepper": 2, "pepperSince": 1}


@one_folder
@given(broken_json(SECRETS) | broken_json(ROTATED))
@example(b'{"\xff":1}')
@example(b'{"pepper":"' + KEY.encode() + b'","keys":{"1":"' + KEY.encode() + b'"},"sealingKey":1}')
def test_secrets_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "secrets.json"
    path.touch(mode=0o600)
    path.write_bytes(text)

    judge(lambda _: Vault.load(path), text, SecretsError)


def test_a_secrets_file_that_does_not_fit_is_told_of_without_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.touch(mode=0o600)
    for text in (json.dumps(SECRETS)[:-1], json.dumps(SECRETS | {"sealingKey": KEY}), json.dumps({"keys": {KEY: KEY}})):
        path.write_text(text)
        with pytest.raises(SecretsError) as raised:
            Vault.load(path)
        assert KEY[:8] not in str(raised.value)


VAULT = Vault.generate()
SEALED = VAULT.seal(b'{"phone":"+79990000001"}', RECIPIENT)


@given(broken(SEALED), st.sampled_from([RECIPIENT, SMS]))
def test_sealed_bytes(sealed: bytes, context: str) -> None:
    def unseal(found: bytes) -> None:
        assert VAULT.unseal(found, context) == b'{"phone":"+79990000001"}'
        assert (found, context) == (SEALED, RECIPIENT)

    judge(unseal, sealed, SealBrokenError)


DATA_KEY_NAME = envelope.key_name("SO-1001", 1, "1")
ENVELOPE, DATA_KEY = envelope.seal_new(VAULT, b'{"phone":"+79990000001"}', RECIPIENT, DATA_KEY_NAME)


@given(broken(ENVELOPE), broken(DATA_KEY))
@example(b"\x01" + ENVELOPE[1:], DATA_KEY)
def test_envelopes_and_data_keys(sealed: bytes, kept: bytes) -> None:
    def unseal(found: bytes) -> None:
        name = envelope.key_of(found)
        assert envelope.unseal(VAULT, found, RECIPIENT, kept) == b'{"phone":"+79990000001"}'
        assert (found, kept, name) == (ENVELOPE, DATA_KEY, DATA_KEY_NAME)

    judge(unseal, sealed, SealBrokenError)


# --- backups ---------------------------------------------------------------------------------------------------------

DATA = b"REDIS0011" + bytes(1_200)
MANIFEST = Manifest(
    program="1.0.0",
    server="redis 7.0.15",
    made_at=1_795_500_000_000,
    prefix="gl",
    database=0,
    partitions=32,
    vault="f" * 16,
    inbox={"All_Payments": {0: 7}},
    published={"GiftCertificateState": {0: 7, 1: 9}},
)
HEADS = (0, 512 + 1_536, 512 + 1_536 + 512 + 1_024)
"""Where the headers of the three files stand."""
OF_TAR = (
    b"77777777777\x00",
    b"\x80" + b"\xff" * 11,
    b"\xff" * 12,
    b"-0000000001\x00",
    b"\x80" + bytes(10) + b"\x01",
    b"0" * 12,
)


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    async def data() -> AsyncIterator[bytes]:
        yield DATA

    path = tmp_path_factory.mktemp("backup") / "whole"
    asyncio.run(write_archive(path, data(), MANIFEST, lambda _: None))
    return path.read_bytes()


def headed(head: bytes) -> bytes:
    """Give a header the sum that it has to have, so that what it says is believed."""
    blank = head[:148] + b" " * 8 + head[156:]
    return head[:148] + b"%06o\x00 " % sum(blank) + head[156:]


@one_folder
@given(st.data())
def test_backups(backup: bytes, tmp_path: Path, data: st.DataObject) -> None:
    found = backup
    for place in data.draw(st.sets(st.sampled_from(HEADS))):
        head = found[place : place + 512]
        match data.draw(st.integers(0, 3)):
            case 0:  # of another type: sparse, extended, a long name, a link, a folder
                head = head[:156] + data.draw(st.sampled_from(b"SxgLKX12356VM")).to_bytes() + head[157:]
            case 1:
                number = data.draw(st.sampled_from([100, 108, 116, 124, 136, 386, 398, 483]))
                nasty = data.draw(st.sampled_from(OF_TAR))
                head = head[:number] + nasty + head[number + len(nasty) :]
            case 2:
                head = head[:156] + b"S" + head[157:386] + b"00000000000\x00" * 2 + b"77777777777\x00" * 3
            case _:
                head = data.draw(broken(head, nasty=OF_TAR))
        head = head.ljust(512, b"\x00")[:512]
        found = found[:place] + (headed(head) if data.draw(st.booleans()) else head) + found[place + 512 :]
    if data.draw(st.booleans()):
        found = data.draw(broken(found, nasty=OF_TAR))
    path, target = tmp_path / "backup", tmp_path / "data"
    path.write_bytes(found)
    target.unlink(missing_ok=True)

    with suppress(tarfile.TarError):  # never: it is an ArchiveError
        judge(lambda _: extract(path, target), found, ArchiveError, length=len(found) + 1_048_576)
    assert not target.exists() or target.stat().st_size <= len(found)


def test_a_backup_that_stands_for_more_than_it_holds_fills_no_disk(backup: bytes, tmp_path: Path) -> None:
    """A sparse file of a tar archive is written out with its holes: a few bytes can stand for terabytes."""
    head = backup[:156] + b"S" + backup[157:386] + b"00000000000\x00" * 2
    head = head.ljust(483, b"\x00") + b"77777777777\x00"
    path, target = tmp_path / "backup", tmp_path / "data"
    path.write_bytes(headed(head.ljust(512, b"\x00")) + backup[512:])
    with tarfile.open(path) as archive:
        first = archive.next()
        assert first is not None
        assert first.issparse()

    with pytest.raises(ArchiveError):
        extract(path, target)

    assert not target.exists()


def test_a_backup_with_a_thousand_headers_is_not_read_to_its_end(tmp_path: Path, backup: bytes) -> None:
    path = tmp_path / "backup"
    path.write_bytes(headed(b"a".ljust(100, b"\x00") + backup[100:124] + b"00000000000\x00" + backup[136:512]) * 50_000)

    judge(lambda _: extract(path, tmp_path / "data"), path, ArchiveError, length=512)


# --- settings --------------------------------------------------------------------------------------------------------

VALUES = {
    "http_port": "8080",
    "http_idle_seconds": "75.0",
    "http_host": '"127.0.0.1"',
    "redis_url": '"redis://user:secret@localhost:6379/0"',
    "placement": '"shared"',
    "redis_allow_unsafe": "false",
    "kafka_bootstrap": '"localhost:9092"',
}
TOML = "\n".join(f"{name} = {value}" for name, value in VALUES.items()).encode()
OF_TOML = (
    *(b"[" * DEEP, b"{a=" * DEEP, b"a." * 99, b"9" * 5_000, b"0x" + b"f" * 5_000, b"1e999999999", b"nan", b"-inf"),
    *(
        b"1979-05-27T07:32:00Z",
        b"1979-02-30",
        b"[[a]]",
        b'"""',
        b"'''",
        b'"\\ud800"',
        b'"\\U00110000"',
        b"\xff",
        b"\x00",
    ),
    *(b"\xef\xbb\xbf", b"\r", b"\n", b"=", b"#", b"[1,2]", b"{}", b"true", b"0o7", b"0b1", b"1_0", b"07", b"\n\n[x]\n"),
)


def loaded(environ: dict[str, str], folder: Path) -> None:
    found = load(environ, folder)
    for setting in SETTINGS.values():
        found.shown(setting)


@one_folder
@example(b"# " + b"a" * 99_999)
@example(b"http_port = " + b"[" * DEEP)
@given(broken(TOML, nasty=OF_TOML))
def test_settings_files(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "gift-ledger.toml").write_bytes(text)

    judge(lambda _: loaded({}, tmp_path), text, SettingsError)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", OF_TOML, ids=lambda value: repr(value[:16]))
def test_values_of_settings_that_make_no_sense(tmp_path: Path, name: str, value: bytes) -> None:
    (tmp_path / "gift-ledger.toml").write_bytes(name.encode() + b" = " + value)

    judge(lambda _: loaded({}, tmp_path), value, SettingsError)


def of_environment() -> st.SearchStrategy[str]:
    """Return what can stand in an environment: anything but a NUL, and bytes that are not UTF-8 as Python has them."""
    shown = broken(*(value.strip('"').encode() for value in VALUES.values()), nasty=OF_TOML)
    return shown.map(lambda found: found.replace(b"\x00", b"").decode(errors="surrogateescape"))


@one_folder
@given(
    st.dictionaries(
        st.sampled_from([f"GIFT_LEDGER_{name.upper()}" for name in SETTINGS])
        | st.sampled_from(["GIFT_LEDGER_CONFIG", "GIFT_LEDGER_REDIS_URL_FILE", "GIFT_LEDGER_SMS_URL_FILE"])
        | st.text(string.ascii_uppercase + "_", max_size=12).map("GIFT_LEDGER_".__add__),
        of_environment() | st.sampled_from(["~nobody-of-this-name/x", "/", "/proc/self/mem", "\udcff", "../" * 9]),
        max_size=4,
    )
)
def test_environments(tmp_path: Path, environ: dict[str, str]) -> None:
    judge(lambda _: loaded(environ, tmp_path), environ, SettingsError, length=100 * sum(map(len, environ.values())))


@given(st.text() | of_environment())
def test_values_are_masked_and_spelled(value: str) -> None:
    judge(mask, value)
    assert spelled(value) == value


@pytest.mark.parametrize("filling", ["//", "@", "?", "//@"])
def test_values_that_are_masked_are_read_once(filling: str) -> None:
    masked: Any = mask

    judge(masked, "https://" + filling * 300_000)
