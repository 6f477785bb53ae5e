"""A short-lived cache of plans."""

import time
from collections import OrderedDict
from typing import Protocol


class BoostCache(Protocol):
    """The interface of BoostMiddleware's cache; the values are small and opaque.

    An implementation decides how long it keeps them. It may raise: the planner is called then.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None if there is none or it has expired."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Store a value."""
        ...


class MemoryBoostCache:
    """A BoostCache in this process: at most ``entries`` values, each for ``seconds``; the least recently used is
    removed first.

    Together they take at most ``size`` bytes. A larger value is not stored.
    """

    def __init__(self, *, seconds: float = 60.0, entries: int = 256, size: int = 16 * 1024 * 1024) -> None:
        if seconds <= 0 or entries < 1:
            raise ValueError("a cache needs a time above 0 seconds and room for at least one entry")
        self._most = size
        self._size = 0
        self._seconds = seconds
        self._entries = entries
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[0] < time.monotonic():
            self._drop(key)
            return None
        self._values.move_to_end(key)
        return found[1]

    async def set(self, key: str, value: bytes) -> None:
        if key in self._values:
            self._drop(key)
        self._values[key] = (time.monotonic() + self._seconds, value)
        self._size += len(value)
        while len(self._values) > self._entries or self._size > self._most:
            self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> None:
        self._size -= len(self._values.pop(key)[1])
