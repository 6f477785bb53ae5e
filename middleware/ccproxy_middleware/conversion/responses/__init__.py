"""OpenAI Responses: requests, answers, streams. The client's side, and what chat completions has in common, is
shared.
"""

from .corrections import find_responses_correction, reasoning_refused
from .counting import count_request as count_responses
from .ends import answer_notes, answer_usage, error_of_http, error_of_response
from .output_items import CALLS, message_parts
from .request import convert_request as convert_responses_request
from .response import convert_response as convert_responses_answer
from .stream import StreamConverter as ResponsesConverter

__all__ = [
    "CALLS",
    "ResponsesConverter",
    "answer_notes",
    "answer_usage",
    "convert_responses_answer",
    "convert_responses_request",
    "count_responses",
    "error_of_http",
    "error_of_response",
    "find_responses_correction",
    "message_parts",
    "reasoning_refused",
]
