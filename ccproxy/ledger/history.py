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

from .writer import BATCH_SECONDS, reason

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .history_queries import Values

logger = logging.getLogger("ccproxy.ledger")

MAX_WAITING = 64 * 1024 * 1024
"""The maximum bytes of exchanges that wait to be written, before compression."""

_BATCH = 16  # exchanges per transaction
_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0  # seconds between two attempts
_CLEANING_SECONDS = 60.0
_LAST_SECONDS = 8.0  # seconds to write what is left at the end


class History:
    """Keeps exchanges in the database at ``url``. It is the inspector's History.

    days: how long exchanges are kept. max_bytes: the maximum size of all kept exchanges in the database; the oldest are
    deleted first. Requests never wait for it. While the database is unavailable, at most ``max_waiting`` bytes wait in
    memory; further exchanges are not kept.
    """

    def __init__(
        self, url: str, *, days: int = 7, max_bytes: int = 1_000_000_000, max_waiting: int = MAX_WAITING
    ) -> None:
        self._url = url
        self._days = days
        self._max_bytes = max_bytes
        self._max_waiting = max_waiting
        self._entries: deque[tuple[int, Callable[[], Entry]]] = deque()
        self._batch: list[Values] = []  # being written
        self._batch_size = 0  # size before compression
        self._waiting = 0  # bytes
        self._engine: AsyncEngine | None = None
        self._ready = False
        self._away = False
        self._dropped = 0
        self._written = 0  # bytes written since the last cleanup
        self._known = 0  # bytes in the database at the last cleanup
        self._task: asyncio.Task[None] | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._full = asyncio.Event()  # cleanup is urgent
        self._closing = False

    def keep(self, size: int, make: Callable[[], Entry]) -> None:
        """Queue an exchange of about ``size`` bytes. Never waits and never raises."""
        if self._waiting + size > self._max_waiting:
            self._drop(1)
            return
        self._waiting += size
        self._entries.append((size, make))
        self._start()
        self._wake.set()

    async def find(self, id: str) -> bytes | None:
        """The document of an exchange; None if there is none with this id. Raises what the database raises."""
        from .history_queries import find

        return await find(await self._prepared(), id)

    async def search(self, words: Sequence[str], *, before: str | None, limit: int) -> list[bytes]:
        """The lines of exchanges with all these words, older than ``before``, newest first. Raises like ``find``."""
        from .history_queries import search

        return await search(await self._prepared(), words, before, limit)

    async def session(self, session: str) -> list[str]:
        """The ids of a session's exchanges, oldest first. Raises like ``find``."""
        from .history_queries import ids_of

        return await ids_of(await self._prepared(), session)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Write exchanges and delete old ones; at the end write all that are still waiting."""
        from . import history_queries  # noqa: F401 - it takes a while, which no request should wait for

        self._start()
        self._cleaner = asyncio.create_task(self._clean())
        try:
            yield
        finally:
            self._cleaner.cancel()
            with suppress(asyncio.CancelledError):
                await self._cleaner
            await self.aclose()

    async def aclose(self) -> None:
        """Write what is waiting, for a few seconds at most, and disconnect."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_LAST_SECONDS)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait((self._task,))
        if lost := len(self._entries) + len(self._batch):
            logger.error("the history can't be written: %d exchanges are lost at the end", lost)
        if self._engine is not None:
            with suppress(Exception):
                await self._engine.dispose()

    def _start(self) -> None:
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._write_all()
                self._tell_back()
                pause = _SHORTEST_PAUSE
            except Exception as error:
                self._tell_away(error)
                await asyncio.sleep(0.05 if self._closing else pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if self._closing and not self._entries:
                return
            self._wake.clear()
            if not self._entries:
                await self._wake.wait()
            if not self._closing:
                await asyncio.sleep(BATCH_SECONDS)

    async def _write_all(self) -> None:
        from .history_queries import insert

        engine = await self._prepared()
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

    async def _prepared(self) -> "AsyncEngine":
        from .database import make_engine, prepare

        if self._engine is None:
            self._engine = make_engine(self._url)
        if not self._ready:
            await prepare(self._engine)
            self._ready = True
        return self._engine

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
                self._known = await forget(await self._prepared(), before, self._max_bytes)
                self._written -= written
            except Exception as error:
                logger.debug("the history can't be cleaned: %s", reason(error))
                await asyncio.sleep(_LONGEST_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), _CLEANING_SECONDS)

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self._dropped == count:
            logger.warning("the history is written too slowly: exchanges are not kept until it is done")

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            logger.warning("the history can't be written: %s. It is tried again, which is not told", reason(error))

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            logger.warning("the history is written again")
        if self._dropped:
            logger.warning("%d exchanges were not kept in the history", self._dropped)
            self._dropped = 0


def _made(make: Callable[[], Entry]) -> "Values":
    from .history_queries import values_of

    return values_of(make())
