"""The endpoints that send requests to a provider, and their HTTP client."""

from .anthropic import AnthropicForward
from .forward import Forward

__all__ = [
    "AnthropicForward",
    "Forward",
]
