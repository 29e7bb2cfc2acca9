"""Keeps the coverage of Ray's workers, which Ray ends without letting Python finish.

Coverage loads this module in every process that it measures, as a plugin. In a worker of Ray a thread of its own then
saves what was measured, again and again, so that at most the last moment is lost.
"""

import contextlib
import sys
import threading
import time
from typing import Final

import coverage

SAVE_SECONDS: Final = 1.0
WORKER: Final = "default_worker.py"
"""Ray's program for workers, actors included."""


def coverage_init(_registry: object, _options: dict[str, str]) -> None:
    """Start to save, if this is one of Ray's workers; coverage calls this when it loads its plugins."""
    # sys.argv does not exist yet: coverage starts while the interpreter does
    if any(argument.endswith(WORKER) for argument in sys.orig_argv):
        threading.Thread(target=_save_for_ever, name="coverage-saver", daemon=True).start()


def _save_for_ever() -> None:
    while True:
        time.sleep(SAVE_SECONDS)
        measuring = coverage.Coverage.current()
        if measuring is not None:
            # while the worker ends, the file may be gone or another thread may be writing it
            with contextlib.suppress(coverage.CoverageException, OSError):
                measuring.save()
