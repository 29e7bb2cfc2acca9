"""Digests of CVCs under several peppers: what is carried and stored, and what of it tells requests apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import fingerprints, peppers
from ledger.commands import Authorize, Inquire
from ledger.peppers import DIGEST_BYTES, FIRST
from ledger.records import CvcReissued
from tests.unit.ledger.stage import CODE, SITE, active

ENTITY = f"c:{CODE}"
ONE, TWO, THREE, OTHER = (bytes((byte,)) * DIGEST_BYTES for byte in (1, 2, 3, 4))
digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)


def asked(*peppers_had: int, current: int | None = None, amount: int = 400) -> Authorize:
    """The same request by a gateway that has these peppers."""
    had = {number: bytes((number,)) * DIGEST_BYTES for number in peppers_had}
    return Authorize(amount, "RUB", peppers.carried(current or max(had), had))


def test_under_the_first_pepper_alone_all_is_as_it_always_was() -> None:
    assert peppers.carried(FIRST, {FIRST: ONE}) == peppers.stored(FIRST, ONE) == ONE
    assert peppers.pepper_of(ONE) == FIRST
    assert peppers.fits(ONE, ONE)
    assert fingerprints.fingerprint("c:GC-7K2M-9QXA", Authorize(1_000, "RUB", ONE)).hex() == GOLDEN


GOLDEN = "3da0482218da0e52"
"""Stored for a day by every version so far: another one would make conflicts of what is repeated over an upgrade."""


@given(st.dictionaries(st.integers(2, 255), digests, max_size=4), digests, st.data())
def test_whatever_a_request_carries_fits_what_is_stored_under_any_of_its_peppers(
    later: dict[int, bytes], first: bytes, data: st.DataObject
) -> None:
    had = {FIRST: first, **later}
    current = data.draw(st.sampled_from(sorted(had)))

    given_ = peppers.carried(current, had)

    stored = {number: peppers.stored(number, digest) for number, digest in had.items()}
    assert sorted(peppers.single(given_)) == sorted(stored.values())
    assert peppers.single(given_)[0] == stored[current]
    assert {peppers.pepper_of(kept) for kept in stored.values()} == set(had)
    assert all(peppers.fits(given_, kept) for kept in stored.values())
    wrong = data.draw(digests.filter(lambda one: one not in had.values()))
    assert not any(peppers.fits(given_, peppers.stored(number, wrong)) for number in had)
    assert not peppers.fits(given_, None)


@given(st.binary(max_size=200), st.none() | st.binary(max_size=40))
def test_bytes_that_nobody_made_are_compared_and_no_more(given_: bytes, kept: bytes | None) -> None:
    assert peppers.fits(given_, kept) in {True, False}
    assert b"".join(peppers.single(given_)).replace(b"\x01", b"") == given_.replace(b"\x01", b"")


def test_a_digest_under_another_number_does_not_fit() -> None:
    both = peppers.carried(2, {1: ONE, 2: TWO})

    assert not peppers.fits(both, peppers.stored(2, ONE))
    assert not peppers.fits(both, TWO)
    assert not peppers.fits(ONE, peppers.stored(2, ONE))
    assert not peppers.fits(both, b"")


@pytest.mark.parametrize("kept", [None, b""])
@pytest.mark.parametrize("blanks", [1, 2])
def test_a_blank_does_not_fit_where_there_is_no_digest(kept: bytes | None, blanks: int) -> None:
    assert not peppers.fits(bytes(33 * blanks), kept)


@pytest.mark.parametrize("kept", [None, b"", ONE, peppers.stored(2, TWO), peppers.stored(3, THREE), OTHER])
def test_as_much_is_compared_whether_there_is_a_certificate_or_not(
    kept: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(peppers, "compare_digest", compare)

    peppers.fits(peppers.carried(2, {1: ONE, 2: TWO}), kept)

    assert compared == [(1 + DIGEST_BYTES, 1 + DIGEST_BYTES)] * 2


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "right"), [(ONE, True), (peppers.stored(2, TWO), True), (OTHER, False)])
def test_a_certificate_takes_the_cvc_that_it_has_under_whatever_pepper(stored: bytes, *, right: bool) -> None:
    stage = active()
    stage.state = replace(stage.state, cvc=stored)

    refusal = stage.refusal(Inquire(peppers.carried(2, {1: ONE, 2: TWO})), SITE)

    assert refusal == (None if right else "CertificateRefused")


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_request_that_is_repeated_over_a_rotation_is_the_same_on_any_gateway() -> None:
    before, prepared, after = asked(1), asked(1, 2, current=1), asked(1, 2)

    made = [fingerprints.fingerprint(ENTITY, one) for one in (before, prepared, after)]

    assert made[0] == made[1] != made[2]
    assert made[2][0] == 2
    assert fingerprints.is_same(made[0], ENTITY, after)
    assert fingerprints.is_same(made[2], ENTITY, prepared)
    assert fingerprints.is_same(made[2], ENTITY, asked(1, 2, 3))


def test_whoever_lacks_the_pepper_of_the_first_time_cannot_tell() -> None:
    stored = fingerprints.fingerprint(ENTITY, asked(1, 2))

    assert fingerprints.is_same(stored, ENTITY, asked(1)) is None
    assert fingerprints.is_same(stored, ENTITY, Authorize(400, "RUB")) is False


@pytest.mark.parametrize(
    "other",
    [
        asked(1, 2, amount=401),
        Authorize(400, "RUB", peppers.carried(2, {1: OTHER, 2: OTHER})),
        Inquire(peppers.carried(2, {1: ONE, 2: TWO})),
    ],
)
def test_another_request_is_another_one_under_each_pepper(other: Authorize | Inquire) -> None:
    for stored in (fingerprints.fingerprint(ENTITY, asked(1)), fingerprints.fingerprint(ENTITY, asked(1, 2))):
        assert fingerprints.is_same(stored, ENTITY, other) is False
    assert fingerprints.is_same(fingerprints.fingerprint("c:OTHER-CODE", asked(1, 2)), ENTITY, asked(1, 2)) is False


def test_after_a_rotation_nothing_that_is_stored_depends_on_the_first_pepper() -> None:
    one = Authorize(400, "RUB", peppers.carried(2, {1: ONE, 2: TWO}))
    other = Authorize(400, "RUB", peppers.carried(2, {1: OTHER, 2: TWO}))

    assert fingerprints.fingerprint(ENTITY, one) == fingerprints.fingerprint(ENTITY, other)
    assert CvcReissued(peppers.stored(2, TWO)).cvc == b"\x02" + TWO
