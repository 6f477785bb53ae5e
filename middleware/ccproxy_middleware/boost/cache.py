"""Where plans are kept for a short while."""

import time
from collections import OrderedDict
from typing import Protocol


class BoostCache(Protocol):
    """What BoostMiddleware needs of a cache; the values are small and opaque.

    An implementation decides how long it keeps them. Raising is allowed: the planner is asked then.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None if there is none or it is too old."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Keep a value."""
        ...


class MemoryBoostCache:
    """A BoostCache in this process: ``entries`` values at most, each for ``seconds``; the least used goes first."""

    def __init__(self, *, seconds: float = 60.0, entries: int = 256) -> None:
        if seconds <= 0 or entries < 1:
            raise ValueError("a cache needs a time above 0 seconds and room for at least one entry")
        self._seconds = seconds
        self._entries = entries
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        found = self._values.pop(key, None)
        if found is None or found[0] < time.monotonic():
            return None
        self._values[key] = found
        return found[1]

    async def set(self, key: str, value: bytes) -> None:
        self._values.pop(key, None)
        self._values[key] = (time.monotonic() + self._seconds, value)
        while len(self._values) > self._entries:
            self._values.popitem(last=False)
