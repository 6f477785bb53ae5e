"""An exchange that was saved as a test case passes the tests that the conformance cases pass."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import anyio.to_thread
import pytest

from conversion.chat import test_request_cases, test_response_cases
from conversion.providers import test_errors
from support.providers.scripted import Answer, Chunks, Failure, Raw, Reply, ScriptedProvider, ToolCall, error_body
from support.responses_cases import differences
from support.serving.inspected import MESSAGE, Inspected, client, inspected
from support.serving.proxied import proxy

TOOL = {"name": "Read", "description": "Read a file", "input_schema": {"type": "object", "properties": {}}}
FULL: dict[str, Any] = {
    **MESSAGE, "max_tokens": 30_000, "tools": [TOOL], "top_k": 3,
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "system": [{"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}}],
}  # fmt: skip
CALL = ToolCall("Read", {"path": "a"})
CALL_WITHOUT_ID = {"index": 0, "function": {"name": "Read", "arguments": "{}"}}
NO_ID = {"choices": [{"index": 0, "delta": {"tool_calls": [CALL_WITHOUT_ID]}}]}
TEXT = b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}'
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
LIMITS = {"retry-after": "7", "x-ratelimit-limit-requests": "500", "x-ratelimit-reset-requests": "6s"}

ANSWERS: list[tuple[str, Answer]] = [
    ("text", Reply("Hello, you")),
    ("thinking", Reply("Yes", reasoning=["I ", "think"])),
    ("tool", Reply("Look:", [CALL, CALL])),
    ("length", Reply("cut", finish_reason="length")),
    ("refused", Failure(429, error_body("Rate limit reached", code="rate_limit_exceeded"), LIMITS)),
    ("broken", Failure(500, "<html>oops</html>")),
]
STREAMS: list[tuple[str, Answer]] = [
    ("no-id", Chunks([NO_ID, END])),
    ("comment", Raw([b": hi\n\ndata: " + TEXT[:20], TEXT[20:] + b"\n\n"])),
    ("no-json", Raw([b"data: " + TEXT + b"\n\ndata: busy\n\n"])),
]
Running: TypeAlias = tuple[ScriptedProvider, Inspected]
RUN = {
    "request": test_request_cases.test_request_case,
    "response": test_response_cases.test_response_case,
    "stream": test_response_cases.test_stream_case,
    "error": test_errors.test_error_is_the_expected_one_when_upstream_answers_as_in_the_case,
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    provider = ScriptedProvider([], allow=["reasoning", "usage"])
    with inspected(provider, provider="openrouter", provider_options={"sampling": "drop"}) as inspector:
        yield provider, inspector


@pytest.mark.parametrize(
    ("answer", "stream"),
    [pytest.param(answer, stream, id=f"{name}-{'stream' if stream else 'json'}")
     for name, answer in ANSWERS for stream in (False, True)]
    + [pytest.param(answer, True, id=name) for name, answer in STREAMS],
)  # fmt: skip
def test_saved_case_passes(running: Running, answer: Answer, stream: bool) -> None:
    provider, inspector = running
    provider.add(answer)
    inspector.ask({**FULL, "stream": stream})
    cases = [inspector.last("case"), inspector.last("case?of=answer")]
    assert [case.status_code for case in cases] == [200, 200], cases[1].text
    for case in cases:
        document = case.json()
        assert document["profile"]["base"] == "openrouter"
        assert case.headers["content-disposition"] == f'attachment; filename="{document["name"]}.json"'
        RUN[document["kind"]](document)
    assert cases[0].json()["kind"] == "request"
    assert cases[0].json()["expected"]["max_tokens"] == 4096


@pytest.fixture(scope="module")
def by_responses() -> Iterator[Running]:
    provider = ScriptedProvider([])
    with inspected(provider, provider="openai", big_model="gpt-5.6", max_tokens_limit=4096) as inspector:
        yield provider, inspector


SEPARATOR = Raw([b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n: hi\n\ndata: busy\n\n",
                 b"data: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n"])  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "stream"),
    [pytest.param(answer, stream, id=f"{name}-{'stream' if stream else 'json'}")
     for name, answer in ANSWERS for stream in (False, True)] + [pytest.param(SEPARATOR, True, id="no-json")],
)  # fmt: skip
async def test_saved_case_of_responses_passes(by_responses: Running, answer: Answer, stream: bool) -> None:
    provider, inspector = by_responses
    provider.add(answer)
    await anyio.to_thread.run_sync(inspector.ask, {**FULL, "stream": stream})
    for part in ("case", "case?of=answer"):
        case = await anyio.to_thread.run_sync(inspector.last, part)
        assert case.status_code == 200, case.text
        document = case.json()
        assert document["profile"]["overrides"]["api"] == "responses"
        assert await differences(document) == []


@pytest.mark.parametrize(
    ("body", "path", "of", "reason"),
    [
        ({"model": "m"}, "/v1/messages", "request", "nothing was asked"),
        (MESSAGE, "/v1/messages/count_tokens", "answer", "no request of the Messages API"),
    ],
)
def test_exchange_without_both_sides_makes_no_case(body: Any, path: str, of: str, reason: str) -> None:
    with inspected(ScriptedProvider()) as inspector:
        inspector.ask(body, path)
        case = inspector.last(f"case?of={of}")
    assert case.status_code == 409
    assert reason in case.json()["error"]["message"]


def test_failure_of_our_own_makes_no_answer_case() -> None:
    with proxy("http://127.0.0.1:9", inspector=True, max_retries=0) as url, client(url, None) as inspector:
        assert inspector.ask(MESSAGE).status_code == 502
        case = inspector.last("case?of=answer")
    assert case.status_code == 409
    assert "the provider gave no answer" in case.json()["error"]["message"]
