"""The database at ``LEDGER``: an engine for its URL, and up-to-date tables."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from .tables import migrate

BUSY_SECONDS = 10
"""How long one process waits for another that writes to the same file."""

_CONNECT_SECONDS = 5
_LOCK = 0x6363_6262  # for the migrations, in a Postgres server


def make_engine(url: str) -> AsyncEngine:
    """An engine for ``sqlite:///`` or ``postgresql://``. It does not connect yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": BUSY_SECONDS}, pool_size=2
        )
        event.listen(engine.sync_engine, "connect", _on_sqlite)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine
    return create_async_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=2,
        max_overflow=2,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"connect_timeout": _CONNECT_SECONDS},
    )


async def prepare(engine: AsyncEngine) -> None:
    """Create the file and the tables if they are missing, or migrate them. Raises what SQLAlchemy raises."""
    if is_sqlite(engine):
        await asyncio.to_thread(_make_file, Path(engine.url.database or ""))
    async with engine.begin() as connection:
        if not is_sqlite(engine):  # in SQLite the transaction itself excludes others
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(migrate)


def reading(connection: AsyncConnection) -> Any:
    """The connection for statements that only read. They don't wait for writers."""
    return connection.execution_options(isolation_level="AUTOCOMMIT")


def is_sqlite(engine: AsyncEngine) -> bool:
    return engine.dialect.name == "sqlite"


def _make_file(path: Path) -> None:
    """Create a file that only its owner may read, in an existing folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


def _on_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions explicitly
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    if connection.get_isolation_level() != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # else of two that have read first neither could write
