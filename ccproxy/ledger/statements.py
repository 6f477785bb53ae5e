"""The INSERT statement in each database's dialect."""

from functools import cache
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from .tables import exchanges


@cache
def insert_of(dialect: str) -> Any:
    """An INSERT that skips existing rows."""
    make: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return make(exchanges).on_conflict_do_nothing(index_elements=["id"])
