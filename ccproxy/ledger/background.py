"""Writing to the database after the answers: queued in memory, and repeated until the database takes it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_BATCH_SECONDS = 0.25  # how long something may wait for others of its batch
_SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Seconds between two attempts, at most."""

_PAUSE_AT_END = 0.05
_LAST_SECONDS = 8.0  # seconds to write what is left at the end


class BackgroundWriter:
    """The base of what is written to the database at ``url`` in a task of its own. Requests never wait for it.

    A subclass keeps the queue: it calls :meth:`wake` for each new item, and writes the items in :meth:`_write_all`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None
        self._ready = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._away = False
        self.tried = asyncio.Event()  # it is known whether the database is available

    @property
    def engine(self) -> "AsyncEngine":
        """The engine, which connects on first use."""
        if self._engine is None:
            from .database import make_engine

            self._engine = make_engine(self._url)
        return self._engine

    async def prepared(self) -> "AsyncEngine":
        """The engine of a database whose tables are up to date. Raises what SQLAlchemy raises."""
        from .database import prepare

        if not self._ready:
            await prepare(self.engine)
            self._ready = True
        return self.engine

    def start(self) -> None:
        """Start writing in the running event loop, unless that has been done."""
        if self._task is None and not self._closing:
            with suppress(RuntimeError):  # a host without an event loop
                self._loop = asyncio.get_running_loop()
                self._wake.set()
                self._task = self._loop.create_task(self._run())

    def wake(self) -> None:
        """There is something new to write. Any thread may call it."""
        if self._task is None:
            self.start()
        elif not self._wake.is_set() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def aclose(self) -> None:
        """Write what is left, for a few seconds at most, and disconnect."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_LAST_SECONDS)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait((self._task,))
        self._report_end()
        if self._engine is not None:
            with suppress(Exception):
                await self._engine.dispose()

    @property
    def waiting(self) -> int:
        """The number of items that are not yet in the database."""
        raise NotImplementedError

    async def _write_all(self) -> None:
        """Write all items that wait. What fails must still be there for the next attempt."""
        raise NotImplementedError

    def _report_away(self, error: Exception) -> None:
        """The database has become unavailable."""
        raise NotImplementedError

    def _report_written(self, *, back: bool) -> None:
        """All is written. ``back``: the database was unavailable before."""
        raise NotImplementedError

    def _report_end(self) -> None:
        """Nothing is written any more."""
        raise NotImplementedError

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._write_all()
            except Exception as error:
                if not self._away:
                    self._away = True
                    self._report_away(error)
                self.tried.set()
                await asyncio.sleep(_PAUSE_AT_END if self._closing else pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            back, self._away = self._away, False
            self._report_written(back=back)
            self.tried.set()
            pause = _SHORTEST_PAUSE
            if self._closing and not self.waiting:
                return
            self._wake.clear()
            if not self.waiting:
                await self._wake.wait()
            if not self._closing:
                await asyncio.sleep(_BATCH_SECONDS)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the work in a task as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
