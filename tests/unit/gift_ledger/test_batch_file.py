"""A batch as a file: what is made, and what is said of each line that is not in order."""

import io
import os
import secrets
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gift_ledger.codes import batch_file
from gift_ledger.codes.batch_file import FOREIGN, BatchError, BatchFile, LineFault, write_batch
from gift_ledger.codes.minting import ENTROPY_BITS, SPACE, minted
from ledger.codes import ALPHABET, complete, form_of

OURS = form_of(("GC",))
ONE, TWO = complete("GC", "7K2M9XT43WPH6VJ"), complete("GC", "YXWVTRPNMKJHFDC")


def batch(content: bytes, *, foreign: bool = False) -> BatchFile:
    return BatchFile(io.BytesIO(content), OURS, foreign=foreign)


def faults(content: bytes, *, foreign: bool = False) -> dict[int, str]:
    """Return what is said of the lines that are not in order."""
    examined = batch(content, foreign=foreign).examine(lambda _: None)
    assert examined.faulty == len(examined.faults)
    return {fault.line: fault.message for fault in examined.faults}


# --- made ------------------------------------------------------------------------------------------------------------


def test_codes_are_right_and_none_comes_twice() -> None:
    codes = list(minted(2_000, "NY"))

    assert len(set(codes)) == 2_000
    assert all(form_of(("NY",)).right(code) for code in codes)
    assert ENTROPY_BITS > 64


def test_every_character_comes_in_every_place() -> None:
    """2 000 codes: that one of 23 characters is missing in a place has a chance of 10^-36."""
    codes = [code.removeprefix("GC-").replace("-", "") for code in minted(2_000, "GC")]

    assert [set(place) for place in zip(*codes, strict=True)] == [set(ALPHABET)] * 16


def test_a_code_that_comes_out_twice_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Iterator[int] = iter([5, 5, 7, 5, SPACE - 1])
    asked: list[int] = []

    def draw(limit: int) -> int:
        asked.append(limit)
        return next(drawn)

    monkeypatch.setattr(secrets, "randbelow", draw)

    codes = list(minted(3, "GC"))

    assert len(set(codes)) == 3
    assert Counter(asked) == {SPACE: 5}
    assert codes[2].startswith("GC-YYYY-YYYY-YYYY-YYY")


def test_a_file_is_for_its_owner_alone_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"
    before = os.umask(0)
    try:
        written = write_batch(path, [ONE, TWO])
    finally:
        os.umask(before)

    assert written == 2
    assert path.read_text() == f"{ONE}\n{TWO}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"
    path.write_text("money")

    with pytest.raises(FileExistsError, match="never overwrites"):
        write_batch(path, iter(()))

    assert path.read_text() == "money"


def test_a_file_that_came_up_meanwhile_stays_too(tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"

    def codes() -> Iterator[str]:
        yield ONE
        path.write_text("money")

    with pytest.raises(FileExistsError):
        write_batch(path, codes())

    assert path.read_text() == "money"
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_batch_that_was_broken_off_nothing_is_left(tmp_path: Path) -> None:
    def codes() -> Iterator[str]:
        yield ONE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_batch(tmp_path / "spring.codes", codes())

    assert list(tmp_path.iterdir()) == []


# --- read ------------------------------------------------------------------------------------------------------------


def test_what_was_made_is_in_order(tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"
    codes = list(minted(50, "GC"))
    write_batch(path, codes)

    with path.open("rb") as file:
        read = BatchFile(file, OURS, foreign=False)
        examined = read.examine(lambda _: None)
        again = list(read.codes())

    assert (examined.codes, examined.faulty) == (50, 0)
    assert again == codes


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n  \n"])
def test_empty_lines_spaces_and_small_letters_do_not_count(ending: bytes) -> None:
    read = batch(b"\n  %s\t\r\n\r\n%s" % (ONE.lower().encode(), TWO.encode()) + ending)

    assert read.examine(lambda _: None).codes == 2
    assert list(read.codes()) == [ONE, TWO]
    assert read.size > 40


def test_each_line_that_is_not_in_order_is_named() -> None:
    others = ["GC-7K2M-9QXA", ONE[:-1] + "2", "short", "GC_UNDERLINE_01", ONE.lower(), TWO, "ГЦ-1234-5678", "X" * 33]
    lines = [ONE, *others]

    said = faults("\n".join(lines).encode())

    assert said == {
        2: FOREIGN,
        3: "has a wrong check character",
        4: "is no code: 8 to 32 letters, digits and dashes",
        5: "is no code: 8 to 32 letters, digits and dashes",
        6: "is the code of line 1 again",
        8: "is no code: 8 to 32 letters, digits and dashes",
        9: "is no code: 8 to 32 letters, digits and dashes",
    }
    assert not any(ONE[3:8] in message for message in said.values())


def test_foreign_codes_need_no_check_character_but_ours_do() -> None:
    content = f"{ONE}\nGC-7K2M-9QXA\n12345678\n{ONE[:-1]}2\n12345678\n".encode()

    assert faults(content, foreign=True) == {4: "has a wrong check character", 5: "is the code of line 3 again"}


@pytest.mark.parametrize("length", [255, 256, 257, 511, 512, 513, 5_000])
@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_line_without_an_end_is_one_line(length: int, ending: bytes) -> None:
    content = b"%s\n%s\n%s%s" % (ONE.encode(), b"X" * length, TWO.encode(), ending)

    said = faults(content)

    assert list(said) == [2]
    assert said[2] in {"is too long for a code", "is no code: 8 to 32 letters, digits and dashes"}


def test_a_file_of_one_endless_line_is_one_fault() -> None:
    assert faults(b"\0" * 100_000) == {1: "is too long for a code"}


def test_an_empty_file_has_no_codes() -> None:
    examined = batch(b"\n\n").examine(lambda _: None)

    assert (examined.codes, examined.faulty) == (0, 0)


def test_of_many_faults_the_first_are_told_and_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "FAULTS_MAX", 3)

    examined = batch(b"x\n" * 10).examine(lambda _: None)

    assert examined.faulty == 10
    assert examined.faults == tuple(
        LineFault(line, "is no code: 8 to 32 letters, digits and dashes") for line in (1, 2, 3)
    )


def test_a_file_with_too_many_codes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "CODES_MAX", 2)
    content = "\n".join(minted(3, "GC")).encode()

    with pytest.raises(BatchError, match="more than 2 codes"):
        batch(content).examine(lambda _: None)


def test_it_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "TOLD_EVERY", 2)
    content = "".join(f"{code}\n" for code in minted(5, "GC")).encode()
    told: list[int] = []

    batch(content).examine(told.append)

    assert told == [2 * len(content) // 5, 4 * len(content) // 5]


def test_a_file_that_changes_after_it_was_looked_through_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "spring.codes"
    path.write_text(f"{ONE}\n{TWO}\n")

    with path.open("rb") as file:
        read = BatchFile(file, OURS, foreign=False)
        read.examine(lambda _: None)
        path.write_text(f"{ONE}\nnothing\n")

        with pytest.raises(BatchError, match="line 2 is no code"):
            list(read.codes())
