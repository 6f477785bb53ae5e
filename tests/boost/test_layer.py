"""BoostMiddleware alone in front of an ASGI app, without sockets: both dialects, odd neighbours, silence."""

import json
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware import BoostMiddleware, FormatConversionMiddleware, ModelMappingMiddleware
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

SSE = {"content-type": "text/event-stream"}
FUNCTION = {"type": "function", "function": {"name": "Read", "parameters": {"type": "object", "properties": {}}}}
OPENAI: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [FUNCTION]}
ANTHROPIC: dict[str, Any] = {**OPENAI, "max_tokens": 9, "tools": [{"name": "Read", "input_schema": {"type": "object"}}]}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def completion(text: str | None, *names: str) -> bytes:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def message(text: str, *names: str) -> bytes:
    content = [{"type": "text", "text": text}, *({"type": "tool_use", "id": n, "name": n, "input": {}} for n in names)]
    usage = {
        "input_tokens": 3, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
    }  # fmt: skip
    reason = "tool_use" if names else "end_turn"
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return json.dumps({**head, "content": content, "stop_reason": reason, "usage": usage}).encode()


def planner(*texts: str) -> Inner:
    """A planner that gives these answers one after the other, in one piece each."""
    app = Inner(headers=SSE)
    left = list(texts)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        app.body = [event({"content": left.pop(0)}), event({}, "stop", usage=USAGE), b"data: [DONE]\n\n"]
        await Inner.__call__(app, scope, receive, send)

    app.answer = answer  # type: ignore[attr-defined]
    return app


def plans(*texts: str) -> ASGIApp:
    found: ASGIApp = planner(*texts).answer  # type: ignore[attr-defined]
    return found


def slowly(app: ASGIApp, seconds: float = 0.15) -> ASGIApp:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(seconds)
        await app(scope, receive, send)

    return slow


def boost(inner: ASGIApp, *texts: str, **options: Any) -> BoostMiddleware:
    return BoostMiddleware(inner, planner=plans(*texts), model="thinker", **options)


def post(path: str = MESSAGES, **more: Any) -> Scope:
    return http_scope("POST", path, **more)


async def test_summary_of_an_openai_request_is_a_completion() -> None:
    inner = Inner()
    answer = await call(boost(inner, "SUMMARY: Hi"), post(CHAT), OPENAI)
    data = answer.json()
    assert (data["object"], data["model"], data["choices"][0]["finish_reason"]) == ("chat.completion", "m", "stop")
    assert data["choices"][0]["message"]["content"] == "Hi"
    assert data["usage"] == USAGE
    assert (answer.headers["x-boost-loops"], answer.headers["x-boost-outcome"]) == ("1", "summary")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert inner.scopes == []


@pytest.mark.parametrize("include_usage", [True, False])
async def test_summary_of_an_openai_stream_is_chunks(include_usage: bool) -> None:
    body = {**OPENAI, "stream": True, "stream_options": {"include_usage": include_usage}}
    answer = await call(boost(Inner(), "SUMMARY: Hi"), post("/openai/v1/chat/completions"), body)
    *events, done, rest = answer.body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(line.removeprefix("data: ")) for line in events]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hi"}
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == ([USAGE] if include_usage else [])
    assert answer.headers["x-boost-outcome"] == "summary"


