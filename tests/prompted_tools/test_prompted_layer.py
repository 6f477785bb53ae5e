"""PromptedToolsMiddleware alone in front of an app of each API, and what it learns."""

import gzip
import json
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, PromptedToolsMiddleware
from ccproxy_middleware.toolkit.record import Record, observe
from support.asgi import Answer, Inner, call, http_scope
from support.providers.toolless import REFUSAL, Toolless, call_text
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

PROMPTED = {"tools": "prompted"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
PATHS = {"anthropic": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
SPOILED = '<tool_call>{"name": "weather", "arguments": {"city": "Os\nlo"}}</tool_call>'
OSLO = [("weather", {"city": "Oslo", "days": 2})]


def tools(api: str) -> list[dict[str, Any]]:
    function = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
    return {
        "anthropic": [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}],
        "chat": [{"type": "function", "function": function}],
        "responses": [{"type": "function", **function}],
    }[api]


def request(api: str, question: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": question}
    if api == "responses":
        parts = [{"type": "input_text", "text": question}]
        return {"model": "m", "input": [{**message, "type": "message", "content": parts}], "tools": tools(api), **more}
    return {"model": "m", "max_tokens": 100, "messages": [message], "tools": tools(api), **more}


def told(api: str, answer: Answer, stream: bool) -> tuple[str, list[tuple[str, Any]], Any, Any]:
    """The text of an answer, its calls, why it ends, and its output tokens."""
    if not stream:
        return _whole(api, answer.json())
    if api == "anthropic":
        events = check_stream(answer.body)
        blocks: list[dict[str, Any]] = []
        for event in events:
            if event["type"] == "content_block_start":
                blocks.append({**event["content_block"], "json": ""})
            elif event["type"] == "content_block_delta":
                blocks[-1]["text"] = blocks[-1].get("text", "") + event["delta"].get("text", "")
                blocks[-1]["json"] += event["delta"].get("partial_json", "")
        for block in blocks:
            block["input"] = json.loads(block["json"] or "{}")
        end = events[-2]
        return _whole(api, {"content": blocks, "usage": end["usage"], "stop_reason": end["delta"]["stop_reason"]})
    events = [
        json.loads(d)
        for part in answer.body.decode().split("\n\n")
        if (d := part.rpartition("data: ")[2]) not in ("", "[DONE]")
    ]
    if api == "chat":
        assert answer.body.endswith(b"data: [DONE]\n\n")
        choices = [choice for event in events for choice in event["choices"]]
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
        message = {"content": "".join(c["delta"].get("content") or "" for c in choices), "tool_calls": calls}
        usage = next(event["usage"] for event in events if event.get("usage"))
        return _whole(
            api, {"choices": [{"message": message, "finish_reason": choices[-1]["finish_reason"]}], "usage": usage}
        )
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    last = events[-1]["response"]
    assert last["output"] == done
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [
        *range(len(done))
    ]
    whole = _whole(api, last)
    assert whole[0] == text
    return whole


def _whole(api: str, data: Any) -> tuple[str, list[tuple[str, Any]], Any, Any]:
    if api == "anthropic":
        text = "".join(block["text"] for block in data["content"] if block["type"] == "text")
        calls = [(block["name"], block["input"]) for block in data["content"] if block["type"] == "tool_use"]
        return text, calls, data["stop_reason"], data["usage"]["output_tokens"]
    if api == "chat":
        (choice,) = data["choices"]
        functions = [call["function"] for call in choice["message"].get("tool_calls") or ()]
        text = choice["message"]["content"] or ""
        reason = choice["finish_reason"]
        return (
            text,
            [(f["name"], json.loads(f["arguments"])) for f in functions],
            reason,
            data["usage"]["completion_tokens"],
        )
    text = "".join(part["text"] for item in data["output"] if item["type"] == "message" for part in item["content"])
    calls = [(i["name"], json.loads(i["arguments"])) for i in data["output"] if i["type"] == "function_call"]
    return text, calls, data["status"], data["usage"]["output_tokens"]


ENDS = {"anthropic": ("tool_use", "end_turn"), "chat": ("tool_calls", "stop"), "responses": ("completed", "completed")}


@pytest.fixture(params=PATHS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def ask(layer: Any, api: str, question: str, stream: bool, **more: Any) -> Answer:
    body = request(api, question, stream=stream, **more)
    if api == "chat" and stream:
        body["stream_options"] = {"include_usage": True}
    return await call(layer, http_scope("POST", PATHS[api]), body, chunks=3)


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_call_in_the_text_is_a_call_of_the_clients_api(api: str, stream: bool, size: int) -> None:
    provider = Toolless(lambda _: f"I look.\n{call_text('weather', city='Oslo', days='2')}\n", size=size)
    layer = PromptedToolsMiddleware(provider, options=PROMPTED)
    answer = await ask(layer, api, "How is it?", stream)
    assert told(api, answer, stream) == ("I look.\n", OSLO, ENDS[api][0], 4)
    (body,) = provider.bodies
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
    line = json.dumps({"name": "weather", "description": "The weather.", "parameters": SCHEMA}, separators=(",", ":"))
    system = body.get("system") or body.get("instructions") or body["messages"][0]["content"]
    assert f"<tools>\n{line}\n</tools>" in system


async def test_call_alone_is_all_of_the_answer(api: str, stream: bool) -> None:
    layer = PromptedToolsMiddleware(Toolless(lambda _: call_text("weather", city="Oslo", days=2) * 2), options=PROMPTED)
    assert told(api, await ask(layer, api, "How is it?", stream), stream) == ("", OSLO * 2, ENDS[api][0], 4)


@pytest.mark.parametrize(
    "text",
    [
        "Sunny.",
        "You write `<tool_call>`.",
        "```\n" + call_text("weather") + "\n```",
        call_text("other"),
        "<tool_call>{",
        " ",
    ],
)
async def test_text_stays_text(api: str, stream: bool, text: str) -> None:
    provider = Toolless(lambda _: text, size=3)
    answer = await ask(PromptedToolsMiddleware(provider, options=PROMPTED), api, "How is it?", stream)
    assert told(api, answer, stream) == (text, [], ENDS[api][1], 4)
    assert len(provider.bodies) == 1


async def test_spoiled_call_is_asked_for_once_more(api: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    provider = Toolless(
        lambda asked: call_text("weather", city="Oslo", days=2) if "can't be read" in asked else f"So.\n{SPOILED}"
    )
    answer = await ask(PromptedToolsMiddleware(provider, options=PROMPTED), api, "How is it?", stream)
    assert told(api, answer, stream) == ("So.\n", OSLO, ENDS[api][0], 8)
    first, second = (body.get("messages") or body["input"] for body in provider.bodies)
    assert second[: len(first)] == first
    assert SPOILED.replace("\n", "\\n") in json.dumps(second[-2], ensure_ascii=False).replace('\\"', '"')
    assert [message["role"] for message in second[-2:]] == ["assistant", "user"]
    assert [record.getMessage().rpartition(" (")[0] for record in caplog.records] == [
        "the model's call can't be read, and was written again"
    ]


@pytest.mark.parametrize("again", [SPOILED, "Sorry.", "", call_text("other")])
async def test_second_failure_stays_text(api: str, stream: bool, again: str) -> None:
    provider = Toolless(lambda asked: again if "can't be read" in asked else f"So.\n{SPOILED}\n")
    answer = await ask(PromptedToolsMiddleware(provider, options=PROMPTED), api, "How is it?", stream)
    assert told(api, answer, stream) == (f"So.\n{SPOILED}\n", [], ENDS[api][1], 8)
    assert len(provider.bodies) == 2


async def test_refused_second_request_leaves_the_first_answer(api: str, stream: bool) -> None:
    class Refusing(Toolless):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if self.bodies:
                return await Inner(b'{"error": {"message": "busy"}}', 429)(scope, receive, send)
            await super().__call__(scope, receive, send)

    answer = await ask(PromptedToolsMiddleware(Refusing(lambda _: SPOILED), options=PROMPTED), api, "How?", stream)
    assert told(api, answer, stream) == (SPOILED, [], ENDS[api][1], 4)


CHOICES = [
    ("auto", "auto", "auto", ""),
    ({"type": "any"}, "required", "required", "Your next answer must call a tool."),
    (
        {"type": "tool", "name": "weather"},
        {"type": "function", "function": {"name": "weather"}},
        {"type": "function", "name": "weather"},
        "Your next answer must call the tool weather, and no other.",
    ),
    ({"type": "none"}, "none", "none", "Don't call a tool in your next answer."),
]


@pytest.mark.parametrize(("anthropic", "chat", "responses", "words"), CHOICES)
async def test_choice_is_said_in_words(api: str, anthropic: Any, chat: Any, responses: Any, words: str) -> None:
    provider = Toolless(lambda _: "Yes.")
    choice = {"anthropic": anthropic if anthropic != "auto" else {"type": "auto"}, "chat": chat, "responses": responses}
    await ask(PromptedToolsMiddleware(provider, options=PROMPTED), api, "How?", False, tool_choice=choice[api])
    last = json.dumps((provider.bodies[0].get("messages") or provider.bodies[0]["input"])[-1], ensure_ascii=False)
    assert "How?" in last
    assert words in last
    assert bool(words) == ("next answer" in last)


async def test_single_calls_are_asked_for_in_words() -> None:
    provider = Toolless(lambda _: "Yes.")
    layer = PromptedToolsMiddleware(provider, options=PROMPTED)
    await ask(layer, "anthropic", "How?", False, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    await ask(layer, "chat", "How?", False, parallel_tool_calls=False)
    for body in provider.bodies:
        assert body["messages"][-1]["content"] == "How?\n\nCall at most one tool in your next answer."


async def test_client_that_wants_no_call_gets_none(api: str, stream: bool) -> None:
    none = {"type": "none"} if api == "anthropic" else "none"
    text = call_text("weather")
    layer = PromptedToolsMiddleware(Toolless(lambda _: text), options=PROMPTED)
    answer = await ask(layer, api, "How?", stream, tool_choice=none)
    assert told(api, answer, stream) == (text, [], ENDS[api][1], 4)


# What is learned


async def test_refusal_of_tools_is_learned_for_the_model(
    api: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    provider = Toolless(lambda _: call_text("weather", city="Oslo", days=2))
    layer = PromptedToolsMiddleware(provider)
    for tries in (2, 3):
        answer = await ask(layer, api, "How is it?", stream)
        assert told(api, answer, stream) == ("", OSLO, ENDS[api][0], 4)
        assert len(provider.bodies) == tries
    assert 'to make it permanent: PROVIDER_OPTIONS={"tools":"prompted"}' in caplog.text
    await ask(layer, api, "How is it?", stream, model="another")
    assert len(provider.bodies) == 5


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "tool_choice is not supported"}}',
        b'{"error": {"message": "Invalid schema for function \'weather\'"}}',
        b'{"error": {"message": "invalid API key"}}',
        b"<html>",
        b"",
    ],
)
async def test_other_refusals_pass_as_they_are(api: str, body: bytes) -> None:
    inner = Inner(body, 400, {"content-type": "application/json", "x-of": "theirs"})
    answer = await ask(PromptedToolsMiddleware(inner), api, "How?", True)
    assert (answer.status, answer.body, answer.headers["x-of"], len(inner.bodies)) == (400, body, "theirs", 1)


async def test_model_that_takes_nothing_at_all_is_not_learned(api: str) -> None:
    inner = Inner(json.dumps({"error": {"message": REFUSAL}}).encode(), 400)
    layer = PromptedToolsMiddleware(inner)
    for asked in (2, 4):
        answer = await ask(layer, api, "How?", False)
        assert (answer.status, len(inner.bodies)) == (400, asked)
        assert REFUSAL in answer.body.decode()


async def test_nothing_is_learned_where_that_is_switched_off(api: str) -> None:
    provider = Toolless(lambda _: "Yes.")
    answer = await ask(PromptedToolsMiddleware(provider, learn=False), api, "How?", False)
    assert (answer.status, len(provider.bodies)) == (400, 1)


async def test_what_is_learned_is_shown_and_forgotten_with_what_the_conversion_learns() -> None:
    provider = Toolless(lambda _: "Yes.")
    seen: list[Any] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/test-connection":
            seen.append(scope["ccproxy.corrections"])
        else:
            await provider(scope, receive, send)

    for layer in (
        PromptedToolsMiddleware(FormatConversionMiddleware(inner)),
        FormatConversionMiddleware(PromptedToolsMiddleware(inner)),
    ):
        assert (await ask(layer, "anthropic", "How?", True)).status == 200
        await layer(http_scope("GET", "/test-connection"), lambda: None, lambda _: None)  # type: ignore[arg-type, return-value]
        assert seen[-1].learned() == {"m": {"tools": "prompted"}}
        seen[-1].forget()
        assert seen[-1].learned() == {}
        asked = len(provider.bodies)
        await ask(layer, "anthropic", "How?", True)
        assert len(provider.bodies) == asked + 2


# What passes


@pytest.mark.parametrize("stream", [False, True])
async def test_servers_own_calls_pass(stream: bool) -> None:
    delta = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "weather", "arguments": "{}"}}]}
    choice = {"index": 0, "delta" if stream else "message": delta, "finish_reason": "tool_calls"}
    document = json.dumps({"choices": [choice]}).encode()
    inner = Inner(b"data: " + document + b"\n\ndata: [DONE]\n\n" if stream else document)
    answer = await ask(PromptedToolsMiddleware(inner, options=PROMPTED), "chat", "How?", stream)
    assert json.loads(answer.body.removeprefix(b"data: ").partition(b"\n\n")[0]) == {"choices": [choice]}


