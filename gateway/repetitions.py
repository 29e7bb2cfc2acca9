"""Whether a request is one that has its outcome already.

A limit stands before the ledger, which alone knows the outcomes of idempotency keys. But whoever repeats a request
because its answer was lost has to get the first outcome, and not be told that nothing happened.
"""

import logging
from collections.abc import Collection, Sequence

from persistence.errors import StorageError
from persistence.log import Log

_logger = logging.getLogger(__name__)


class Repetitions:
    """Looks idempotency keys up in the log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def known(self, keys: Sequence[bytes]) -> Collection[bytes]:
        """Those of the keys (``b""``: none) that have an outcome. None if the log does not answer: ask again."""
        asked = [key for key in keys if key]
        if not asked:
            return ()
        try:
            return await self._log.outcomes(asked)
        except StorageError as error:
            _logger.warning("whether requests are repeated cannot be found out: %s", error)
            return ()
