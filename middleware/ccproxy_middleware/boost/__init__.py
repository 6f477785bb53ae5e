"""Boost: a model without tools makes the plan, a model with tools executes it."""

from .cache import BoostCache, MemoryBoostCache
from .dialect import Dialect, dialect_of
from .middleware import BoostMiddleware
from .prompt import PLACEHOLDERS, Template
from .usage import Seen, Usage

__all__ = [
    "PLACEHOLDERS",
    "BoostCache",
    "BoostMiddleware",
    "Dialect",
    "MemoryBoostCache",
    "Seen",
    "Template",
    "Usage",
    "dialect_of",
]
