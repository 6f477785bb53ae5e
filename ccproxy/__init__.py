"""cc-boost: Claude Code, or any Anthropic client, with any OpenAI-compatible provider."""

from .app import create_app
from .forward import Forward
from .settings import Settings

__all__ = ["Forward", "Settings", "create_app"]
