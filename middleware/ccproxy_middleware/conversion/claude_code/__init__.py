"""Answers that differ for Claude Code and no other client."""

from .final import told_at_once
from .words import is_final

__all__ = ["is_final", "told_at_once"]
