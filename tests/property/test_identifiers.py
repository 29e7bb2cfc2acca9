"""Identifiers lead back to what they were made for, and nothing else leads anywhere."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.identifiers import (
    AUTHORIZATION,
    MESSAGE,
    OPERATION,
    STATE_EVENT,
    TRANSACTION_EVENT,
    identifier,
    normalise_code,
    version_of,
)

KINDS = (AUTHORIZATION, OPERATION, STATE_EVENT, TRANSACTION_EVENT, MESSAGE)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

codes = st.text(ALPHABET, min_size=8, max_size=32)
kinds = st.sampled_from(KINDS)
versions = st.integers(0, 10**12)


@given(kind=kinds, code=codes, version=versions)
def test_an_identifier_leads_back_to_its_version(kind: str, code: str, version: int) -> None:
    made = identifier(kind, code, version)

    assert version_of(made, code, *KINDS) == version
    assert len(made) <= 64
    assert set(made) <= set(ALPHABET + ALPHABET.lower() + "_")


@given(kind=kinds, code=codes, version=versions, other=codes | kinds | versions)
def test_it_leads_nowhere_for_another_code_kind_or_version(
    kind: str, code: str, version: int, other: str | int
) -> None:
    made = identifier(kind, code, version)

    if isinstance(other, int):
        forged = made.replace(f"_{version}_", f"_{other}_", 1)
        assert (version_of(forged, code, kind) is None) == (other != version)
    elif other in KINDS:
        forged = other + made[len(kind) :]
        assert (version_of(forged, code, *KINDS) is None) == (other != kind)
    else:
        assert (version_of(made, other, kind) is None) == (other != code)


@given(kind=kinds, code=codes, version=versions, data=st.data())
def test_a_changed_character_leads_nowhere(kind: str, code: str, version: int, data: st.DataObject) -> None:
    made = identifier(kind, code, version)
    position = data.draw(st.integers(0, len(made) - 1))
    character = data.draw(st.characters(exclude_characters=made[position]))

    assert version_of(made[:position] + character + made[position + 1 :], code, *KINDS) is None


@given(text=st.text(max_size=70), code=codes)
def test_any_other_text_leads_nowhere(text: str, code: str) -> None:
    assert version_of(text, code, *KINDS) is None


@given(code=codes)
def test_a_code_in_small_letters_is_the_same_code(code: str) -> None:
    assert normalise_code(code.lower()) == code


@given(text=st.text(max_size=40))
def test_nothing_but_a_code_is_one(text: str) -> None:
    code = normalise_code(text)

    assert code is None or (set(code) <= set(ALPHABET) and 8 <= len(code) <= 32 and text.isascii())