async def test_guidance_of_an_openai_request_is_executed() -> None:
    inner = Inner(completion("ok", "Read"))
    answer = await call(boost(inner, "GUIDANCE: Call Read."), post(CHAT), OPENAI)
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["id"] == "Read"
    assert answer.json()["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert inner.json()["messages"][-1]["role"] == "system"
    assert inner.header["accept-encoding"] == "identity"


async def test_openai_stream_flows_from_the_call_on_with_its_usage_added() -> None:
    call_ = {"index": 0, "id": "c", "type": "function", "function": {"name": "Read", "arguments": "{}"}}
    last = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
    pieces = [
        event({"content": "Let me"}), event({"content": " see"}), event({"tool_calls": [call_]}),
        event({}, "tool_calls"), last, b"data: [DONE]\n\n",
    ]  # fmt: skip
    answer = await call(boost(Inner(pieces, headers=SSE), "GUIDANCE: x"), post(CHAT), {**OPENAI, "stream": True})
    sent = [m["body"] for m in answer.messages if m["type"] == "http.response.body"]
    assert sent[0].count(b"data: ") == 3
    assert json.loads(sent[2][6:])["usage"]["total_tokens"] == 8
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.complete


async def test_developer_role_is_kept_and_a_prefill_stays_last() -> None:
    inner = Inner(completion(None, "Read"))
    messages = [
        {"role": "developer", "content": "S"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "{"},
    ]
    await call(boost(inner, "GUIDANCE: x"), post(CHAT), {**OPENAI, "messages": messages})
    assert [m["role"] for m in inner.json()["messages"]] == ["developer", "user", "developer", "assistant"]


@pytest.mark.parametrize(
    "content", ["late", [{"type": "text", "text": "late", "cache_control": {"type": "ephemeral"}}]]
)
async def test_guidance_joins_a_system_message_that_stands_last(content: Any) -> None:
    inner = Inner(message("", "Read"))
    messages = [{"role": "user", "content": "hi"}, {"role": "system", "content": content}]
    await call(boost(inner, "GUIDANCE: x"), post(), {**ANTHROPIC, "messages": messages})
    sent = inner.json()["messages"]
    assert [m["role"] for m in sent] == ["user", "system"]
    assert type(sent[1]["content"]) is type(content)
    assert json.dumps(sent[1]["content"]).index("late") < json.dumps(sent[1]["content"]).index("guidance")


# Answers of another form than was asked for


@pytest.mark.parametrize(("path", "body", "whole"), [
    (MESSAGES, ANTHROPIC, message("ok", "Read")), (CHAT, OPENAI, completion("ok", "Read")),
])  # fmt: skip
async def test_client_that_asked_for_a_stream_gets_one_though_the_inner_app_answers_json(
    path: str, body: dict[str, Any], whole: bytes
) -> None:
    answer = await call(boost(Inner(whole), "GUIDANCE: x"), post(path), {**body, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    if path == MESSAGES:
        events = check_stream(answer.body)
        assert (events[-2]["delta"]["stop_reason"], events[-2]["usage"]["input_tokens"]) == ("tool_use", 6)
    else:
        assert answer.body.endswith(b"data: [DONE]\n\n")
        first = json.loads(answer.body.split(b"\n\n")[0][6:])["choices"][0]
        assert first["delta"]["tool_calls"][0]["index"] == 0
        assert first["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"{}"])
@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_answer_that_is_none_is_a_502(path: str, body: bytes, stream: bool) -> None:
    request = {**(ANTHROPIC if path == MESSAGES else OPENAI), "stream": stream}
    answer = await call(boost(Inner(body), "GUIDANCE: x"), post(path), request)
    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")


@pytest.mark.parametrize(
    ("path", "whole"),
    [(MESSAGES, {"content": [{"type": "tool_use"}]}), (CHAT, {"choices": [{"message": {"tool_calls": [1]}}]})],
)
async def test_whole_answer_that_cannot_become_a_stream_is_a_502(path: str, whole: Any) -> None:
    request = {**(ANTHROPIC if path == MESSAGES else OPENAI), "stream": True}
    answer = await call(boost(Inner(json.dumps(whole).encode()), "GUIDANCE: x"), post(path), request)
    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")


async def test_error_event_before_the_call_is_a_real_status() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    frames = [b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"]
    answer = await call(boost(Inner(frames, headers=SSE), "GUIDANCE: x"), post(), {**ANTHROPIC, "stream": True})
    assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
async def test_stream_that_breaks_off_after_the_call_is_broken_off(path: str) -> None:
    inner = FormatConversionMiddleware(breaks_off()) if path == MESSAGES else breaks_off()
    answer = Answer()
    body = {**(ANTHROPIC if path == MESSAGES else OPENAI), "stream": True}
    with pytest.raises(StreamAborted):
        await call(boost(inner, "GUIDANCE: x"), post(path), body, answer=answer)
    assert not answer.complete
    assert answer.body.count(b'"error"') >= 1
    if path == MESSAGES:
        assert check_stream(answer.body)[-1]["type"] == "error"


def breaks_off() -> ASGIApp:
    call_ = {"index": 0, "id": "c", "type": "function", "function": {"name": "Read", "arguments": "{"}}
    return Inner([event({"tool_calls": [call_]}), b""], headers=SSE)


@pytest.mark.parametrize("started", [False, True])
async def test_bug_in_the_inner_app_is_the_hosts_to_answer(started: bool) -> None:
    call_ = {"index": 0, "id": "c", "type": "function", "function": {"name": "Read", "arguments": "{"}}

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if started:
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            await send({"type": "http.response.body", "body": event({"tool_calls": [call_]}), "more_body": True})
        raise KeyError("x")

    answer = Answer()
    with pytest.raises(KeyError):
        await call(boost(inner, "GUIDANCE: x"), post(CHAT), {**OPENAI, "stream": True}, answer=answer)
    assert bool(answer.messages) is started
    assert b"Internal proxy error" in answer.body or not started


async def test_bug_in_the_planners_app_is_another_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("x")

    app = BoostMiddleware(Inner(completion("plain")), planner=broken, model="thinker")
    answer = await call(app, post(CHAT), OPENAI)
    assert answer.json()["choices"][0]["message"]["content"] == "plain"
    assert answer.headers["x-boost-outcome"] == "fallback"
    assert sum(record.exc_info is not None for record in caplog.records) == 3


# Silence


class Impatient(BoostMiddleware):
    first_event_grace = 0.05
    ping_interval = 0.03


class ImpatientConversion(FormatConversionMiddleware):
    first_event_grace = 0.05
    ping_interval = 0.03


def impatient(inner: ASGIApp, plan: ASGIApp, place: str) -> ASGIApp:
    if place == "outside":
        return Impatient(FormatConversionMiddleware(inner), planner=plan, model="thinker")
    return ImpatientConversion(Impatient(inner, planner=plan, model="thinker"))


STREAM = {**ANTHROPIC, "stream": True}
CALL = [
    event({"content": "I see"}),
    event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "Read", "arguments": "{}"}}]}),
    event({}, "tool_calls"),
    b"data: [DONE]\n\n",
]


