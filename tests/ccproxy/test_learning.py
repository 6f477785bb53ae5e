"""A provider refuses a parameter: the proxy corrects the request and remembers it, over real sockets."""

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import Message, MessageParam
from starlette.types import Message as ASGIMessage
from starlette.types import Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware
from support.asgi import Answer, Inner, call, http_scope
from support.providers.scripted import Failure, Raw, Reply, ScriptedProvider, error_body
from support.serving.proxied import proxied
from support.streams.grammar import check_stream

MODEL = "claude-opus-4-8"
TOOL = {
    "name": "lookup",
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "additionalProperties": False,
    },
}


def parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = body["tools"][0]["function"]["parameters"]
    return schema


@dataclass(frozen=True)
class Refusal:
    """A provider that answers ``status`` and ``body`` to each request that is ``refused``."""

    name: str
    status: int
    body: Any
    refused: Callable[[dict[str, Any]], bool]
    option: Mapping[str, Any]
    request: Mapping[str, Any] = field(default_factory=dict)
    provider: str = "generic"
    options: Mapping[str, Any] = field(default_factory=dict)


def mistral(parameter: str) -> dict[str, Any]:
    problem = {"type": "extra_forbidden", "loc": ["body", parameter], "msg": "Extra inputs are not permitted"}
    return {"detail": [{**problem, "input": 1}]}


