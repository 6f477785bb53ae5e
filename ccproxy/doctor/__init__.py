"""``cc-boost doctor``: what works with the provider, what does not, and what to do about it."""

from .command import run

__all__ = ["run"]
