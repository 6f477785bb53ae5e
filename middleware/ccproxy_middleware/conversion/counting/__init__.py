"""Tokens of text, images and documents."""

from .count_tokens import TokenCounter
from .document_reader import DocumentReader
from .documents import DocumentToRead, Unreadable, pdf_text
from .tokens import estimate_request, estimate_tokens

__all__ = [
    "DocumentReader",
    "DocumentToRead",
    "TokenCounter",
    "Unreadable",
    "estimate_request",
    "estimate_tokens",
    "pdf_text",
]
