"""The command ``cc-boost``."""

from .cli import main

__all__ = [
    "main",
]
