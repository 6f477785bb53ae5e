"""Boost: a model without tools plans, a model with tools executes."""

from .cache import BoostCache, MemoryBoostCache
from .middleware import BoostMiddleware
from .prompt import PLACEHOLDERS, Template

__all__ = ["PLACEHOLDERS", "BoostCache", "BoostMiddleware", "MemoryBoostCache", "Template"]
