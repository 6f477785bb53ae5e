"""The inspector's exchanges in the ledger's database, written after the answers and kept for a limited time and
size.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import TYPE_CHECKING

from ccproxy_middleware.inspector import Entry

from .background import LONGEST_PAUSE, BackgroundWriter, beside
from .writer import reason

if TYPE_CHECKING:
    from .history_queries import Values

logger = logging.getLogger("ccproxy.ledger")

MAX_WAITING = 64 * 1024 * 1024
"""The maximum bytes of exchanges that wait to be written, before compression."""

_BATCH = 16  # exchanges per transaction
_CLEANING_SECONDS = 60.0


class History(BackgroundWriter):
    """Keeps exchanges in the database at ``url``. It is the inspector's History.

    days: how long exchanges are kept. max_bytes: the maximum size of all kept exchanges in the database; the oldest are
    deleted first. While the database is unavailable, at most ``max_waiting`` bytes wait in
    memory; further exchanges are not kept.
    """

    def __init__(
        self, url: str, *, days: int = 7, max_bytes: int = 1_000_000_000, max_waiting: int = MAX_WAITING
    ) -> None:
        super().__init__(url)
        self._days = days
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._entries: deque[tuple[int, Callable[[], Entry]]] = deque()
        self._batch: list[Values] = []  # being written
        self._batch_size = 0  # size before compression
        self._waiting = 0  # bytes
        self._dropped = 0
        self._written = 0  # bytes written since the last cleanup
        self._known = 0  # bytes in the database at the last cleanup
        self._full = asyncio.Event()  # cleanup is urgent

    def keep(self, size: int, make: Callable[[], Entry]) -> None:
        """Queue an exchange of about ``size`` bytes. Never waits and never raises."""
        if self._waiting + size > self._max_waiting:
            self._drop(1)
            return
        self._waiting += size
        self._entries.append((size, make))
        self.wake()

    async def find(self, id: str) -> bytes | None:
        """The document of an exchange; None if there is none with this id. Raises what the database raises."""
        from .history_queries import find

        return await find(await self.prepared(), id)

    async def search(self, words: Sequence[str], *, before: str | None, limit: int) -> list[bytes]:
        """The lines of exchanges with all these words, older than ``before``, newest first. Raises like ``find``."""
        from .history_queries import search

        return await search(await self.prepared(), words, before, limit)

    async def session(self, session: str) -> list[str]:
        """The ids of a session's exchanges, oldest first. Raises like ``find``."""
        from .history_queries import ids_of

        return await ids_of(await self.prepared(), session)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Write exchanges and delete old ones; at the end write all that are still waiting."""
        from . import history_queries  # noqa: F401 - it takes a while, which no request should wait for

        self.start()
        try:
            async with beside(self._clean()):
                yield
        finally:
            await self.aclose()

    @property
    def waiting(self) -> int:
        """The number of exchanges that are not yet in the database."""
        return len(self._entries) + len(self._batch)

    async def _write_all(self) -> None:
        from .history_queries import insert

        engine = await self.prepared()
        while self._batch or self._entries:
            if not self._batch:
                await self._make_batch()
            await insert(engine, self._batch)
            size = sum(values["size"] for values in self._batch)
            self._written += size
            self._waiting -= self._batch_size
            self._batch, self._batch_size = [], 0
            if self._known + self._written > self._max_bytes:
                self._full.set()

    async def _make_batch(self) -> None:
        """Take the next exchanges and prepare them in a worker thread, since that takes a while."""
        taken = [self._entries.popleft() for _ in range(min(_BATCH, len(self._entries)))]
        self._batch_size = sum(size for size, _ in taken)
        for _, make in taken:
            try:
                self._batch.append(await asyncio.to_thread(_made, make))
            except Exception:
                logger.exception("a bug in the proxy: an exchange can't be kept")

    async def _clean(self) -> None:
        """Delete exchanges over the age or size limit: every minute, and as soon as enough was written to exceed it."""
        from .history_queries import forget

        with suppress(TimeoutError):
            await asyncio.wait_for(self._full.wait(), uniform(2, 10))  # noqa: S311 - so that workers don't do it together
        while True:
            self._full.clear()
            try:
                before = datetime.now(UTC) - timedelta(days=self._days)
                written = self._written
                self._known = await forget(await self.prepared(), before, self._max_bytes)
                self._written -= written
            except Exception as error:
                logger.debug("the history can't be cleaned: %s", reason(error))
                await asyncio.sleep(LONGEST_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), _CLEANING_SECONDS)

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self._dropped == count:
            logger.warning("the history is written too slowly: exchanges are not kept until it is done")

    def _report_away(self, error: Exception) -> None:
        logger.warning("the history can't be written: %s. It is tried again, which is not told", reason(error))

    def _report_written(self, *, back: bool) -> None:
        if back:
            logger.warning("the history is written again")
        if self._dropped:
            logger.warning("%d exchanges were not kept in the history", self._dropped)
            self._dropped = 0

    def _report_end(self) -> None:
        if self.waiting:
            logger.error("the history can't be written: %d exchanges are lost at the end", self.waiting)


def _made(make: Callable[[], Entry]) -> "Values":
    from .history_queries import values_of

    return values_of(make())