async def test_boost_wins_in_its_tiers() -> None:
    provider = Toolless(lambda _: "Yes.")
    layer = PromptedToolsMiddleware(provider, options=PROMPTED, boosted=["BIG_MODEL"])
    for model, has_tools in (("claude-opus-4-8", True), ("claude-haiku-4-5", False)):
        await ask(layer, "anthropic", "How?", False, model=model)
        assert ("tools" in provider.bodies[-1]) == has_tools
    scope = {**http_scope("POST", "/v1/messages"), "ccproxy.model": {"tier": "SMALL_MODEL"}}
    await call(layer, scope, request("anthropic", "How?", model="claude-opus-4-8"))
    assert "tools" not in provider.bodies[-1]
    with pytest.raises(ValueError, match="unknown tier 'HUGE'"):
        PromptedToolsMiddleware(provider, boosted=["HUGE"])


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'])
@pytest.mark.parametrize("path", [*PATHS.values(), "/v1/models"])
async def test_what_has_no_tools_passes_untouched(path: str, body: bytes) -> None:
    inner = Inner(b"ok", 201)
    answer = await call(PromptedToolsMiddleware(inner, options=PROMPTED), http_scope("POST", path), body)
    assert (answer.status, answer.body, inner.bodies) == (201, b"ok", [body])


