"""Rows to write."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ccproxy_middleware.ledger import Row

NOW = datetime.now(UTC).replace(microsecond=0)


def row(number: int = 0, **fields: Any) -> Row:
    """A row that is like no other; ``number`` is in its ``total_ms``."""
    known: dict[str, Any] = {
        "time": NOW + timedelta(milliseconds=number),
        "session": "s-1",
        "class_": "main",
        "project": "shop",
        "key": "key 1",
        "upstream": "default",
        "model": "gpt-4o",
        "status": 200,
        "outcome": "complete",
        "input": 100,
        "cached": 20,
        "cache_write": 3,
        "output": 10,
        "cost": Decimal("0.000000125"),
        "total_ms": number,
        "provider_calls": 1,
    }
    return Row(**{**known, **fields})
