"""A page that shows every exchange, with both sides of its conversion."""

from .history import Entry, History
from .middleware import InspectorMiddleware
from .usage import Budgets, Sum, Usage

__all__ = ["Budgets", "Entry", "History", "InspectorMiddleware", "Sum", "Usage"]
