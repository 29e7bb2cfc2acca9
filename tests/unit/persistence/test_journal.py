"""The list of what was forgotten: a restore needs it whole."""

from pathlib import Path

import pytest

from persistence.forgetting import Forgotten, Journal

NOON = 1_795_500_000_000


def test_the_list_has_a_line_for_each_and_goes_on_after_half_a_line(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path)
    first = Forgotten(order_id="SO-1", lines=("1",), names=("1/1",), at=NOON, by="desk")
    second = Forgotten(order_id="SO-2", lines=("1",), names=("0/1",), at=NOON, direct=("1",))
    assert journal.read() == ()

    journal.note(first)
    with journal.path.open("ab") as file:
        file.write(b'{"orderId":"SO-9","li')
    with pytest.raises(OSError, match=r"the last line of .+ is cut off"):
        journal.read()
    journal.note(second)

    assert journal.read() == [first, second]
    assert journal.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lines", [1, 2])
def test_a_last_line_without_its_end_is_kept(tmp_path: Path, lines: int) -> None:
    journal = Journal.of(tmp_path)
    noted = [Forgotten(order_id=f"SO-{line}", lines=("1",), names=("1/1",), at=NOON) for line in range(lines)]
    for one in noted:
        journal.note(one)
    journal.path.write_bytes(journal.path.read_bytes().rstrip(b"\n"))
    late = Forgotten(order_id="SO-9", lines=("1",), names=("1/1",), at=NOON)

    before = journal.read()
    journal.note(late)

    assert before == noted
    assert journal.read() == [*noted, late]


def test_a_file_that_is_no_list_is_told(tmp_path: Path) -> None:
    journal = Journal.of(tmp_path)
    journal.path.write_text("something else\n")

    with pytest.raises(OSError, match="no list of what was forgotten"):
        journal.read()
