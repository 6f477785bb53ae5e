"""Every setting, how its text is read, and what the operator should know of it."""

from .settings import Settings

__all__ = ["Settings"]
