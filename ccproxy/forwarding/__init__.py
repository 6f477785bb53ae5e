"""The endpoints that send requests to a provider, and their HTTP client."""

from .anthropic import AnthropicForward
from .client import make_client
from .forward import Forward
from .wording import failure_reason

__all__ = [
    "AnthropicForward",
    "Forward",
    "failure_reason",
    "make_client",
]
