"""OpenAI Chat Completions: requests, answers, streams."""

from .content import (
    NO_OUTPUT,
    OMITTED,
    Attachments,
    Part,
    mark_cached,
    marked_error,
    result_parts,
    result_text,
    text_part,
    unsupported,
)
from .finish_reasons import check_finish_reason
from .messages import (
    BRIDGE,
    EARLIER_RESULT,
    FIRST_USER,
    NO_RESULT,
    arguments_json,
    call_id,
    claim_id,
    loop_start,
    user_turn,
    with_calls_as_text,
    without_results,
)
from .reasoning import chunks_text
from .request import convert_request
from .response import convert_response, upstream_error
from .stream import StreamConverter
from .streamed_calls import MAX_ARGUMENTS
from .think_tags import split_think_tags
from .tools import ToolConverter, convert_tool_choice, offered_tools
from .usage import convert_usage, find_usage, has_counts, service_tier

__all__ = [
    "BRIDGE",
    "EARLIER_RESULT",
    "FIRST_USER",
    "MAX_ARGUMENTS",
    "NO_OUTPUT",
    "NO_RESULT",
    "OMITTED",
    "Attachments",
    "Part",
    "StreamConverter",
    "ToolConverter",
    "arguments_json",
    "call_id",
    "check_finish_reason",
    "chunks_text",
    "claim_id",
    "convert_request",
    "convert_response",
    "convert_tool_choice",
    "convert_usage",
    "find_usage",
    "has_counts",
    "loop_start",
    "mark_cached",
    "marked_error",
    "offered_tools",
    "result_parts",
    "result_text",
    "service_tier",
    "split_think_tags",
    "text_part",
    "unsupported",
    "upstream_error",
    "user_turn",
    "with_calls_as_text",
    "without_results",
]
