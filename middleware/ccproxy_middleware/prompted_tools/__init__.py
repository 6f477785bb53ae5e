"""Tools for models without tool calling: described in the prompt, and called by text in the answer."""

from .middleware import PromptedToolsMiddleware

__all__ = ["PromptedToolsMiddleware"]
