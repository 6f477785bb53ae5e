"""Tools for models that have none: described in the prompt, and called by a text."""

from .middleware import PromptedToolsMiddleware

__all__ = ["PromptedToolsMiddleware"]
