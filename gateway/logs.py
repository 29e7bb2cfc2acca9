"""Log lines that say which request they belong to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.exchange import current


class RequestName(logging.Filter):
    """Puts the request id, and the trace id if there is one, behind what is logged while a request is answered.

    The record has them as ``request_id`` and ``trace_id`` too, for whoever writes structured lines.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the request, once, however many handlers the record passes. Nothing is left out."""
        exchange = current.get()
        if exchange is None or hasattr(record, "request_id"):
            return True
        record.request_id = exchange.request_id
        record.trace_id = exchange.trace_id
        trace = f" trace={exchange.trace_id}" if exchange.trace_id else ""
        record.msg = f"{record.getMessage()} [request={exchange.request_id}{trace}]"
        record.args = None
        return True


@contextmanager
def named_requests() -> Iterator[None]:
    """Name requests in everything that the root logger's handlers write.

    A filter of the logger itself would not see what loggers below it send up.
    """
    names = RequestName()
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(names)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(names)
