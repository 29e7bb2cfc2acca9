"""A timer that a poll can wait for, to the microsecond: Linux's timerfd.

Event loops round their timers up to whole milliseconds, which is as long as an authorization takes. (Python has
``os.timerfd_create`` from 3.13 on; until then it is two calls of the C library.)
"""

import ctypes
import os
from types import TracebackType
from typing import Final, Self

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_SECOND_NS: Final = 1_000_000_000

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


class Timer:
    """Makes :attr:`fileno` readable once a time has come; a ``with`` block."""

    def __init__(self) -> None:
        self.fileno: Final = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        # made once, for it is set for each request
        self._setting = _Setting()
        self._first = self._setting.first
        self._pointer = ctypes.byref(self._setting)
        self._at = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fileno)

    def wake_at(self, nanoseconds: int) -> None:
        """Be readable from this time of the monotonic clock on, instead of any time that was set before."""
        if nanoseconds == self._at:
            return
        self._at = nanoseconds
        self._first.seconds, self._first.nanoseconds = divmod(nanoseconds, _SECOND_NS)
        _checked(_libc.timerfd_settime(self.fileno, _ABSOLUTE, self._pointer, None))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
