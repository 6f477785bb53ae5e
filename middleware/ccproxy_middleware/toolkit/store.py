"""Small values with an expiry, shared by all requests of a process or, with another implementation, of several."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol


class Store(Protocol):
    """Small values with an expiry: visible at once to the process that writes them, within a second to all that share
    the store.

    A key is ``kind:name``. Neither keys nor values may contain a secret or a text of a prompt. No method blocks or
    raises; all are called in the thread of the event loop.
    """

    def get(self, key: str) -> bytes | None:
        """The value, or None if there is none or it has expired."""
        ...

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Store a value for so many seconds, replacing an earlier one."""
        ...

    def delete(self, key: str) -> None:
        """Remove a value, if there is one."""
        ...

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """The keys with this prefix, with their values; fast if the prefix contains the kind (``cooldown:``)."""
        ...


class MemoryStore:
    """A Store of this process: at most ``entries`` values of each kind, and ``size`` bytes of keys and values.

    The least recently used of its kind is removed first. A value that alone would exceed the size is not stored.
    """

    def __init__(
        self,
        *,
        entries: int = 4096,
        size: int = 16 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if entries < 1 or size < 1:
            raise ValueError("a store needs room for at least one entry of one byte")
        self._entries = entries
        self._size = size
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def get(self, key: str) -> bytes | None:
        kind = self._kinds.get(_kind_of(key))
        found = kind.values.get(key) if kind else None
        if kind is None or found is None:
            return None
        if found[0] <= self._clock():
            kind.drop(key)
            return None
        kind.values.move_to_end(key)
        return found[1]

    def put(self, key: str, value: bytes, seconds: float) -> None:
        kind = self._kinds.setdefault(_kind_of(key), _Kind())
        kind.drop(key)
        if seconds <= 0:
            return
        kind.values[key] = (self._clock() + seconds, value)
        kind.size += len(key) + len(value)
        while len(kind.values) > self._entries or kind.size > self._size:
            kind.drop(next(iter(kind.values)))

    def delete(self, key: str) -> None:
        if kind := self._kinds.get(_kind_of(key)):
            kind.drop(key)

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        return ((key, value) for key, value, _ in self.entries(prefix))

    def entries(self, prefix: str = "") -> Iterator[tuple[str, bytes, float]]:
        """As ``items``, with the remaining seconds of each."""
        named = ":" in prefix
        for kind in [self._kinds.get(_kind_of(prefix))] if named else list(self._kinds.values()):
            if kind is None:
                continue
            now = self._clock()
            for key, (end, value) in list(kind.values.items()):
                if end <= now:
                    kind.drop(key)
                elif key.startswith(prefix):
                    yield key, value, end - now


class _Kind:
    """The values of one kind, the least recently used first."""

    def __init__(self) -> None:
        self.values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.size = 0

    def drop(self, key: str) -> None:
        if found := self.values.pop(key, None):
            self.size -= len(key) + len(found[1])


def _kind_of(key: str) -> str:
    return key.partition(":")[0] if ":" in key else ""
