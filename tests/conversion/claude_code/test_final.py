"""Refusals in the form that Claude Code shows at once, unless it acts on their words."""

from typing import Any

import orjson
import pytest

from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.conversion.claude_code import is_final, told_at_once
from support.asgi import Inner, call, http_scope
from support.clients.client_words import WORDS

pytestmark = pytest.mark.anyio

CLAUDE_CODE = {"user-agent": "claude-cli/2.1.332 (external, sdk-cli)"}
REQUEST = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
REFUSED = "Field 'frobnicate' of tool 3 was refused."


ACTED_ON = [
    *(row.words for row in WORDS),
    "prompt is too long: 210000 tokens > 200000 maximum",
    "This model's maximum context length is 128000 tokens.",
    "Input is too long.",
    "capability_rejected: media_budget",
    "tools.3: Input tag 'advisor_20260301' found using 'type' does not match any of the expected tags: 'custom'",
    "tools.0.cache_control: Extra inputs are not permitted",
    "safeguards: Extra inputs are not permitted",
    "messages.4.content.2.document.source: not a document",
    "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after",
    "The PDF specified is password protected.",
]


@pytest.mark.parametrize("message", ACTED_ON)
def test_words_on_which_the_client_acts_are_not_final(message: str) -> None:
    assert not is_final(message)


@pytest.mark.parametrize(
    "message",
    [
        REFUSED,
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 150.",
        "tools.0: server tool 'web_search_20250305' is not supported by this endpoint",
        "Unsupported value: 'temperature' does not support 0.2 with this model.",
        "",
    ],
)
def test_any_other_words_are_final(message: str) -> None:
    assert is_final(message)


ERROR = {"message": REFUSED, "type": "invalid_request_error"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, orjson.dumps({"error": ERROR})) for status in (200, 401, 402, 404, 413, 429, 500, 529)),
        (400, orjson.dumps({"error": {**ERROR, "details": {"error_code": "thread"}}})),
        *((400, body) for body in (b"", b"<html>", b"[]", b"{}", b'{"error":"no"}', b'{"error":{"message":7}}')),
    ],
)
async def test_answer_of_another_kind_passes_as_it_is(status: int, body: bytes) -> None:
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    send = told_at_once({"headers": [(b"user-agent", b"claude-cli/2.1.332")]}, keep)
    messages: list[Any] = [
        {"type": "http.response.start", "status": status, "headers": []},
        {"type": "http.response.body", "body": body},
    ]
    for message in messages:
        await send(message)
    assert sent == messages


@pytest.mark.parametrize("agent", ["claude-cli/2.1.332 (external, cli)", "claude-cli/2.1.330 (external, sdk-py)"])
@pytest.mark.parametrize("stream", [True, False])
async def test_refusal_of_the_provider_is_final_for_claude_code(agent: str, stream: bool) -> None:
    answer = await refused({**REQUEST, "stream": stream}, {"user-agent": agent})
    assert answer == (424, "invalid_request_error", REFUSED)


@pytest.mark.parametrize("headers", [{}, {"user-agent": "Anthropic/Python 0.70"}, {"user-agent": "x claude-cli/2"}])
async def test_other_clients_get_the_plain_form(headers: dict[str, str]) -> None:
    assert await refused(REQUEST, headers) == (400, "invalid_request_error", REFUSED)


async def test_forbidden_model_is_final_for_claude_code_whatever_the_words() -> None:
    words = "Your key has no access to this model: its context window is for others"
    assert await refused(REQUEST, CLAUDE_CODE, words, 403) == (424, "permission_error", words)
    assert await refused(REQUEST, {}, words, 403) == (403, "permission_error", words)


async def test_refusal_of_the_conversion_is_final_for_claude_code() -> None:
    request = {**REQUEST, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    status, type_, message = await refused(request, CLAUDE_CODE)
    assert (status, type_) == (424, "invalid_request_error")
    assert "server_tools" in message


async def refused(
    request: dict[str, Any], headers: dict[str, str], words: str = REFUSED, status: int = 400
) -> tuple[int, str, str]:
    inner = Inner(orjson.dumps({"error": {"message": words}}), status)
    answer = await call(FormatConversionMiddleware(inner), http_scope("POST", "/v1/messages", headers), request)
    error = answer.json()["error"]
    return answer.status, error["type"], error["message"]


async def test_claude_codes_own_headers_stay_here() -> None:
    inner = Inner(b'{"choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}')
    headers = {"x-claude-code-request-class": "main", "x-claude-1p-request-class": "main", "x-kept": "1"}
    await call(FormatConversionMiddleware(inner), http_scope("POST", "/v1/messages", headers), REQUEST)
    names = [name.decode() for name, _ in inner.scopes[0]["headers"]]
    assert "x-kept" in names
    assert [name for name in names if name.startswith("x-claude-")] == []
