"""Tool calls in the text of an answer, in the formats of the models."""

from .answers import as_functions, text_calls
from .calls import Call
from .text import TextCalls

__all__ = ["Call", "TextCalls", "as_functions", "text_calls"]
