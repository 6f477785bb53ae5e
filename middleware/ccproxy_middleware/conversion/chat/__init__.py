"""OpenAI Chat Completions: requests, answers, streams."""

from .finish_reasons import check_finish_reason
from .messages import FIRST_USER, NO_RESULT
from .reasoning import chunks_text
from .request import convert_request
from .response import convert_response, upstream_error
from .stream import StreamConverter
from .think_tags import split_think_tags
from .tools import ToolConverter
from .usage import convert_usage, find_usage

__all__ = [
    "FIRST_USER",
    "NO_RESULT",
    "StreamConverter",
    "ToolConverter",
    "check_finish_reason",
    "chunks_text",
    "convert_request",
    "convert_response",
    "convert_usage",
    "find_usage",
    "split_think_tags",
    "upstream_error",
]
