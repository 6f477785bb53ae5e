"""The usage and cost of every exchange: provider calls are metered, and each exchange becomes one row."""

from .meter import MeterMiddleware
from .middleware import LedgerMiddleware
from .row import COLUMNS, Row

__all__ = ["COLUMNS", "LedgerMiddleware", "MeterMiddleware", "Row"]
