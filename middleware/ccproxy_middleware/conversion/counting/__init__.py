"""Tokens of text, images and documents."""

from .count_tokens import TokenCounter
from .document_reader import DocumentReader
from .documents import DocumentToRead, Unreadable, pdf_text
from .output_estimate import OutputEstimate
from .pdf_process import PdfProcess, has_python
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
    "PdfProcess",
    "TokenCounter",
    "Unreadable",
    "count_request",
    "estimate_request",
    "estimate_tokens",
    "has_python",
    "part_tokens",
    "pdf_text",
    "tokenizer_count",
]
