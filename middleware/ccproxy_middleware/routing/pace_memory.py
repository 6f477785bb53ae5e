"""The memory storage of ``limits``, without its threads. Imported only where something is counted."""

import time

from limits.aio.storage import MemoryStorage
from limits.aio.storage.memory import Entry


class PaceMemory(MemoryStorage):
    """Like its base class, which removes expired entries in a thread after each request; here they are removed during
    calls.

    For one pace: it contains as many entries as the limit has requests, and the counts of two windows.
    """

    STORAGE_SCHEME = []  # noqa: RUF012 - as its base has it; it has no URL

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        events = self.events.setdefault(key, [])  # newest first
        if amount > limit:
            return False
        if len(events) > limit - amount and events[limit - amount].atime >= time.time() - expiry:
            return False
        del events[limit - amount :]
        events[:0] = [Entry(expiry)] * amount
        return True

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        if self.expirations.get(key, 0) <= now:
            for old in [old for old, end in self.expirations.items() if end <= now]:
                del self.storage[old], self.expirations[old]
            self.storage[key] = 0
            self.expirations[key] = now + expiry
        self.storage[key] += amount
        return self.storage[key]

    async def get(self, key: str) -> int:
        return self.storage.get(key, 0) if self.expirations.get(key, 0) > time.time() else 0
