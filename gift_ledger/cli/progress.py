"""The bar that shows how far a long command is: on standard error, and only where that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gift_ledger.cli.context import screen


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, done: int, total: int | None, **fields: Any) -> None:  # noqa: ANN401 - rich's own signature
        """So much is done, of so much; without a total it only counts. ``fields`` are for the text."""
        self._progress.update(self._task, completed=done, total=total or None, **fields)


@contextmanager
def counted(text: str, **fields: Any) -> Iterator[Bar]:  # noqa: ANN401 - as above
    """A bar while the block runs.

    Args:
        text: what stands behind it, with ``{task.fields[…]}``.
        fields: their first values.
    """
    console = screen(stderr=True)
    columns = (SpinnerColumn(), BarColumn(), TextColumn(text), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield Bar(progress, progress.add_task("", total=None, **fields))
