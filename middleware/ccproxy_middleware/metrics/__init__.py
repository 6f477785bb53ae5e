"""Metrics of the exchanges, for Prometheus."""

from .middleware import MetricsMiddleware

__all__ = ["MetricsMiddleware"]
