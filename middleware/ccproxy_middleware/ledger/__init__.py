"""What every exchange has used and cost: the calls of providers are metered, and a row is made of each exchange."""

from .meter import MeterMiddleware
from .middleware import LedgerMiddleware
from .row import COLUMNS, Row

__all__ = ["COLUMNS", "LedgerMiddleware", "MeterMiddleware", "Row"]
