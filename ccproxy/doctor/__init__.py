"""``cc-boost doctor``: what works with the provider, what does not, and what to do about it."""

from .command import run
from .probe import open_probe

__all__ = ["open_probe", "run"]
