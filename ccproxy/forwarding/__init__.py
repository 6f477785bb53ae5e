"""The endpoint that sends requests to the provider, and its HTTP client."""

from .client import make_client
from .forward import Forward

__all__ = [
    "Forward",
    "make_client",
]
