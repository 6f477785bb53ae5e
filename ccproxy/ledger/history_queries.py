"""Statements that write and read the history's table."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ccproxy_middleware.inspector import Entry

from .database import reading
from .tables import history, to_ms

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Values: TypeAlias = dict[str, Any]

_LEVEL = 5
_MAX_DOCUMENT = 512 * 1024 * 1024  # maximum bytes of an uncompressed document
_AT_ONCE = 500  # rows deleted per transaction
_ROOM = 0.95  # the fraction of the size limit that a cleanup leaves

c = history.c


def values_of(entry: Entry) -> Values:
    """An entry as a row of the table, with its document compressed."""
    document = zstd.compress(entry.document, _LEVEL)
    words = _text(entry.words)
    return {
        "id": entry.id,
        "time_ms": round(entry.time * 1000),
        "session": None if entry.session is None else _text(entry.session),
        "size": len(document) + len(entry.line) + len(words.encode()),
        "words": words,
        "line": entry.line,
        "document": document,
    }


async def insert(engine: AsyncEngine, batch: Sequence[Values]) -> None:
    """Insert entries. Existing ones, left by a write whose confirmation was lost, are skipped."""
    if not batch:
        return
    make: Any = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    async with engine.begin() as connection:
        await connection.execute(make(history).on_conflict_do_nothing(index_elements=["id"]), list(batch))


async def find(engine: AsyncEngine, id_: str) -> bytes | None:
    """A document, uncompressed."""
    async with engine.connect() as connection:
        found = await (await _reading(connection)).execute(select(c.document).where(c.id == _text(id_)))
        document = found.scalar()
    return None if document is None else await asyncio.to_thread(_plain, bytes(document))


async def search(engine: AsyncEngine, words: Sequence[str], before: str | None, limit: int) -> list[bytes]:
    """The lines with all these lower-case words, newest first."""
    query = select(c.line).order_by(c.id.desc()).limit(limit)
    for word in words:
        query = query.where(c.words.contains(_text(word), autoescape=True))
    if before is not None:
        query = query.where(c.id < _text(before))
    async with engine.connect() as connection:
        return [bytes(line) for line in (await (await _reading(connection)).execute(query)).scalars()]


async def ids_of(engine: AsyncEngine, session: str) -> list[str]:
    """The ids of a session, oldest first."""
    query = select(c.id).where(c.session == _text(session)).order_by(c.id)
    async with engine.connect() as connection:
        return list((await (await _reading(connection)).execute(query)).scalars())


async def forget(engine: AsyncEngine, before: datetime, max_bytes: int) -> int:
    """Delete entries from before a time, then the oldest ones until the size limit holds. Returns the remaining
    bytes.
    """
    await _delete(engine, c.time_ms < to_ms(before))
    async with engine.connect() as connection:
        total = int((await (await _reading(connection)).execute(select(func.sum(c.size)))).scalar() or 0)
    wanted = max_bytes if total <= max_bytes else _ROOM * max_bytes
    while total > wanted:
        async with engine.connect() as connection:
            oldest = select(c.id, c.size).order_by(c.id).limit(_AT_ONCE)
            rows = (await (await _reading(connection)).execute(oldest)).all()
        if not rows:
            return 0
        going = 0
        while going < len(rows) and total > wanted:
            total -= rows[going][1]
            going += 1
        await _delete(engine, c.id <= rows[going - 1][0])
    return total


async def _delete(engine: AsyncEngine, condition: Any) -> None:
    old = select(c.id).where(condition).limit(_AT_ONCE)
    while True:
        async with engine.begin() as connection:
            count = (await connection.execute(delete(history).where(c.id.in_(old)))).rowcount
        if count < _AT_ONCE:
            return


async def _reading(connection: AsyncConnection) -> AsyncConnection:
    made: AsyncConnection = await reading(connection)
    return made


def _plain(document: bytes) -> bytes:
    unpacking = zstd.ZstdDecompressor()
    return bytes(unpacking.decompress(document, _MAX_DOCUMENT))


def _text(text: str) -> str:
    """Text that every database accepts: without zero bytes and unpaired surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
