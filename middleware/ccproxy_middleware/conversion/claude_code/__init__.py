"""What Claude Code alone is told otherwise than other clients."""

from .final import told_at_once
from .words import is_final

__all__ = ["is_final", "told_at_once"]
