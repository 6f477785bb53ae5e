"""Statements that read the tables."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ccproxy_middleware.ledger import Row

from .database import reading
from .groups import Group
from .records import SessionUsage, is_main
from .tables import exchanges, from_ms, row_of, to_dollars, to_ms

_BUCKET_MS = 15 * 60 * 1000  # in every time zone, days begin at a multiple of a quarter of an hour
_AT_ONCE = 5000  # rows deleted per transaction
_PAGE = 2000

c = exchanges.c


async def spent(engine: AsyncEngine, key: str, since: datetime) -> Decimal:
    """The sum of all known costs."""
    query = select(func.sum(c.cost_nano)).where(c.key == key, c.time_ms >= to_ms(since))
    async with engine.connect() as connection:
        found = (await (await reading(connection)).execute(query)).scalar()
    return to_dollars(found) or Decimal(0)


async def session_usage(engine: AsyncEngine, id_: str) -> SessionUsage | None:
    """A session's usage; None if it has no row."""
    sums = select(*_sums()).where(c.session == id_)
    rows = select(exchanges).where(c.session == id_).order_by(c.time_ms.desc())
    answered = rows.where(c.provider_calls > 0, c.status < 400, or_(c["class"] == "main", c["class"].is_(None)))
    async with engine.connect() as connection:
        read = await reading(connection)
        total = (await read.execute(sums)).mappings().one()
        if not total["requests"]:
            return None
        newest = (await read.execute(rows.limit(1))).mappings().first()
        last = (await read.execute(answered.limit(1))).mappings().first()
    usage = SessionUsage(
        requests=total["requests"],
        cost=to_dollars(total["cost_nano"]) or Decimal(0),
        unpriced=int(total["unpriced"]),
        input=int(total["input"]),
        cached=int(total["cached"]),
        cache_write=int(total["cache_write"]),
        output=int(total["output"]),
        key=None if newest is None else newest["key"],
    )
    if last is not None and is_main(last["class"]):
        usage.model, usage.upstream = last["model"], last["upstream"]
        usage.prompt = sum(last[name] or 0 for name in ("input", "cached", "cache_write"))
    return usage


async def groups(engine: AsyncEngine, by: str, since: datetime | None, until: datetime | None = None) -> list[Group]:
    """The sums of the rows by a column, or by ``day`` in this machine's time zone, in order."""
    by_day = by == "day"
    place: ColumnElement[Any] = c.time_ms // _BUCKET_MS if by_day else c[by]
    query = _between(select(place.label("place"), *_sums()), since, until).group_by(place)
    found: dict[str | None, Group] = {}
    async with engine.connect() as connection:
        for line in (await (await reading(connection)).execute(query)).mappings():
            name = _local_day(line["place"]) if by_day else line["place"]
            group = _group(None if name is None else str(name), line)
            if group.name in found:
                found[group.name].add(group)
            else:
                found[group.name] = group
    if by_day:
        return [found[name] for name in sorted(found, key=str)]
    return sorted(found.values(), key=lambda group: (-group.cost, -group.input - group.output, str(group.name)))


async def rows(
    engine: AsyncEngine, since: datetime | None, until: datetime | None = None, *, breaks: bool = False
) -> AsyncIterator[Row]:
    """The rows themselves, oldest first. ``breaks``: only those with a ``cache_break``."""
    last = ""
    while True:
        query = _between(select(exchanges), since, until).where(c.id > last).order_by(c.id).limit(_PAGE)
        if breaks:
            query = query.where(c.cache_break.is_not(None))
        async with engine.connect() as connection:
            page = (await (await reading(connection)).execute(query)).mappings().all()
        for line in page:
            yield row_of(line)
        if len(page) < _PAGE:
            return
        last = page[-1]["id"]


async def forget(engine: AsyncEngine, before: datetime) -> int:
    """Delete the rows from before a time. Returns how many there were."""
    old = select(c.id).where(c.time_ms < to_ms(before)).limit(_AT_ONCE)
    total = 0
    while True:
        async with engine.begin() as connection:
            count = (await connection.execute(delete(exchanges).where(c.id.in_(old)))).rowcount
        total += count
        if count < _AT_ONCE:
            return total


def _between(query: Select[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    if since is not None:
        query = query.where(c.time_ms >= to_ms(since))
    return query if until is None else query.where(c.time_ms < to_ms(until))


def _sums() -> Sequence[ColumnElement[Any]]:
    counts = [
        func.coalesce(func.sum(c[name]), 0).label(name)
        for name in ("input", "cached", "cache_write", "output", "reasoning")
    ]
    unpriced = (c.cost_nano.is_(None)) & (c.provider_calls > 0)
    return (
        func.count().label("requests"),
        func.coalesce(func.sum(case((c.status >= 400, 1), else_=0)), 0).label("failed"),
        *counts,
        func.sum(c.cost_nano).label("cost_nano"),
        func.count(c.cost_nano).label("priced"),
        func.coalesce(func.sum(case((unpriced, 1), else_=0)), 0).label("unpriced"),
    )


def _group(name: str | None, line: Any) -> Group:
    counts = ("requests", "failed", "input", "cached", "cache_write", "output", "reasoning", "priced", "unpriced")
    return Group(name, **{n: int(line[n]) for n in counts}, cost=to_dollars(line["cost_nano"]) or Decimal(0))


def _local_day(bucket: int) -> str:
    return from_ms(int(bucket) * _BUCKET_MS).astimezone().date().isoformat()
