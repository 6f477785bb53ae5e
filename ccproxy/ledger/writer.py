"""Rows on their way to the database: queued in memory and written in batches after the answers."""

import logging
from collections import deque
from decimal import Decimal
from typing import Any

from ccproxy_middleware.ledger import Row

from .background import BackgroundWriter

logger = logging.getLogger("ccproxy.ledger")

MAX_ROWS = 20_000
"""The rows kept while the database is unavailable; about 30 megabytes."""

_BATCH = 500  # rows per transaction


class Writer(BackgroundWriter):
    """Writes rows.

    While the database is unavailable, at most ``max_rows`` rows stay in memory; then the oldest are dropped.
    """

    def __init__(self, url: str, name: str, *, max_rows: int = MAX_ROWS) -> None:
        super().__init__(url)
        self._name = name  # the database's URL without secrets
        self._max_rows = max_rows
        self._rows: deque[Row] = deque()
        self._batch: list[dict[str, Any]] = []  # being written
        self._dropped = 0
        self.pending: dict[str, Decimal] = {}  # costs by key, of rows not yet in the database
        self.added: dict[str, Decimal] = {}  # costs by key, of all rows

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
        self.wake()

    async def _write_all(self) -> None:
        await self.prepared()
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

    def _report_away(self, error: Exception) -> None:
        logger.warning(
            "the ledger %s can't be written: %s. Up to %d rows are kept in memory until it can; this is not told again",
            *(self._name, reason(error), self._max_rows),
        )

    def _report_written(self, *, back: bool) -> None:
        if back:
            logger.warning("the ledger %s is written again", self._name)
        self._tell_dropped()

    def _report_end(self) -> None:
        self._tell_dropped()
        if self.waiting:
            logger.error("the ledger %s can't be reached: %d rows are lost at the end", self._name, self.waiting)

    def _tell_dropped(self) -> None:
        if self._dropped:
            logger.error("the ledger %s was away for too long: %d rows are lost", self._name, self._dropped)
            self._dropped = 0


def reason(error: Exception) -> str:
    """What is wrong with a database, without the contents of its URL or of a statement."""
    original = getattr(error, "orig", None) or error
    words = str(original).strip().splitlines()
    return f"{type(original).__name__}: {words[0][:200]}" if words else type(original).__name__
