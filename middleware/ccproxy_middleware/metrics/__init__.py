"""Counters of what passes, for Prometheus."""

from .middleware import MetricsMiddleware

__all__ = ["MetricsMiddleware"]
