"""Envelopes: each opens with its own data key alone, in its own place, and with none once that is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import envelope
from persistence.vault import RECIPIENT, SMS, SealBrokenError, Vault

PEPPER = bytes(range(32))
OLD, NEW = b"\x01" * 32, b"\x02" * 32
VAULT = Vault(PEPPER, {1: OLD}, 1)
NAME = envelope.key_name("SO-1001", 1, "1")
PLAIN = b'{"phone":"+79990000001"}'
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
"""What an order or a line may be called."""

STORED = bytes.fromhex(
    "000b534f2d3130303120312f31000000000000000000000000b5853055220e0e4c3d6ceee483caa428425033fa0797080994"
    "2f823eba816d6b2cefcbd0f2b883c2"
)
KEPT = bytes.fromhex(
    "01000000000000000000000000bf3598dc753b03bf937992457124c141b5c69fb0859f34facc240ed50ed66e1b17a8198c61"
    "3ee5871394d5a50967078c"
)
"""What the first version with envelopes wrote. Never changed: what was stored has to open for ever."""


class StillVault(Vault):
    """A vault that knows no chance."""

    def random(self, count: int) -> bytes:
        return bytes(count)


@given(IDS, st.integers(min_value=1, max_value=2**63 - 1), IDS, st.binary(max_size=300))
def test_whatever_orders_and_lines_are_called_an_envelope_names_its_key_and_opens(
    order_id: str, version: int, line_id: str, plain: bytes
) -> None:
    name = envelope.key_name(order_id, version, line_id)

    sealed, kept = envelope.seal_new(VAULT, plain, RECIPIENT, name)

    assert envelope.key_of(sealed) == name
    assert (envelope.line_of(name[1]), name[0]) == (line_id, f"o:{order_id}")
    assert envelope.unseal(VAULT, sealed, RECIPIENT, kept) == plain


def test_a_message_is_sealed_with_the_key_of_its_recipient() -> None:
    _, kept = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)

    sealed = envelope.seal_again(VAULT, b"CVC 4821", SMS, NAME, kept)

    assert b"4821" not in sealed
    assert envelope.key_of(sealed) == NAME
    assert envelope.unseal(VAULT, sealed, SMS, kept) == b"CVC 4821"
    with pytest.raises(SealBrokenError, match="recipient"):
        envelope.unseal(VAULT, sealed, RECIPIENT, kept)


def test_no_two_recipients_have_one_key() -> None:
    sealed, _ = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)
    _, other = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)

    with pytest.raises(SealBrokenError):
        envelope.unseal(VAULT, sealed, RECIPIENT, other)


def test_a_data_key_opens_nothing_under_another_name() -> None:
    _, kept = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)
    elsewhere = envelope.key_name("SO-1001", 1, "2")

    with pytest.raises(SealBrokenError):
        envelope.seal_again(VAULT, PLAIN, SMS, elsewhere, kept)


def test_any_changed_byte_breaks_the_seal() -> None:
    sealed, kept = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)

    for at in range(1, len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SealBrokenError):
            envelope.unseal(VAULT, bytes(changed), RECIPIENT, kept)


@pytest.mark.parametrize("sealed", [b"\0", b"\0\0", b"\0\xff", b"\0\x04SO-1", b"\0\x02\xff\xfe"])
def test_an_envelope_without_a_name_is_none(sealed: bytes) -> None:
    with pytest.raises(SealBrokenError, match="names no data key"):
        envelope.key_of(sealed)


def test_what_the_vault_sealed_itself_has_no_data_key() -> None:
    assert envelope.key_of(VAULT.seal(PLAIN, RECIPIENT)) is None
    assert envelope.key_of(b"") is None


def test_a_data_key_moves_to_a_new_key_of_the_vault_and_opens_what_it_did() -> None:
    sealed, kept = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)
    both, later = Vault(PEPPER, {1: OLD, 2: NEW}, 2), Vault(PEPPER, {2: NEW}, 2)

    moved = envelope.resealed(both, NAME, kept)

    assert (envelope.sealing_key_of(kept), envelope.sealing_key_of(moved)) == (1, 2)
    assert envelope.unseal(later, sealed, RECIPIENT, moved) == PLAIN
    with pytest.raises(SealBrokenError, match="does not have"):
        envelope.unseal(later, sealed, RECIPIENT, kept)


def test_a_tombstone_is_no_key() -> None:
    sealed, kept = envelope.seal_new(VAULT, PLAIN, RECIPIENT, NAME)
    stone = envelope.tombstone(1_795_500_000_000)

    assert stone == b"\x001795500000000"  # for ever: it stands in stored ledgers
    assert (envelope.is_forgotten(stone), envelope.is_forgotten(kept)) == (True, False)
    assert envelope.sealing_key_of(stone) == 0
    with pytest.raises(SealBrokenError):
        envelope.unseal(VAULT, sealed, RECIPIENT, stone)


def test_what_is_stored_opens_for_ever() -> None:
    still = StillVault(PEPPER, {1: OLD}, 1)

    sealed, kept = envelope.seal_new(still, PLAIN, RECIPIENT, NAME)

    assert sealed == STORED
    assert kept == KEPT
    assert envelope.unseal(VAULT, STORED, RECIPIENT, KEPT) == PLAIN
