"""Which API the provider is asked by, and what happens where it wants the other one."""

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from ccproxy import Settings
from ccproxy.layers import conversion_options
from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.conversion.refused_reasoning import RefusedReasoning
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, call, http_scope
from support.responses_cases import MESSAGE, RESPONSE, CaseProvider, ask, frames
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

COMPLETION = {"choices": [{"index": 0, "message": {"content": "by chat"}, "finish_reason": "stop"}]}
BY_CHAT = {"response": COMPLETION}
BY_RESPONSES = {"response": RESPONSE}
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TOOLS = [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


def refused(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return {"error": {"status": status, "body": body}}


def failed(message: str, code: str | None = None) -> dict[str, Any]:
    """A stream that fails before it has begun."""
    response = {**RESPONSE, "status": "failed", "output": [], "error": {"code": code, "message": message}}
    begun = {**response, "status": "in_progress", "error": None}
    return {
        "events": [{"type": "response.created", "response": begun}, {"type": "response.failed", "response": response}]
    }


def request(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}


async def asked(
    answers: Sequence[Mapping[str, Any]], body: dict[str, Any], provider: str = "openai", **options: Any
) -> tuple[list[str], Answer, FormatConversionMiddleware]:
    """The paths that were asked, and the client's answer."""
    upstream = CaseProvider(answers, {})
    app = FormatConversionMiddleware(upstream, provider=provider, options=options)
    answer = await ask(app, body, {})
    return [path for path, _ in upstream.asked], answer, app


@pytest.mark.parametrize(
    ("provider", "model", "path"),
    [
        ("openai", "gpt-5", RESPONSES),
        ("openai", "vendor/gpt-5.6-pro", RESPONSES),
        ("openai", "GPT-10", RESPONSES),
        ("openai", "o4-mini", RESPONSES),
        ("openai", "codex-mini-latest", RESPONSES),
        ("openai", "computer-use-preview", RESPONSES),
        ("openai", "gpt-4o", CHAT),
        ("openai", "gpt-35-turbo", CHAT),
        ("openai", "o1-mini", CHAT),
        ("openai", "gpt-5-search-preview", CHAT),
        ("openai", "gpt-realtime", CHAT),
        ("openai", "anything", CHAT),
        ("azure", "gpt-5.4", RESPONSES),
        ("xai", "grok-4.5", RESPONSES),
        ("xai", "grok-3", CHAT),
        ("generic", "gpt-5.6", CHAT),
        ("openrouter", "openai/gpt-5.6", CHAT),
    ],
)
async def test_api_by_provider_and_model(provider: str, model: str, path: str) -> None:
    answer = BY_RESPONSES if path == RESPONSES else BY_CHAT
    paths, got, _ = await asked([answer], request(model=model), provider)
    assert (paths, got.status) == ([path], 200)
    assert got.headers["x-upstream-model"] == model


@pytest.mark.parametrize(
    ("url", "options", "api"),
    [
        ("https://n.openai.azure.com/openai/v1", {}, None),
        ("https://n.openai.azure.com/openai/v1/", {}, None),
        ("https://n.openai.azure.com/openai/deployments/d", {}, "chat"),
        ("https://n.openai.azure.com/openai/deployments/d", {"api": "responses"}, "responses"),
        ("https://api.openai.com/v1", {}, None),
    ],
)
def test_azures_url_tells_the_api(url: str, options: dict[str, Any], api: str | None) -> None:
    settings = Settings.explicit(openai_api_key="k", openai_base_url=url, provider_options=options)
    assert conversion_options(settings).get("api") == api


ELSEWHERE = {
    "a path that is not there": ([refused(404, "Not Found"), BY_CHAT], "gpt-5.6", [RESPONSES, CHAT]),
    "a method that is not there": ([refused(405, ""), BY_CHAT], "gpt-5.6", [RESPONSES, CHAT]),
    "nothing of the kind": ([refused(501, "Not implemented"), BY_CHAT], "gpt-5.6", [RESPONSES, CHAT]),
    "not by this API": ([refused(400, "x is not supported by the Responses API"), BY_CHAT], "o3", [RESPONSES, CHAT]),
    "only in responses": (
        [refused(404, "This model is only supported in v1/responses"), BY_RESPONSES],
        "m",
        [CHAT, RESPONSES],
    ),
    "not a chat model": (
        [
            refused(404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint."),
            BY_RESPONSES,
        ],
        "m",
        [CHAT, RESPONSES],
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_other_api_is_asked_at_once_and_from_then_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    answers, model, paths = ELSEWHERE[name]
    upstream = CaseProvider([*answers, answers[-1]], {})
    app = FormatConversionMiddleware(upstream, provider="openai")
    for _ in range(2):
        assert (await ask(app, request(model=model), {})).status == 200
    assert [path for path, _ in upstream.asked] == [*paths, paths[-1]]
    told = [record.message for record in caplog.records if '{"api":' in record.message]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused(404, "The model `gpt-5.6` does not exist"), "does not exist"),
        (refused(404, "No such thing", "model_not_found"), "No such thing"),
        (refused(400, "Bad input"), "Bad input"),
        (refused(401, "Wrong key", "invalid_api_key"), "Wrong key"),
    ],
)
async def test_answer_about_the_model_or_the_request_is_no_reason_to_ask_elsewhere(
    answer: dict[str, Any], words: str
) -> None:
    paths, got, _ = await asked([answer], request(model="gpt-5.6"))
    assert paths == [RESPONSES]
    assert words in got.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_first_refusal_is_told_where_the_other_api_does_not_answer(stream: bool) -> None:
    answers = [refused(404, "first"), refused(400, "second"), refused(404, "first"), refused(400, "second")]
    upstream = CaseProvider(answers, {})
    app = FormatConversionMiddleware(upstream, provider="openai")
    for _ in range(2):  # and nothing is remembered
        answer = await ask(app, request(model="gpt-5.6", stream=stream), {})
        assert (answer.status, answer.json()["error"]["message"]) == (400, "first")
    assert [path for path, _ in upstream.asked] == [RESPONSES, CHAT] * 2


async def test_gentler_correction_follows_where_the_other_api_is_not_there() -> None:
    words = (
        "Function tools with reasoning_effort are not supported for x in /v1/chat/completions. Please use /v1/responses"
    )
    upstream = CaseProvider([refused(400, words), refused(404, "Not Found"), BY_CHAT, BY_CHAT], {})
    app = FormatConversionMiddleware(upstream, provider="openai")
    body = request(tools=TOOLS, output_config={"effort": "high"})
    for _ in range(2):
        assert (await ask(app, body, {})).status == 200
    assert [path for path, _ in upstream.asked] == [CHAT, RESPONSES, CHAT, CHAT]
    assert [sent.get("reasoning_effort") for _, sent in upstream.asked] == ["high", None, "none", "none"]


@pytest.mark.parametrize(
    ("api", "answer"),
    [
        ("responses", refused(404, "Not Found")),
        ("chat", refused(404, "This model is only supported in v1/responses")),
    ],
)
async def test_nothing_is_switched_where_the_api_is_set(api: str, answer: dict[str, Any]) -> None:
    paths, got, _ = await asked([answer], request(model="gpt-5.6"), api=api)
    assert len(paths) == 1
    assert f"(api is {api} here" in got.json()["error"]["message"]


async def test_failure_before_the_start_of_a_stream_asks_elsewhere_too() -> None:
    streamed = {"reads": [b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n']}
    answers = [failed("This model is not supported by the Responses API."), streamed]
    paths, answer, _ = await asked(answers, request(model="gpt-5.6", stream=True))
    assert paths == [RESPONSES, CHAT]
    check_stream(answer.body)


async def test_provider_that_goes_on_after_its_failure_is_left(caplog: pytest.LogCaptureFixture) -> None:
    stopped = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await BufferedBody.read(scope, receive, 1 << 20)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == RESPONSES:
            try:
                [first, second] = frames(failed("Not supported by the Responses API")["events"], {})
                await send({"type": "http.response.body", "body": first + second, "more_body": True})
                await anyio.sleep_forever()
            finally:
                stopped.append(scope["path"])
        body = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
        await send({"type": "http.response.body", "body": body})

    app = FormatConversionMiddleware(upstream, provider="openai")
    with anyio.fail_after(10):
        answer = await ask(app, request(model="gpt-5.6", stream=True), {})
    assert stopped == [RESPONSES]
    check_stream(answer.body)


async def test_failure_after_the_start_is_no_second_try() -> None:
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": "hi"}
    error = {"type": "error", "code": "server_error", "message": "Not supported by the Responses API"}
    paths, answer, _ = await asked([{"events": [text, error]}], request(model="gpt-5.6", stream=True))
    assert paths == [RESPONSES]
    assert check_stream(answer.body)[-1]["error"]["type"] == "api_error"


REFUSED_LATE = "Unsupported parameter: 'temperature' is not supported with this model."
CHAT_READS = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    b'data: {"error":{"message":"%s","type":"invalid_request_error"}}\n\n' % REFUSED_LATE.encode(),
]
RESPONSES_READS = frames(
    [
        {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}},
        {"type": "error", "code": "invalid_request_error", "message": REFUSED_LATE},
    ],
    {},
)
CHAT_STREAM: dict[str, Any] = {
    "reads": [b'data: {"choices":[{"index":0,"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n']
}
RESPONSES_STREAM: dict[str, Any] = {"events": [{"type": "response.completed", "response": RESPONSE}]}
AGAIN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stream": (CHAT_STREAM, RESPONSES_STREAM),
    "whole": (BY_CHAT, BY_RESPONSES),
    "error": (refused(401, "Wrong key"), refused(401, "Wrong key")),
    "refusal": (
        refused(400, "The prompt was filtered.", "content_filter"),
        refused(400, "The prompt was filtered.", "content_filter"),
    ),
}


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("silent", [False, True], ids=["", "silent"])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
@pytest.mark.parametrize("again", AGAIN)
async def test_message_start_goes_out_once_where_a_stream_is_asked_for_again(
    api: str, silent: bool, together: bool, again: str
) -> None:
    """The stream that was refused may have begun for the client or not: both in one read, it has not."""
    reads = CHAT_READS if api == "chat" else RESPONSES_READS
    refusal = {"reads": [b"".join(reads)] if together else reads}
    answers: list[Mapping[str, Any]] = [refusal, AGAIN[again][api == "responses"]]
    upstream = CaseProvider(answers, {})
    first = True

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal first
        if silent and first:
            await client_started.wait()
        first = False
        await upstream(scope, receive, send)

    class Impatient(FormatConversionMiddleware):
        first_event_grace = 0.01 if silent else 10.0

    client_started = anyio.Event()
    app = Impatient(slow, provider="openai", options={"api": api})
    sent = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Any) -> None:
            sent.append(message["type"])
            client_started.set()
            await send(message)

        await app(scope, receive, note)

    answer = Answer()
    with contextlib.suppress(StreamAborted):
        await call(noting, http_scope("POST", "/v1/messages"), request(stream=True, temperature=1), answer=answer)
    assert ["temperature" in body for _, body in upstream.asked] == [True, False]
    if again == "error" and answer.status != 200:
        assert (answer.status, sent) == (502, ["http.response.start", "http.response.body"])
        return
    events = check_stream(answer.body)
    assert [event["type"] for event in events].count("message_start") == 1
    ends = {"error": "error", "stream": "message_stop", "whole": "message_stop", "refusal": "message_stop"}
    assert events[-1]["type"] == ends[again]


CORRECTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "include": ({}, "Encrypted content is not supported with this model.", "include"),
    "summary": (
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        "Your organization must be verified to generate reasoning summaries. Please go to: https://platform",
        "reasoning.summary",
    ),
    "temperature": ({"temperature": 0.5}, "Unsupported parameter: 'temperature' is not supported", "temperature"),
    "tier": ({"service_tier": "auto"}, "Unknown parameter: 'service_tier'.", "service_tier"),
    "obfuscation": ({"stream": True}, "Unknown parameter: 'stream_options.include_obfuscation'.", "stream_options"),
    "user": ({"metadata": {"user_id": "u"}}, "Unsupported parameter: 'safety_identifier'", "safety_identifier"),
    "effort": (
        {"output_config": {"effort": "low"}},
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
        "reasoning.effort",
    ),
}


@pytest.mark.parametrize("early", ["http", "failed"])
@pytest.mark.parametrize("name", CORRECTED)
async def test_refused_parameter_is_left_out(name: str, early: str) -> None:
    fields, words, parameter = CORRECTED[name]
    stream = fields.get("stream", False)
    if early == "failed" and not stream:
        refusal: dict[str, Any] = {"response": {**RESPONSE, "status": "failed", "error": {"message": words}}}
    else:
        refusal = failed(words) if early == "failed" else refused(400, words)
    done = {"events": [{"type": "response.completed", "response": RESPONSE}]} if stream else BY_RESPONSES
    upstream = CaseProvider([refusal, done, done], {})
    app = FormatConversionMiddleware(upstream, provider="openai", options={"api": "responses"})
    for _ in range(2):
        assert (await ask(app, request(**fields), {})).status == 200
    head, _, tail = parameter.partition(".")
    there = [tail in (body.get(head) or ()) if tail else head in body for _, body in upstream.asked]
    assert there == [True, False, False]


