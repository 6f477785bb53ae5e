"""Refusals of too many tools get the remedy."""

import pytest

from ccproxy_middleware.conversion.providers.errors import error_from_payload
from ccproxy_middleware.conversion.providers.tool_limit import TOOL_LIMIT_REMEDY

# https://github.com/vishalmysore/Tools4AI/issues/16, https://github.com/google-gemini/gemini-cli/issues/19083,
# https://github.com/microsoft/vscode-copilot-release/issues/13065; the others are wordings of the same kind
TOO_MANY = [
    "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 325.",
    "tools[0].function_declarations: [FIELD_INVALID] At most 512 function declarations can be specified.",
    "You may not include more than 128 tools in your request.",
    "Too many tools: 150",
    "The maximum number of 64 tools is exceeded",
    "functions: maximum 128 items",
    "The number of tools (150) exceeds the limit 128",
    "工具数量超过上限 128",
]
OTHERS = [
    "Invalid 'messages[3].tool_calls': array too long. Expected an array with maximum length 128, but got 129.",
    "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead.",
    "tools[3].function.name: string too long",
    "string too long: tools[3].function.description exceeds 1024 characters",
    "This model does not support tools.",
]


@pytest.mark.parametrize("message", TOO_MANY)
def test_remedy_is_told_where_there_are_too_many_tools(message: str) -> None:
    error = error_from_payload({"error": {"message": message}}, 400)
    assert (error.status, error.message) == (400, f"{message} {TOOL_LIMIT_REMEDY}")


@pytest.mark.parametrize("message", OTHERS)
def test_other_refusals_have_none(message: str) -> None:
    assert error_from_payload({"error": {"message": message}}, 400).message == message
