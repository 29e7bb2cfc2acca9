"""Administrative acts in memory."""

from persistence.codec import START, Position
from persistence.log import PAGE_MAX


class MemoryActStore:
    """Acts in memory, for tests."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.last = START

    async def end(self) -> Position:
        """See :meth:`persistence.acts.ActStore.end`."""
        return self.last

    async def append(self, stored: bytes, before: Position, after: Position) -> bool:
        """See :meth:`persistence.acts.ActStore.append`."""
        if before != self.last:
            return False
        self.stored.append(stored)
        self.last = after
        return True

    async def page(self, after: int, limit: int = PAGE_MAX) -> list[bytes]:
        """See :meth:`persistence.acts.ActStore.page`."""
        return self.stored[after : after + limit]

    async def close(self) -> None:
        """See :meth:`persistence.acts.ActStore.close`."""