async def test_what_is_no_request_gets_a_400() -> None:
    layer = PromptedToolsMiddleware(Inner(), options=PROMPTED)
    for path, body in (
        ("/v1/messages", {"model": "m", "tools": tools("anthropic"), "messages": [{"role": "x", "content": "a"}]}),
        ("/v1/chat/completions", {"model": "m", "tools": tools("chat"), "messages": 1}),
        ("/v1/responses", {"model": "m", "tools": tools("responses"), "input": 1}),
    ):
        answer = await call(layer, http_scope("POST", path), body)
        assert answer.status == 400, path


async def test_count_of_tokens_counts_what_is_sent() -> None:
    inner = Inner(b'{"input_tokens": 7}')
    layer = PromptedToolsMiddleware(inner, options=PROMPTED)
    body = request("anthropic", "How?")
    answer = await call(layer, http_scope("POST", "/v1/messages/count_tokens"), body)
    assert answer.json() == {"input_tokens": 7}
    assert "tools" not in inner.json()
    assert "<tools>" in inner.json()["system"]


# Broken answers


async def test_stream_that_breaks_off_loses_no_text(api: str) -> None:
    provider = Toolless(lambda _: f"So.\n{call_text('weather')[:-5]}")

    class Cut(Toolless):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            sent: list[Any] = []

            async def collect(message: Any) -> None:
                sent.append(message)

            await provider(scope, receive, collect)
            ends = (b"message_delta", b"finish_reason", b"response.completed", b"DONE", b".done", b"_stop", b'usage"')
            kept = [m for m in sent if not any(end in m.get("body", b"") for end in ends) or b"text_delta" in m["body"]]
            for message in kept:
                await send(message)

    answer = await ask(PromptedToolsMiddleware(Cut(lambda _: ""), options=PROMPTED), api, "How?", True)
    said = "".join(
        str(event.get("delta", {}).get("text") if isinstance(event.get("delta"), dict) else event.get("delta") or "")
        if "choices" not in event
        else "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        for part in answer.body.decode().split("\n\n")
        if (data := part.rpartition("data: ")[2]) and (event := json.loads(data))
    )
    assert said == f"So.\n{call_text('weather')[:-5]}"


