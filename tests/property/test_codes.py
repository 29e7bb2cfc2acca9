"""Codes with a check character: what is completed is right, and no error of these kinds goes unnoticed."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.codes import ALPHABET, LENGTH, complete, form_of
from ledger.identifiers import normalise_code

OURS = form_of(("GC",))

bodies = st.text(ALPHABET, min_size=LENGTH - 1, max_size=LENGTH - 1)
letters = st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
places = st.integers(0, LENGTH - 1).map(lambda place: 3 + place + place // 4)
"""Of a character in ``GC-XXXX-XXXX-XXXX-XXXX``."""


def by_the_book(code: str) -> bool:
    """ISO/IEC 7064, a pure system with one check character: the weighted sum is 1 modulo M."""
    values = [ALPHABET.find(letter) for letter in code.removeprefix("GC-").replace("-", "")]
    weights = [5**power for power in reversed(range(LENGTH))]
    return min(values) >= 0 and sum(v * w for v, w in zip(values, weights, strict=True)) % 23 == 1


@given(body=bodies)
def test_a_completed_code_is_right_and_written_in_capitals(body: str) -> None:
    code = complete("GC", body)

    assert OURS.right(code)
    assert not OURS.wrong(code)
    assert by_the_book(code)
    assert normalise_code(code.lower()) == code


@given(code=st.from_regex(r"GC(-[0-9A-Z]{4}){4}", fullmatch=True))
def test_the_quick_way_finds_what_the_book_does(code: str) -> None:
    assert OURS.right(code) == by_the_book(code)
    assert OURS.wrong(code) != OURS.right(code)


@given(body=bodies, place=places, letter=letters)
def test_no_wrong_character_goes_unnoticed(body: str, place: int, letter: str) -> None:
    code = complete("GC", body)

    assert OURS.wrong(code[:place] + letter + code[place + 1 :]) == (letter != code[place])


@given(body=bodies, one=places, other=places)
def test_no_two_characters_change_places_unnoticed(body: str, one: int, other: int) -> None:
    code = complete("GC", body)
    swapped = list(code)
    swapped[one], swapped[other] = code[other], code[one]

    assert OURS.wrong("".join(swapped)) == (code[one] != code[other])


@given(text=st.text(max_size=40))
def test_any_other_text_is_none_of_ours(text: str) -> None:
    assert not OURS.right(text) or by_the_book(text)
