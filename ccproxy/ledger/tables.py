"""The tables and their migrations. This module imports SQLAlchemy, so it is imported only if there is a database."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    insert,
    select,
)
from sqlalchemy import update as sql_update

from ccproxy_middleware.ledger import COLUMNS, Row

NANO = Decimal(1_000_000_000)
"""The unit of ``cost_nano``: a billionth of a dollar, so that sums are exact in every database."""

metadata = MetaData()

exchanges = Table(
    "cc_boost_exchanges",
    metadata,
    Column("id", String(32), primary_key=True),  # begins with the time
    Column("time_ms", BigInteger, nullable=False),
    Column("session", String(200)),
    Column("prompt", String(200)),
    Column("agent", String(200)),
    Column("parent_agent", String(200)),
    Column("class", String(200)),
    Column("project", String(200)),
    Column("key", String(200)),
    Column("tier", String(200)),
    Column("upstream", String(200)),
    Column("model", String(200)),
    Column("status", SmallInteger),
    Column("outcome", String(20)),
    Column("input", BigInteger),
    Column("cached", BigInteger),
    Column("cache_write", BigInteger),
    Column("output", BigInteger),
    Column("reasoning", BigInteger),
    Column("cost_nano", BigInteger),
    Column("first_ms", BigInteger),
    Column("total_ms", BigInteger),
    Column("provider_calls", Integer, nullable=False),
    Column("cache_break", String(100)),
    Index("cc_boost_exchanges_time", "time_ms"),
    Index("cc_boost_exchanges_session", "session", "time_ms"),
    Index("cc_boost_exchanges_key", "key", "time_ms", "cost_nano"),
)

history = Table(
    "cc_boost_history",
    metadata,
    Column("id", String(40), primary_key=True),  # begins with the time
    Column("time_ms", BigInteger, nullable=False),
    Column("session", Text),
    Column("size", BigInteger, nullable=False),  # total bytes of the columns below
    Column("words", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
    Column("document", LargeBinary, nullable=False),  # compressed
    Index("cc_boost_history_session", "session", "id"),
    Index("cc_boost_history_size", "id", "size"),
)

schema = Table("cc_boost_schema", metadata, Column("version", Integer, primary_key=True))


def _first_tables(connection: Connection) -> None:
    exchanges.create(connection, checkfirst=True)


def _with_history(connection: Connection) -> None:
    history.create(connection, checkfirst=True)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (_first_tables, _with_history)
"""The migrations from version n to n + 1. Only append to this list. Each must work even if it was applied before."""


class TooNew(Exception):
    """A later version of cc-boost has created the tables."""


def migrate(connection: Connection) -> None:
    """Migrate the tables in the transaction of ``connection``. No other transaction may run at the same time."""
    schema.create(connection, checkfirst=True)
    version = connection.execute(select(schema.c.version)).scalar()
    if version is None:
        version = 0
        connection.execute(insert(schema).values(version=0))
    if version > len(MIGRATIONS):
        raise TooNew(f"its tables are of version {version}, and this cc-boost knows {len(MIGRATIONS)}: update it")
    for step in MIGRATIONS[version:]:
        step(connection)
    if version < len(MIGRATIONS):
        connection.execute(sql_update(schema).values(version=len(MIGRATIONS)))


def values_of(row: Row) -> dict[str, Any]:
    """A row in the table's form."""
    time_ms = to_ms(row.time)
    values = {name: getattr(row, _ATTRIBUTES.get(name, name)) for name in COLUMNS if name not in ("time", "cost")}
    values["id"] = f"{time_ms:012x}{secrets.token_hex(10)}"
    values["time_ms"] = time_ms
    values["cost_nano"] = None if row.cost is None else int((row.cost * NANO).to_integral_value())
    return values


def row_of(values: Any) -> Row:
    """A row of the table, by column name."""
    known = {_ATTRIBUTES.get(name, name): values[name] for name in COLUMNS if name not in ("time", "cost")}
    return Row(time=from_ms(values["time_ms"]), cost=to_dollars(values["cost_nano"]), **known)


def to_ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def from_ms(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)


def to_dollars(nano: Any) -> Decimal | None:
    return None if nano is None else Decimal(nano) / NANO


_ATTRIBUTES = {"class": "class_"}
