"""cc-boost: Claude Code, or any Anthropic client, with any OpenAI-compatible provider."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .forwarding import Forward
    from .settings import Settings

__all__ = ["Forward", "Settings", "create_app"]

# httpx imports its own command, and with it rich and pygments, where they are installed: 5 MB in every worker.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # "can't be imported", which httpx expects

_MODULES = {"create_app": ".app", "Forward": ".forwarding", "Settings": ".settings"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: ``cc-boost --version`` and the single modules do without the rest."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
