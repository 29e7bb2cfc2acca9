"""What a decoder may do with bytes that it did not expect: refuse them as documented, at a cost that fits them."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

FREE_BYTES: Final = 1024 * 1024
"""What any input may cost: messages, caches that are filled once, as many frames as Python has levels."""
GROWTH_MAX: Final = 100
"""Bytes of memory for each byte of input. `[{},{},…]`, which costs most, takes some 25."""

Given = TypeVar("Given")


def judge(
    decode: Callable[[Given], object], given: Given, *documented: type[Exception], length: int | None = None
) -> None:
    """Decode, and fail for an error that is not documented, or for memory that the input does not explain.

    What is not an `Exception`, and one that nobody documented, comes out as it is.
    """
    size = len(given) if length is None else length  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        decode(given)
    except documented:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= FREE_BYTES + GROWTH_MAX * size, f"{size} bytes of input took {peak} bytes of memory"
