"""Rows on their way to the database: queued in memory and written in batches after the answers."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ccproxy_middleware.ledger import Row

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger("ccproxy.ledger")

BATCH_SECONDS = 0.25
"""How long a row may wait for other rows of its batch."""

MAX_ROWS = 20_000
"""The rows kept while the database is unavailable; about 30 megabytes."""

_BATCH = 500  # rows per transaction
_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0  # seconds between two attempts
_LAST_SECONDS = 8.0  # seconds to write what is left at the end


class Writer:
    """Writes rows to the database of ``engine``, which ``prepare`` sets up.

    Requests never wait for it. While the database is unavailable, at most ``max_rows`` rows stay in memory; then the
    oldest are dropped.
    """

    def __init__(self, connect: Callable[[], "AsyncEngine"], name: str, *, max_rows: int = MAX_ROWS) -> None:
        self._connect = connect
        self._name = name  # the database's URL without secrets
        self._max_rows = max_rows
        self._rows: deque[Row] = deque()
        self._batch: list[dict[str, Any]] = []  # being written
        self._engine: AsyncEngine | None = None
        self._ready = False
        self._away = False
        self._dropped = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self.tried = asyncio.Event()  # it is known whether the database is available
        self.pending: dict[str, Decimal] = {}  # costs by key, of rows not yet in the database
        self.added: dict[str, Decimal] = {}  # costs by key, of all rows

    @property
    def engine(self) -> "AsyncEngine":
        """The engine, which connects on first use."""
        if self._engine is None:
            self._engine = self._connect()
        return self._engine

    @property
    def waiting(self) -> int:
        """The number of rows that are not yet in the database."""
        return len(self._rows) + len(self._batch)

    def write(self, row: Row) -> None:
        """Queue a row. Never waits and never raises."""
        self._rows.append(row)
        if row.key is not None and row.cost:
            self.added[row.key] = self.added.get(row.key, Decimal(0)) + row.cost
            self.pending[row.key] = self.pending.get(row.key, Decimal(0)) + row.cost
        if len(self._rows) > self._max_rows:
            self._settle(self._rows.popleft())
            self._dropped += 1
        if self._task is None:
            self.start()
        elif not self._wake.is_set() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def start(self) -> None:
        """Start writing in the running event loop, unless that has been done."""
        if self._task is None and not self._closing:
            with suppress(RuntimeError):  # a host without an event loop
                self._loop = asyncio.get_running_loop()
                self._wake.set()
                self._task = self._loop.create_task(self._run())

    async def aclose(self) -> None:
        """Write what is left, for a few seconds at most, and disconnect."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_LAST_SECONDS)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait((self._task,))
        self._tell_dropped()
        if self.waiting:
            logger.error("the ledger %s can't be reached: %d rows are lost at the end", self._name, self.waiting)
        if self._engine is not None:
            with suppress(Exception):
                await self._engine.dispose()

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._write_all()
                self._is_back()
                self.tried.set()
                pause = _SHORTEST_PAUSE
            except Exception as error:
                self._is_away(error)
                self.tried.set()
                await self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if self._closing and not self.waiting:
                return
            self._wake.clear()
            if not self._rows:
                await self._wake.wait()
            await self._sleep(BATCH_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        """Wait, but only briefly at the end."""
        if self._closing:
            return await asyncio.sleep(min(seconds, 0.05) if self._away else 0)
        await asyncio.sleep(seconds)

    async def _write_all(self) -> None:
        from .database import prepare

        if not self._ready:
            await prepare(self.engine)
            self._ready = True
        while self.waiting:
            if not self._batch:
                from .tables import values_of

                self._batch = [values_of(self._rows.popleft()) for _ in range(min(_BATCH, len(self._rows)))]
            await self._write_batch()
            for values in self._batch:
                self._settle_values(values)
            self._batch = []

    async def _write_batch(self) -> None:
        from sqlalchemy.exc import DataError, IntegrityError

        try:
            await self._insert(self._batch)
        except (DataError, IntegrityError):
            for values in self._batch:  # a row that the database rejects must not block the others
                try:
                    await self._insert([values])
                except (DataError, IntegrityError) as error:
                    logger.error("the ledger does not take a row: %s", type(error.orig or error).__name__)

    async def _insert(self, batch: list[dict[str, Any]]) -> None:
        """Insert rows. Existing ones, left by a write whose confirmation was lost, are skipped."""
        from .statements import insert_of

        async with self.engine.begin() as connection:
            await connection.execute(insert_of(connection.dialect.name), batch)

    def _settle(self, row: Row) -> None:
        if row.key is not None and row.cost:
            self._less(row.key, row.cost)

    def _settle_values(self, values: dict[str, Any]) -> None:
        if values["key"] is not None and values["cost_nano"]:
            self._less(values["key"], Decimal(values["cost_nano"]) / 1_000_000_000)

    def _less(self, key: str, cost: Decimal) -> None:
        left = self.pending.get(key, Decimal(0)) - cost
        if left > 0:
            self.pending[key] = left
        else:
            self.pending.pop(key, None)

    def _is_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            logger.warning(
                "the ledger %s can't be written: %s. Up to %d rows are kept in memory until it can; this is not told "
                "again",
                *(self._name, reason(error), self._max_rows),
            )

    def _is_back(self) -> None:
        if self._away:
            self._away = False
            logger.warning("the ledger %s is written again", self._name)
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        if self._dropped:
            logger.error("the ledger %s was away for too long: %d rows are lost", self._name, self._dropped)
            self._dropped = 0


def reason(error: Exception) -> str:
    """What is wrong with a database, without the contents of its URL or of a statement."""
    original = getattr(error, "orig", None) or error
    words = str(original).strip().splitlines()
    return f"{type(original).__name__}: {words[0][:200]}" if words else type(original).__name__
