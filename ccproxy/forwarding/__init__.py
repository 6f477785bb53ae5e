"""The endpoints that send requests to a provider, and their HTTP client."""

from .anthropic import AnthropicForward
from .client import make_client
from .forward import Forward

__all__ = [
    "AnthropicForward",
    "Forward",
    "make_client",
]
