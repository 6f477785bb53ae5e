"""Removal of secrets from what is sent, shown or logged."""

from .events import EventRedactor
from .secrets import MIN_SECRET, MIN_SECRET_IN_TEXT, Secrets, header_secrets, known_secrets

__all__ = [
    "MIN_SECRET",
    "MIN_SECRET_IN_TEXT",
    "EventRedactor",
    "Secrets",
    "header_secrets",
    "known_secrets",
]