REFUSALS = [
    Refusal(
        "openai-max_tokens", 400,
        error_body(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter",
        ),
        lambda body: "max_tokens" in body, {"max_tokens_field": "max_completion_tokens"},
    ),
    Refusal(
        "mistral-max_completion_tokens", 422, mistral("max_completion_tokens"),
        lambda body: "max_completion_tokens" in body, {"max_tokens_field": "max_tokens"}, provider="openai",
    ),
    Refusal(
        "openai-temperature", 400,
        error_body(
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.", param="temperature", code="unsupported_value",
        ),
        lambda body: "temperature" in body, {"sampling": "drop"}, {"temperature": 0.2},
    ),
    Refusal(
        "openai-top_p", 400,
        error_body(
            "Unsupported parameter: 'top_p' is not supported with this model.", param="top_p",
            code="unsupported_parameter",
        ),
        lambda body: "top_p" in body, {"sampling": "drop"}, {"top_p": 0.9},
    ),
    Refusal(
        "mistral-stream_options", 422, mistral("stream_options"), lambda body: "stream_options" in body,
        {"stream_usage": False},
    ),
    Refusal(
        "azure-parallel_tool_calls", 400, error_body("Unrecognized request argument supplied: parallel_tool_calls"),
        lambda body: "parallel_tool_calls" in body, {"parallel_flag": False},
        {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "azure",
        {"api": "chat"},
    ),
    Refusal(
        "xai-reasoning_effort", 400,
        {"code": "invalid-argument", "error": "Model grok-build-0.1 does not support parameter reasoningEffort."},
        lambda body: "reasoning_effort" in body, {"efforts": []}, {"output_config": {"effort": "high"}}, "xai",
        {"efforts": ["low", "high"]},
    ),
    Refusal(
        "openai-tools-with-reasoning_effort", 400,
        error_body(
            "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.", param="reasoning_effort",
        ),
        lambda body: "tools" in body and body.get("reasoning_effort") != "none", {"tools_with_effort": "none"},
        {"tools": [TOOL], "output_config": {"effort": "high"}}, "openai",
        {"api": "chat", "efforts": ["none", "low", "high"]},
    ),
    Refusal(
        "deepseek-tool_choice", 400,
        error_body("Thinking mode does not support this tool_choice", code="invalid_request_error"),
        lambda body: body.get("tool_choice") not in (None, "auto"), {"forced_tool_choice": False},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
    ),
    Refusal(
        "gemini-schema", 400,
        [{"error": {
            "code": 400, "status": "INVALID_ARGUMENT",
            "message": 'Invalid JSON payload received. Unknown name "$schema" at '
            "'request.tools[0].function_declarations[0].parameters': Cannot find field.",
        }}],
        lambda body: "$schema" in parameters(body), {"schema_dialect": "gemini"}, {"tools": [TOOL]},
    ),
]  # fmt: skip


def refusing(*refusals: Refusal) -> ScriptedProvider:
    """A provider that takes a request only when nothing in it is refused."""

    def answer(body: dict[str, Any]) -> Failure | Raw | Reply:
        for refusal in refusals:
            if refusal.refused(body):
                return Raw([json.dumps(refusal.body).encode()], refusal.status, {"content-type": "application/json"})
        return Reply("Done.")

    return ScriptedProvider(answer)


def ask(url: str, stream: bool = True, request: Mapping[str, Any] = {}, model: str = MODEL) -> Message:
    hello: list[MessageParam] = [{"role": "user", "content": "hi"}]
    with Anthropic(base_url=url, api_key="k", max_retries=0, timeout=20) as client:
        if not stream:
            return client.messages.create(model=model, max_tokens=100, messages=hello, extra_body=request)
        with client.messages.stream(model=model, max_tokens=100, messages=hello, extra_body=request) as streamed:
            return streamed.get_final_message()


def lessons(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The options of each line that tells how to make a correction permanent."""
    lines = [record.getMessage() for record in caplog.records if "PROVIDER_OPTIONS=" in record.getMessage()]
    return [json.loads(line.partition("PROVIDER_OPTIONS=")[2]) for line in lines]


@pytest.mark.parametrize(
    ("refusal", "stream"),
    [
        pytest.param(refusal, stream, id=f"{refusal.name}-{'stream' if stream else 'json'}")
        for refusal in REFUSALS
        for stream in (True, False)
        if stream or refusal.option != {"stream_usage": False}  # only a stream has stream_options
    ],
)
def test_refused_request_is_corrected_once_and_the_next_one_at_once(
    refusal: Refusal, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    provider = refusing(refusal)
    with proxied(provider, provider=refusal.provider, provider_options=refusal.options) as url:
        for _ in range(3):
            message = ask(url, stream, refusal.request)
            assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Done."}]
            assert message.model == MODEL
    assert [refusal.refused(body) for body in provider.completions] == [True, False, False, False]
    assert lessons(caplog) == [{**refusal.options, **refusal.option}]


def test_refusals_of_one_request_are_corrected_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    several = [refusal for refusal in REFUSALS if refusal.provider == "generic"]
    provider = refusing(*several)
    request = {"tools": [TOOL], "tool_choice": {"type": "any"}, "temperature": 0.2}
    with proxied(provider, provider="generic") as url:
        ask(url, request=request)
        ask(url, request=request)
    assert len(provider.completions) == 7
    assert lessons(caplog) == [
        {
            "max_tokens_field": "max_completion_tokens", "sampling": "drop", "stream_usage": False,
            "forced_tool_choice": False, "schema_dialect": "gemini",
        }
    ]  # fmt: skip


def test_correction_holds_for_its_model_only() -> None:
    provider = refusing(REFUSALS[0])
    with proxied(provider, provider="generic") as url:
        ask(url)
        ask(url, model="claude-haiku-4-5")
    assert [("max_tokens" in body, body["model"]) for body in provider.completions] == [
        (True, "gpt-4o"), (False, "gpt-4o"), (True, "gpt-4o-mini"), (False, "gpt-4o-mini"),
    ]  # fmt: skip


def test_correction_overrules_an_option_that_the_provider_refuses(caplog: pytest.LogCaptureFixture) -> None:
    provider = refusing(REFUSALS[0])
    options = {"max_tokens_field": "max_tokens", "stream_usage": False}
    with proxied(provider, provider="generic", provider_options=options) as url:
        ask(url)
    assert "against the option max_tokens_field set here" in caplog.text
    assert lessons(caplog) == [{**options, "max_tokens_field": "max_completion_tokens"}]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
def test_client_gets_the_refusal_when_the_correction_does_not_help(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn = Refusal("stubborn", 400, REFUSALS[0].body, lambda body: True, {})
    provider = refusing(stubborn)
    with proxied(provider, provider="generic") as url:
        for _ in range(2):
            with pytest.raises(anthropic.BadRequestError, match="'max_tokens' is not supported with this model"):
                ask(url, stream)
    assert [("max_tokens" in body) for body in provider.completions] == [True, False] * 2
    assert lessons(caplog) == []


def test_client_gets_the_last_refusal_when_nothing_more_can_be_learned(caplog: pytest.LogCaptureFixture) -> None:
    other = Refusal("other", 400, error_body("The image could not be read."), lambda body: True, {})
    provider = refusing(REFUSALS[0], other)
    with proxied(provider, provider="generic") as url, pytest.raises(anthropic.BadRequestError, match="image"):
        ask(url)
    assert len(provider.completions) == 2
    assert lessons(caplog) == []


def test_provider_that_refuses_either_form_is_asked_once_in_each() -> None:
    provider = refusing(REFUSALS[0], REFUSALS[1])
    with proxied(provider, provider="generic") as url, pytest.raises(anthropic.BadRequestError):
        ask(url)
    assert len(provider.completions) == 2


def test_two_requests_at_once_both_learn_and_one_line_tells_of_it(caplog: pytest.LogCaptureFixture) -> None:
    both = threading.Barrier(2, timeout=10)
    provider = refusing(REFUSALS[0])
    with proxied(provider, provider="generic") as url, ThreadPoolExecutor(2) as pool:

        def run() -> Message:
            both.wait()
            return ask(url)

        answers = [future.result() for future in [pool.submit(run), pool.submit(run)]]
    assert len(answers) == 2
    assert len(lessons(caplog)) == 1


def test_stream_that_the_grace_has_begun_goes_on_after_the_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FormatConversionMiddleware, "first_event_grace", 0.05)
    monkeypatch.setattr(FormatConversionMiddleware, "ping_interval", 0.05)
    late = Raw([0.3, json.dumps(REFUSALS[0].body).encode()], 400, {"content-type": "application/json"})
    provider = ScriptedProvider(lambda body: late if "max_tokens" in body else Reply("Done.", delay=0.02))
    with proxied(provider, provider="generic") as url:
        message = ask(url)
        assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Done."}]
    assert len(provider.completions) == 2


def test_stream_that_the_grace_has_begun_ends_in_an_error_when_nothing_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FormatConversionMiddleware, "first_event_grace", 0.05)
    late = Raw([0.2, json.dumps(REFUSALS[0].body).encode()], 400, {"content-type": "application/json"})
    provider = ScriptedProvider(lambda body: late)
    with proxied(provider, provider="generic") as url, pytest.raises(anthropic.APIStatusError, match="max_tokens"):
        ask(url)
    assert len(provider.completions) == 2


# In process, where the moment can be chosen

REQUEST = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
COMPLETION = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
async def test_client_that_has_left_is_not_asked_for_again(stream: bool) -> None:
    calls = 0
    sent: list[ASGIMessage] = []
    messages: list[ASGIMessage] = [
        {"type": "http.request", "body": json.dumps({**REQUEST, "stream": stream}).encode()},
        {"type": "http.disconnect"},
    ]

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await Inner(json.dumps(REFUSALS[0].body).encode(), status=400)(scope, receive, send)
        await receive()

    async def receive() -> ASGIMessage:
        return messages.pop(0)

    async def send(message: ASGIMessage) -> None:
        sent.append(message)

    await FormatConversionMiddleware(inner)(http_scope("POST", "/v1/messages"), receive, send)
    assert (calls, sent) == (1, [])


@pytest.mark.anyio
async def test_corrections_of_one_request_are_bounded() -> None:
    names = ["max_tokens", "temperature", "stream_options", "safety_identifier", "service_tier", "stop"]
    asked: list[dict[str, Any]] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        asked.append(body)
        refused = next((name for name in names if name in body), None)
        if refused is None:
            raise AssertionError("asked too often")
        answer = Inner(json.dumps(error_body(f"Unknown parameter: '{refused}'.")).encode(), status=400)
        await answer(scope, receive_nothing, send)

    async def receive_nothing() -> ASGIMessage:
        return {"type": "http.request", "body": b""}

    request = {
        **REQUEST, "stream": True, "temperature": 0.1, "stop_sequences": ["END"], "service_tier": "auto",
        "metadata": {"user_id": "u"},
    }  # fmt: skip
    options = {"user_field": "safety_identifier", "service_tier": "pass"}
    app = FormatConversionMiddleware(inner, options=options)
    answer = await call(app, http_scope("POST", "/v1/messages"), request)
    assert answer.status == 400
    assert answer.json()["error"]["message"] == "Unknown parameter: 'stop'."
    assert len(asked) == 1 + app.max_corrections


@pytest.mark.anyio
async def test_correction_that_changes_nothing_is_not_tried() -> None:
    inner = Inner(json.dumps(error_body("Unknown parameter: 'temperature'.")).encode(), status=400)
    app = FormatConversionMiddleware(inner, options={"extra_body": {"temperature": 1}})
    answer = await call(app, http_scope("POST", "/v1/messages"), REQUEST)
    assert (answer.status, len(inner.scopes)) == (400, 1)


@pytest.mark.anyio
async def test_token_counts_and_stop_sequences_follow_the_correction() -> None:
    """What the answer's converters know is that of the corrected request."""
    stop = error_body("Unsupported parameter: 'stop' is not supported with this model.")
    answers = [(400, stop), (200, {"choices": [{**COMPLETION["choices"][0], "message": {"content": "one END two"}}]})]

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        status, body = answers.pop(0)
        await Inner(json.dumps(body).encode(), status=status)(scope, receive, send)

    request = {**REQUEST, "stop_sequences": ["END"], "stream": True}
    answer: Answer = await call(FormatConversionMiddleware(inner), http_scope("POST", "/v1/messages"), request)
    events = check_stream(answer.body)
    assert events[-2]["delta"]["stop_sequence"] == "END"
    assert [e["delta"]["text"] for e in events if e["type"] == "content_block_delta"] == ["one "]


def tools(schema: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"name": "f", "input_schema": schema, **more}]


def answer_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
STRING = {**CLOSED, "properties": {"q": {"type": "string", "minLength": 1}}, "required": ["q"]}


@pytest.mark.parametrize(
    ("provider", "words", "refused", "good", "odd", "look"),
    [
        pytest.param(
            "openai",
            "Invalid schema for response_format 'response': schema must be a JSON Schema of 'type: \"object\"'.",
            lambda body: '"array"' in json.dumps(body.get("response_format")),
            answer_format(CLOSED),
            answer_format({"type": "array"}),
            lambda body: body["response_format"]["type"],
            id="schema of the answer",
        ),
        pytest.param(
            "vllm",
            "The provided JSON schema contains features not supported by xgrammar.",
            lambda body: "patternProperties" in json.dumps(body) and body["tool_choice"] != "auto",
            {"tools": tools({"type": "object"}), "tool_choice": {"type": "tool", "name": "f"}},
            {"tools": tools({"type": "object", "patternProperties": {"^a": {}}}), "tool_choice": {"type": "any"}},
            lambda body: body["tool_choice"] != "auto",
            id="schema of a forced choice",
        ),
        pytest.param(
            "fireworks",
            "tool_choice 'required' is incompatible with thinking enabled",
            lambda body: body.get("tool_choice") == "required" and "reasoning_effort" in body,
            {"tools": tools({"type": "object"}), "tool_choice": {"type": "any"}},
            {
                "tools": tools({"type": "object"}),
                "tool_choice": {"type": "any"},
                "thinking": {"type": "enabled", "budget_tokens": 2000},
            },
            lambda body: body["tool_choice"],
            id="forced choice while thinking",
        ),
        pytest.param(
            "generic",
            "`temperature` and `top_p` cannot both be specified for this model.",
            lambda body: {"temperature", "top_p"} <= body.keys(),
            {"temperature": 0},
            {"temperature": 0.5, "top_p": 0.9},
            lambda body: body.get("temperature"),
            id="temperature beside top_p",
        ),
        pytest.param(
            "openai",
            "Invalid schema for function 'f': In context=('properties', 'q'), 'minLength' is not permitted.",
            lambda body: "minLength" in json.dumps(body) and '"strict": true' in json.dumps(body),
            {"tools": tools(CLOSED, strict=True)},
            {"tools": tools(STRING, strict=True)},
            lambda body: body["tools"][0]["function"].get("strict"),
            id="strict schema",
        ),
    ],
)
@pytest.mark.anyio
async def test_what_the_content_of_one_request_has_caused_changes_no_other(
    provider: str, words: str, refused: Any, good: dict[str, Any], odd: dict[str, Any], look: Any
) -> None:
    seen: list[dict[str, Any]] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        seen.append(body)
        await (Inner(json.dumps(error_body(words)).encode(), 400) if refused(body) else Inner(DONE))(
            scope, replay(body), send
        )

    app = FormatConversionMiddleware(inner, provider=provider)
    hello = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answers = [await call(app, http_scope("POST", "/v1/messages"), {**hello, **more}) for more in (good, odd, good)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(seen) >= 4
    assert look(seen[-1]) == look(seen[0])


DONE = json.dumps({
    "choices": [{"index": 0, "message": {"content": "{}"}, "finish_reason": "stop"}], "usage": {}
}).encode()  # fmt: skip


def refusal(words: str) -> Inner:
    return Inner(json.dumps(error_body(words)).encode(), 400)


def replay(body: Any) -> Receive:
    async def receive() -> ASGIMessage:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    return receive


@pytest.mark.anyio
async def test_correction_that_did_not_help_is_not_remembered() -> None:
    """The words name one parameter, and it is another one that the provider does not take."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        words = "Unsupported parameter: 'temperature', or unknown parameter: 'stop'"
        await (Inner(json.dumps(error_body(words)).encode(), 400) if "stop" in body else Inner(DONE))(
            scope, replay(body), send
        )

    corrections: list[Any] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/test-connection":
            corrections.append(scope["ccproxy.corrections"])
            return await Inner()(scope, receive, send)
        await inner(scope, receive, send)

    app = FormatConversionMiddleware(endpoint)
    hello = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    both = {**hello, "temperature": 0.5, "stop_sequences": ["x"]}
    assert (await call(app, http_scope("POST", "/v1/messages"), both)).status == 200
    await call(app, http_scope("GET", "/test-connection"))
    assert corrections[0].learned() == {"m": {"stop_limit": 0}}


def test_what_was_learned_can_be_seen_and_forgotten() -> None:
    provider = refusing(REFUSALS[0])
    with proxied(provider, provider="generic", big_model="big", small_model="small") as url:
        ask(url)
        shown = httpx.get(f"{url}/test-connection").json()
        assert shown["corrections"] == {"big": {"max_tokens_field": "max_completion_tokens"}}
        forgotten = httpx.delete(f"{url}/test-connection").json()
        assert forgotten == {"forgotten": shown["corrections"]}
        ask(url)
    refused = [REFUSALS[0].refused(body) for body in provider.completions if body["model"] == "big"]
    assert refused == [True, False, True, False]
