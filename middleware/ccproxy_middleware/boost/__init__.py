"""Boost: a model without tools plans, a model with tools executes."""

from .cache import BoostCache, MemoryBoostCache
from .middleware import BoostMiddleware

__all__ = ["BoostCache", "BoostMiddleware", "MemoryBoostCache"]