def names(answer: Answer) -> list[str]:
    return [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]


@pytest.mark.parametrize("place", ["outside", "inside"])
@pytest.mark.parametrize("what", ["summary", "guidance", "slow execution", "json"])
async def test_long_planning_begins_the_stream_and_is_filled_with_pings(place: str, what: str) -> None:
    plan = plans("SUMMARY: Done" if what == "summary" else "GUIDANCE: x")
    inner: ASGIApp = Inner(CALL, headers=SSE)
    if what == "json":
        inner = Inner(completion("I see", "Read"))
    slow_execution = what == "slow execution"
    app = impatient(slowly(inner) if slow_execution else inner, plan if slow_execution else slowly(plan), place)
    answer = await call(app, post(), STREAM)
    assert names(answer)[:2] == ["message_start", "ping"]
    assert names(answer)[: names(answer).index("content_block_start")].count("ping") >= 3
    events = check_stream(answer.body)
    assert events[-1]["type"] == "message_stop"
    assert events[-2]["delta"]["stop_reason"] == ("end_turn" if what == "summary" else "tool_use")


@pytest.mark.parametrize("place", ["outside", "inside"])
async def test_failure_after_a_long_planning_is_an_error_event(place: str) -> None:
    inner = Inner(b'{"error":{"message":"slow down"}}', status=429)
    answer = Answer()
    with pytest.raises(StreamAborted):
        await call(impatient(inner, slowly(plans("GUIDANCE: x")), place), post(), STREAM, answer=answer)
    events = check_stream(answer.body)
    assert events[-1]["error"]["type"] == "rate_limit_error"
    assert not answer.complete


async def test_openai_stream_is_not_begun_early() -> None:
    app = Impatient(Inner(), planner=slowly(plans("SUMMARY: Done")), model="thinker")
    answer = await call(app, post(CHAT), {**OPENAI, "stream": True})
    assert answer.body.startswith(b'data: {"id":"chatcmpl-boost')
    assert answer.headers["x-boost-outcome"] == "summary"


async def test_whole_answer_is_not_begun_early() -> None:
    app = impatient(Inner(), slowly(plans("SUMMARY: Done")), "outside")
    assert (await call(app, post(), ANTHROPIC)).json()["content"] == [{"type": "text", "text": "Done"}]


# Which requests


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", MESSAGES, b""), ("POST", "/v1/messages/count_tokens", ANTHROPIC), ("POST", "/v1/embeddings", OPENAI),
        ("POST", MESSAGES, b"{"), ("POST", MESSAGES, []), ("POST", MESSAGES, {**ANTHROPIC, "messages": []}),
        ("POST", MESSAGES, {**ANTHROPIC, "tools": {"a": 1}}), ("POST", MESSAGES, {**ANTHROPIC, "max_tokens": 0}),
        ("POST", CHAT, {**OPENAI, "tool_choice": "none"}), ("POST", CHAT, {**OPENAI, "tools": [1]}),
        ("POST", CHAT, {**OPENAI, "response_format": {"type": "json_object"}}),
    ],
)  # fmt: skip
async def test_request_passes_untouched(method: str, path: str, body: Any) -> None:
    inner = Inner(b"other")
    scope = http_scope(method, path)
    answer = await call(boost(inner), scope, body, chunks=2)
    assert answer.body == b"other"
    assert inner.scopes == [scope]
    assert inner.bodies == [body if isinstance(body, bytes) else json.dumps(body).encode()]


async def test_body_over_the_limit_is_refused() -> None:
    scope = post(headers={"content-length": str(40 << 20)})
    assert (await call(boost(Inner()), scope, b"x")).status == 413


async def test_other_scopes_pass() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    await boost(inner)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def test_path_below_a_mount_is_known() -> None:
    answer = await call(boost(Inner(), "SUMMARY: Hi"), post(root_path="/claude"), ANTHROPIC)
    assert answer.headers["x-boost-outcome"] == "summary"


