"""How every counterpart ends when a person starts it at a terminal: with an exit code, and in words when it failed."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from examples.connection import OutcomeUnknownError, RefusedError
from examples.endpoints import NotRunningError


def finish(work: Coroutine[Any, Any, int]) -> int:
    """Do the work; what could not be done is said in one sentence on standard error.

    Returns:
        The exit code of the work, or 1 if it could not be done.
    """
    try:
        return asyncio.run(work)
    except (NotRunningError, RefusedError, OutcomeUnknownError) as error:
        print(error, file=sys.stderr)
    except (KafkaError, TimeoutError) as error:
        advice = "Is the service running? Start it with `make run`."
        print(f"Kafka does not answer ({type(error).__name__}). {advice}", file=sys.stderr)
    return 1
