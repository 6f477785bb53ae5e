"""The endpoint that sends requests to the provider, and its HTTP client."""

from .forward import Forward

__all__ = [
    "Forward",
]
