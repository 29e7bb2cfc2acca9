"""Codes of our own making: what their check character finds, without exception, and what counts as one of them."""

import re
from itertools import combinations, permutations
from math import expm1, log1p, log2
from pathlib import Path

import pytest

from ledger.codes import ALPHABET, GROUP, LENGTH, MODULUS, RADIX, check, complete, form_of
from ledger.identifiers import CODE_PATTERN, normalise_code

DOCS = Path(__file__).parents[3] / "docs"
OURS = form_of(("GC",))
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALIKE = ("0OQD", "1IL", "UV", "5S", "2Z", "8B", "6G", "4A", "FE")
FILLERS = ("222222222222222", "YXWVTRPNMKJHFDC", "7K2M9XT43WPH6VJ")
"""Fifteen characters each, which stand around those that a test is about."""


def plain(code: str) -> str:
    """Return the sixteen characters without prefix and dashes."""
    return code.removeprefix("GC-").replace("-", "")


def dashed(characters: str) -> str:
    return "-".join(characters[at : at + GROUP] for at in range(0, LENGTH, GROUP))


def codes_with(places: dict[int, str]) -> list[str]:
    """Return right codes (sixteen characters) with these characters in these places, one for each filler."""
    found = []
    for filler in FILLERS:
        characters = [*filler, ""]
        for place, letter in places.items():
            characters[place] = letter
        free = next(place for place in range(LENGTH - 1) if place not in places)
        for letter in ALPHABET if places.get(LENGTH - 1) else (characters[free],):
            characters[free] = letter
            made = plain(complete("GC", "".join(characters[: LENGTH - 1])))
            if all(made[place] == wanted for place, wanted in places.items()):
                found.append(made)
                break
    assert len(found) == len(FILLERS)
    return found


def test_the_alphabet_has_at_most_one_of_what_looks_alike_and_as_many_characters_as_a_prime() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == MODULUS == 23
    assert [sum(letter in ALPHABET for letter in group) for group in ALIKE] == [1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert not set(ALPHABET) & set("AEIOU")


def test_all_weights_differ() -> None:
    """From this, and from the modulus being prime, all that the next tests try follows."""
    assert len({RADIX**place % MODULUS for place in range(LENGTH)}) == LENGTH


@pytest.mark.parametrize("place", range(LENGTH))
def test_every_wrong_character_is_found(place: int) -> None:
    for right in ALPHABET:
        for code in codes_with({place: right}):
            assert check(dashed(code))
            assert OURS.right("GC-" + dashed(code))
            for wrong in set(LETTERS) - {right}:
                mistyped = dashed(code[:place] + wrong + code[place + 1 :])
                assert not check(mistyped), (code, place, wrong)
                assert OURS.wrong("GC-" + mistyped)


@pytest.mark.parametrize("place", range(LENGTH - 1))
def test_any_two_neighbours_that_changed_places_are_found(place: int) -> None:
    for left, right in permutations(ALPHABET, 2):
        for code in codes_with({place: left, place + 1: right}):
            assert check(dashed(code))
            assert not check(dashed(code[:place] + right + left + code[place + 2 :])), (code, place)


@pytest.mark.parametrize("distance", range(2, LENGTH))
def test_any_two_others_that_changed_places_are_found(distance: int) -> None:
    for place in range(LENGTH - distance):
        other = place + distance
        for left, right in combinations(ALPHABET, 2):
            for code in codes_with({place: left, other: right})[:1]:
                swapped = code[:place] + right + code[place + 1 : other] + left + code[other + 1 :]
                assert not check(dashed(swapped)), (code, place, other)


@pytest.mark.parametrize("place", range(LENGTH - 1))
def test_a_pair_typed_as_another_pair_is_found(place: int) -> None:
    for one, other in permutations(ALPHABET, 2):
        (code, *_) = codes_with({place: one, place + 1: one})
        assert not check(dashed(code[:place] + other * 2 + code[place + 2 :])), (code, place)


def test_a_code_of_one_character_alone_is_right_for_none_that_stands_for_nothing() -> None:
    assert not check(dashed("2" * LENGTH))


@pytest.mark.parametrize("prefix", ["G", "GC", "ABCDEFGHIJKL", "0"])
def test_a_code_has_the_form_that_callers_were_promised(prefix: str) -> None:
    code = complete(prefix, FILLERS[1])

    assert re.fullmatch(CODE_PATTERN, code)
    assert normalise_code(code.lower()) == code
    assert form_of((prefix,)).right(code)
    assert len(code) == len(prefix) + 20


@pytest.mark.parametrize(
    "code",
    [
        "GC-7K2M-9QXA",
        "7K2M-9XT4-3WPH-6VJ2",
        "NY-7K2M-9XT4-3WPH-6VJ2",
        "XGC-7K2M-9XT4-3WPH-6VJ2",
        "GC-7K2M-9XT4-3WPH-6VJ2-2222",
        "GC-7K2M9XT43WPH6VJ2",
        "GC-7K2M--XT4-3WPH-6VJ2",
        "GC7-K2M9-XT43-WPH6-VJ2",
        "GC-7K2M-9XT4-3WPH-6VJ2\n",
    ],
)
def test_what_looks_like_none_of_ours_is_neither_right_nor_wrong(code: str) -> None:
    assert not OURS.claims(code)
    assert not OURS.right(code)
    assert not OURS.wrong(code)


def test_a_prefix_is_text_and_no_pattern() -> None:
    assert not form_of((".",)).claims(complete("G", FILLERS[0]))


def test_each_of_several_prefixes_is_ours() -> None:
    form = form_of(("NY", "GC"))

    assert form.right(complete("GC", FILLERS[0]))
    assert form.right(complete("NY", FILLERS[0]))
    assert not form.claims(complete("N", FILLERS[0]))


def test_the_figures_of_the_documentation_are_those_of_the_codes() -> None:
    """A bot that tries 1 000 codes a second for a year, while ten million are live."""
    space = len(ALPHABET) ** (LENGTH - 1)
    tried = 1_000 * 60 * 60 * 24 * 365
    chance = -expm1(tried * log1p(-10_000_000 / space))
    page = (DOCS / "security.md").read_text()

    assert log2(space) > 64
    assert f"{log2(space):.1f} bits" in page
    assert f"{space:.1e}".replace("e+", " × 10^") in page  # noqa: RUF001 - as it is printed
    assert f"1 in {round(1 / chance, -1):,.0f}".replace(",", " ") in page