@pytest.mark.parametrize(
    ("tiers", "model", "is_boosted"),
    [
        ((), "anything", True),
        (["BIG_MODEL"], "claude-opus-4-8", True),
        (["BIG_MODEL"], "claude-haiku-4-5", False),
        (["SMALL_MODEL", "MIDDLE_MODEL"], "claude-sonnet-5[1m]", True),
        (["BIG_MODEL"], "gpt-4o", False),
    ],
)
@pytest.mark.parametrize("mapping", ["none", "outside", "inside"])
async def test_tier_decides(tiers: list[str], model: str, is_boosted: bool, mapping: str) -> None:
    def mapped(app: ASGIApp) -> ASGIApp:
        return ModelMappingMiddleware(app, big="B", middle="M", small="S")

    inner = Inner(message("plain", "Read"))
    app: ASGIApp = boost(mapped(inner) if mapping == "inside" else inner, "SUMMARY: planned", tiers=tiers)
    answer = await call(mapped(app) if mapping == "outside" else app, post(), {**ANTHROPIC, "model": model})
    assert answer.json()["content"][0]["text"] == ("planned" if is_boosted else "plain")
    assert answer.json()["model"] == (model if is_boosted or mapping != "none" else "m")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tiers": ["HUGE"]}, "unknown tier 'HUGE'"),
        ({"max_loops": 0}, "at least 1"),
        ({"max_tokens": 0}, "at least 1"),
        ({"template": "{user} {x}"}, "unknown placeholder {user}"),
        ({"template": "a } b"}, "Single '}'"),
        ({"template": "a { b"}, "expected '}'"),
        ({"template": "{user_request!r}"}, "format or a conversion"),
        ({"template": "{user_request:>9}"}, "format or a conversion"),
    ],
)
def test_option_that_cannot_be_used_is_an_error_at_start(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        boost(Inner(), **options)
    with pytest.raises(ValueError, match="name"):
        BoostMiddleware(Inner(), planner=Inner(), model="")


async def test_planner_gets_a_scope_of_its_own() -> None:
    app = planner("SUMMARY: Hi")
    boosting = BoostMiddleware(Inner(), planner=app.answer, model="thinker", max_tokens=7)  # type: ignore[attr-defined]
    scope = post(headers={"authorization": "Bearer secret", "x-a": "b"})
    await call(boosting, {**scope, "ccproxy.custom_headers": [(b"x-c", b"d")]}, ANTHROPIC)
    assert app.header == {"content-type": "application/json", "accept": "text/event-stream"}
    assert (app.scopes[0]["path"], app.scopes[0]["root_path"]) == ("/chat/completions", "")
    assert "ccproxy.custom_headers" not in app.scopes[0]
    assert app.json()["max_tokens"] == 7


# Caches


class Broken:
    async def get(self, key: str) -> bytes | None:
        raise OSError("gone")

    async def set(self, key: str, value: bytes) -> None:
        raise OSError("gone")


class Odd(Broken):
    async def get(self, key: str) -> bytes | None:
        return b'{"text": 1}'


@pytest.mark.parametrize("cache", [Broken(), Odd()])
async def test_cache_that_fails_is_gone_without(cache: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = await call(boost(Inner(), "SUMMARY: Hi", cache=cache), post(), ANTHROPIC)
    assert answer.json()["content"][0]["text"] == "Hi"
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_cache_of_ones_own_is_used() -> None:
    kept: dict[str, bytes] = {}

    class Mine:
        async def get(self, key: str) -> bytes | None:
            return kept.get(key)

        async def set(self, key: str, value: bytes) -> None:
            kept[key] = value

    for _ in range(2):  # two instances share it, as two processes would
        answer = await call(boost(Inner(), "SUMMARY: Hi", cache=Mine()), post(), ANTHROPIC)
    assert len(kept) == 1
    assert answer.headers["x-boost-outcome"] == "cached"


# Leaving


async def test_disconnect_reaches_outer_layers_and_nothing_is_sent() -> None:
    sent: list[Message] = []
    messages: list[Message] = [
        {"type": "http.request", "body": json.dumps(ANTHROPIC).encode()},
        {"type": "http.other"},
        {"type": "http.disconnect"},
    ]

    async def forever(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    app = FormatConversionMiddleware(BoostMiddleware(Inner(), planner=forever, model="thinker"))
    await app(post(), receive, send)
    assert sent == []


async def test_receive_that_fails_is_not_hidden() -> None:
    messages: list[Message] = [{"type": "http.request", "body": json.dumps(ANTHROPIC).encode()}]

    async def receive() -> Message:
        if not messages:
            raise OSError("gone")
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    with pytest.raises(OSError, match="gone"):
        await BoostMiddleware(Inner(), planner=slowly(Inner()), model="thinker")(post(), receive, send)
