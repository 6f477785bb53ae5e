"""Tokens of text, images and documents."""

from .count_tokens import TokenCounter
from .document_reader import DocumentReader
from .documents import DocumentToRead, Unreadable, pdf_text
from .output_estimate import OutputEstimate
from .tokens import (
    PER_MESSAGE,
    PER_REQUEST,
    PER_TOOL,
    WITH_TOOLS,
    count_request,
    estimate_request,
    estimate_tokens,
    part_tokens,
    tokenizer_count,
)

__all__ = [
    "PER_MESSAGE",
    "PER_REQUEST",
    "PER_TOOL",
    "WITH_TOOLS",
    "DocumentReader",
    "DocumentToRead",
    "OutputEstimate",
    "TokenCounter",
    "Unreadable",
    "count_request",
    "estimate_request",
    "estimate_tokens",
    "part_tokens",
    "pdf_text",
    "tokenizer_count",
]
