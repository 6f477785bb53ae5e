"""A page that shows every exchange, with both sides of its translation."""

from .middleware import InspectorMiddleware

__all__ = ["InspectorMiddleware"]
