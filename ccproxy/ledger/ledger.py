"""The ledger of a process."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import uniform
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ccproxy_middleware.ledger import Row

from .background import beside
from .groups import Group
from .records import SessionUsage
from .writer import MAX_ROWS, Writer, reason

if TYPE_CHECKING:
    pass

logger = logging.getLogger("ccproxy.ledger")

_CLEANING_SECONDS = 3600.0
_READING_SECONDS = 2.0  # that a request may wait for a sum
_FRESH_SECONDS = 1.0
_FIRST_WAIT = 3.0  # seconds that the start may wait for the database
_MAX_SUMS = 4096


@dataclass(slots=True)
class _Sum:
    """The amount spent according to the database. ``added``: this process's own cost counter at that time."""

    amount: Decimal
    added: Decimal
    until: float


class Ledger:
    """The database at ``url``: ``sqlite:///`` or ``postgresql://``. It is a Spending for budgets.

    days: how long rows are kept. It connects in its ``lifespan``, or at the first row if the lifespan isn't run. At the
    end of the lifespan all rows are written.
    """

    def __init__(self, url: str, *, days: int = 90, max_rows: int = MAX_ROWS) -> None:
        self.shown = shown_url(url)
        self._days = days
        self._writer = Writer(url, self.shown, max_rows=max_rows)
        self._sums: dict[tuple[str, datetime], _Sum] = {}
        self.write = self._writer.write

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Write rows after the answers and delete old ones; at the end write all rows."""
        from . import queries  # noqa: F401 - SQLAlchemy takes a while to import, which no request should wait for

        self._writer.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_WAIT):
                await self._writer.tried.wait()
        try:
            async with beside(self._clean()):
                yield
        finally:
            await self._writer.aclose()

    async def spent(self, key: str, since: datetime) -> Decimal:
        """US dollars spent with the key of this name since a time, by all processes; see the Spending of budgets.

        It includes this process's own costs at once, and those of others after about a second. While the database is
        unavailable, its last known sum is used.
        """
        writer, place = self._writer, (key, since)
        known = self._sums.get(place)
        added = writer.added.get(key, Decimal(0))
        if known is None or time.monotonic() > known.until:
            known = self._sums[place] = await self._sum(place, known, added)
            while len(self._sums) > _MAX_SUMS:
                del self._sums[next(iter(self._sums))]
        return known.amount + writer.added.get(key, Decimal(0)) - known.added

    async def _sum(self, place: tuple[str, datetime], known: _Sum | None, added: Decimal) -> _Sum:
        from .queries import spent

        key, since = place
        pending = self._writer.pending.get(key, Decimal(0))
        began = time.monotonic()
        try:
            async with asyncio.timeout(_READING_SECONDS):
                amount = await spent(self._writer.engine, key, since) + pending
        except Exception as error:
            logger.debug("the ledger can't be read: %s", reason(error))
            amount = added if known is None else known.amount + added - known.added
        took = time.monotonic() - began
        return _Sum(amount, added, time.monotonic() + max(_FRESH_SECONDS, 20 * took))

    async def session(self, id_: str) -> SessionUsage | None:
        """The usage of the session with this id; None if it is unknown. Raises what the database raises."""
        from .queries import session_usage

        return await session_usage(self._writer.engine, id_)

    async def groups(self, by: str, since: datetime | None = None, until: datetime | None = None) -> list[Group]:
        """Sums of rows by one of GROUPS: days in order, everything else by cost, highest first. Raises like
        ``session``.
        """
        from .queries import groups

        return await groups(self._writer.engine, by, since, until)

    async def rows(
        self, since: datetime | None = None, until: datetime | None = None, *, breaks: bool = False
    ) -> AsyncIterator[Row]:
        """The rows, oldest first; with ``breaks`` only those that have a ``cache_break``. Raises like ``session``."""
        from .queries import rows

        async for row in rows(self._writer.engine, since, until, breaks=breaks):
            yield row

    async def aclose(self) -> None:
        """Write what is waiting and disconnect. ``lifespan`` does this too."""
        await self._writer.aclose()

    async def _clean(self) -> None:
        """Delete old rows, now and every hour."""
        from .queries import forget

        while True:
            try:
                await asyncio.sleep(uniform(2, 10))  # noqa: S311 - so that workers don't do it together
                count = await forget(self._writer.engine, datetime.now(UTC) - timedelta(days=self._days))
                if count:
                    logger.info("the ledger: %d rows are older than %d days, and deleted", count, self._days)
            except Exception as error:
                logger.debug("old rows of the ledger can't be deleted: %s", reason(error))
            await asyncio.sleep(_CLEANING_SECONDS)


def shown_url(url: str) -> str:
    """A database's URL without its secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