async def test_inner_app_that_does_not_stream_is_streamed(api: str) -> None:
    class Whole(Toolless):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def whole() -> Any:
                message = await receive()
                return {**message, "body": message["body"].replace(b'"stream":true', b'"stream":false')}

            await super().__call__(scope, whole, send)

    provider = Whole(lambda _: f"So.\n{call_text('weather', city='Oslo', days=2)}")
    answer = await ask(PromptedToolsMiddleware(provider, options=PROMPTED), api, "How?", True)
    assert answer.headers["content-type"] == "text/event-stream"
    text, calls, _, tokens = told(api, answer, True)[:4] if api != "responses" else ("So.\n", OSLO, None, 4)
    assert (text, calls, tokens) == ("So.\n", OSLO, 4)


# What stands around it


async def test_packed_request_is_read() -> None:
    provider = Toolless(lambda _: call_text("weather", city="Oslo", days=2))
    body = gzip.compress(json.dumps(request("anthropic", "How?")).encode())
    scope = http_scope("POST", "/v1/messages", {"content-encoding": "gzip", "content-length": str(len(body))})
    answer = await call(PromptedToolsMiddleware(provider, options=PROMPTED), scope, body)
    assert told("anthropic", answer, False)[:2] == ("", OSLO)


@pytest.mark.parametrize("stream", [False, True])
async def test_refusal_that_claude_code_gets_in_another_status_is_learned_from(stream: bool) -> None:
    provider = Toolless(lambda _: call_text("weather", city="Oslo", days=2))
    layer = PromptedToolsMiddleware(FormatConversionMiddleware(provider))
    scope = http_scope("POST", "/v1/messages", {"user-agent": "claude-cli/2.1.332 (external, cli)"})
    answer = await call(layer, scope, request("anthropic", "How?", stream=stream))
    assert told("anthropic", answer, stream)[:2] == ("", OSLO)


async def test_record_tells_what_the_client_got() -> None:
    records: list[Record] = []
    provider = Toolless(lambda asked: call_text("weather", city="Oslo") if "can't be read" in asked else SPOILED)
    layer = PromptedToolsMiddleware(FormatConversionMiddleware(provider), options=PROMPTED)

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(layer, scope, receive, send, records.append)

    for stream in (False, True):
        answer = await call(observed, http_scope("POST", "/v1/messages"), request("anthropic", "How?", stream=stream))
        assert told("anthropic", answer, stream)[3] == 8
        record = records[-1]
        assert (record.stop_reason, record.usage["output_tokens"]) == ("tool_use", 8)
        assert record.decisions[0] == "tools: 1 as text in the prompt, since the model has none"