async def test_list_of_efforts_is_learned() -> None:
    words = "Unsupported value: 'max' is not supported with the 'm' model. Supported values are: 'low' and 'high'."
    upstream = CaseProvider([refused(400, words), BY_RESPONSES], {})
    app = FormatConversionMiddleware(upstream, provider="openai", options={"api": "responses"})
    await ask(app, request(output_config={"effort": "max"}), {})
    assert [body["reasoning"]["effort"] for _, body in upstream.asked] == ["max", "high"]


def test_refused_reasoning_is_remembered_within_bounds(caplog: pytest.LogCaptureFixture) -> None:
    known = RefusedReasoning()
    with caplog.at_level(logging.WARNING):
        known.add(map(str, range(10_050)))
        known.add(["last"])
    assert len(caplog.records) == 1
    assert "last" in known
    assert "10049" in known
    assert "0" not in known


@pytest.mark.parametrize(
    ("answer", "expected"), [({"input_tokens": 77}, 77), ({"object": "x"}, None)], ids=["counts", "fails"]
)
async def test_provider_counts_by_the_switch(answer: dict[str, Any], expected: int | None) -> None:
    upstream = CaseProvider([{"response": answer}], {})
    options = {"api": "responses", "count_tokens": "upstream"}
    app = FormatConversionMiddleware(upstream, provider="openai", options=options)
    body = {"model": "m", "system": "S", "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS}
    got = await call(app, http_scope("POST", "/v1/messages/count_tokens"), json.dumps(body).encode())
    [(path, sent)] = upstream.asked
    assert path == "/v1/responses/input_tokens"
    assert set(sent) == {"model", "input", "instructions", "tools"}
    assert got.json()["input_tokens"] == expected or (expected is None and got.json()["input_tokens"] > 5)


async def test_llama_cpp_counts_a_chat_body_also_where_responses_is_used() -> None:
    upstream = CaseProvider([{"response": {"prompt": "p"}}, {"response": {"tokens": [1, 2, 3]}}], {})
    options = {"api": "responses", "count_tokens": "llama.cpp"}
    app = FormatConversionMiddleware(upstream, provider="llama.cpp", options=options)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    got = await call(app, http_scope("POST", "/v1/messages/count_tokens"), body)
    assert got.json() == {"input_tokens": 3}
    assert upstream.asked[0][0] == "/apply-template"
    assert "messages" in upstream.asked[0][1]


async def test_rate_limits_are_told() -> None:
    upstream = CaseProvider([], {})
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    upstream.answers = [{"error": {"status": 200, "headers": headers, "body": {**RESPONSE, "output": [MESSAGE]}}}]
    app = FormatConversionMiddleware(upstream, provider="openai", options={"api": "responses"})
    got = await ask(app, request(), {})
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "59"
