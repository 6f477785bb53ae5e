"""The state that the workers of all hosts share, at STATE_URL."""

from .state import SharedState

__all__ = ["SharedState"]
