"""FormatConversionMiddleware alone in front of an OpenAI app: routes, answers, failures, silence, leaving."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, ModelMappingMiddleware
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

REQUEST = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**REQUEST, "stream": True}
COMPLETION = json.dumps({
    "model": "real",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}).encode()  # fmt: skip
SSE = {"content-type": "text/event-stream"}


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


HELLO = [chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), b"data: [DONE]\n\n"]


def post(path: str = "/v1/messages", headers: dict[str, str] | None = None, **more: Any) -> Scope:
    return http_scope("POST", path, headers or {}, **more)


async def ask(inner: Any, body: Any, scope: Scope | None = None, **options: Any) -> Answer:
    return await call(FormatConversionMiddleware(inner, **options), scope or post(), body)


# The way there


@pytest.mark.parametrize("root_path", ["", "/claude"])
async def test_inner_app_gets_a_chat_request_without_what_concerns_anthropic_only(root_path: str) -> None:
    inner = Inner(COMPLETION)
    headers = {
        "anthropic-version": "2023-06-01", "anthropic-beta": "a", "x-stainless-lang": "js", "content-length": "7",
        "accept-encoding": "gzip", "idempotency-key": "k", "x-app": "cli", "x-api-key": "k",
    }  # fmt: skip
    answer = await ask(inner, REQUEST, post(headers=headers, root_path=root_path, query="beta=true"))
    assert answer.status == 200
    scope = inner.scopes[0]
    assert (scope["path"], scope["root_path"], scope["query_string"]) == (
        root_path + "/v1/chat/completions", root_path, b"",
    )  # fmt: skip
    assert inner.header == {
        "x-app": "cli", "x-api-key": "k", "content-type": "application/json", "accept": "application/json",
        "accept-encoding": "identity",
    }  # fmt: skip
    assert inner.json() == REQUEST


async def test_clients_key_goes_on_as_a_bearer_token_only_in_passthrough() -> None:
    inner = Inner(COMPLETION)
    await ask(inner, REQUEST, post(headers={"x-api-key": "k"}), options={"key_mode": "passthrough"})
    assert inner.header["authorization"] == "Bearer k"
    assert "x-api-key" not in inner.header


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/files"),
        ("POST", "/v1/messagesx"),
        ("PUT", "/v1/model"),
    ],
)
async def test_other_paths_pass_untouched(method: str, path: str) -> None:
    inner = Inner(b"other")
    scope = http_scope(method, path)
    answer = await ask(inner, b"body", scope)
    assert answer.body == b"other"
    assert inner.scopes == [scope]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/messages", 405, "POST"), ("DELETE", "/v1/messages/count_tokens", 405, "POST"),
        ("POST", "/v1/models", 405, "GET"), ("POST", "/v1/messages/batches", 404, None),
        ("GET", "/v1/messages/batches/b1", 404, None),
    ],
)  # fmt: skip
async def test_wrong_method_or_missing_endpoint_is_refused(
    method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await ask(Inner(), b"", http_scope(method, path))
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert answer.json()["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "type_"),
    [
        (b"", {}, 400, "invalid_request_error"),
        (b"{", {}, 400, "invalid_request_error"),
        (b"NaN", {}, 400, "invalid_request_error"),
        (b'{"model": NaN}', {}, 400, "invalid_request_error"),
        (b"[]", {}, 400, "invalid_request_error"),
        (b"\xff\xfe", {}, 400, "invalid_request_error"),
        (b"[" * 100_000, {}, 400, "invalid_request_error"),
        (b'{"a":' * 5000 + b'"\\ud83d"' + b"}" * 5000, {}, 400, "invalid_request_error"),
        (b"{}", {"content-encoding": "br"}, 415, "invalid_request_error"),
        (b"{}", {"content-length": str(40 << 20)}, 413, "request_too_large"),
        (b"x" * (33 << 20), {}, 413, "request_too_large"),
    ],
)
async def test_body_that_cannot_be_read_is_refused(
    body: bytes, headers: dict[str, str], status: int, type_: str
) -> None:
    inner = Inner()
    answer = await ask(inner, body, post(headers=headers))
    assert (answer.status, answer.json()["error"]["type"]) == (status, type_)
    assert inner.scopes == []


@pytest.mark.parametrize("depth", [30, 60])
async def test_references_that_unfold_deeply_are_written_out_as_far_as_they_go(depth: int) -> None:
    deep: Any = {"$ref": "#/$defs/deep"}
    for _ in range(depth):
        deep = {"type": "object", "properties": {"a": deep}}
    schema = {"type": "object", "properties": {"a": deep}, "$defs": {"deep": deep}}
    inner = Inner(COMPLETION)
    request = {**REQUEST, "tools": [{"name": "f", "input_schema": schema}]}
    answer = await ask(inner, request, provider="gemini")
    assert answer.status == 200
    assert len(inner.bodies[0]) < 20_000


async def test_references_that_unfold_without_end_are_cut_off() -> None:
    wide = {"type": "object", "properties": {f"p{n}": {"$ref": "#/$defs/wide"} for n in range(20)}}
    schema = {"type": "object", "properties": {"a": wide}, "$defs": {"wide": wide}}
    inner = Inner(COMPLETION)
    request = {**REQUEST, "tools": [{"name": "f", "input_schema": schema}]}
    answer = await ask(inner, request, provider="gemini")
    assert answer.status == 200
    assert len(inner.bodies[0]) < 1_000_000


async def test_clamp_of_max_tokens_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    inner = Inner(COMPLETION)
    app = FormatConversionMiddleware(inner, options={"max_output": 50})
    for _ in range(3):
        await call(app, post(), REQUEST)
    assert inner.json()["max_tokens"] == 50
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "100" in caplog.text
    assert "50" in caplog.text


# The way back


async def test_answer_is_a_message() -> None:
    answer = await ask(Inner(COMPLETION), REQUEST)
    message = answer.json()
    assert message["model"] == "m"
    assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert answer.headers["x-upstream-model"] == "m"
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_name_that_an_outer_mapping_replaced_comes_back() -> None:
    app = ModelMappingMiddleware(FormatConversionMiddleware(Inner(COMPLETION)), big="B", small="S")
    answer = await call(app, post(), {**REQUEST, "model": "claude-opus-4-8"})
    assert answer.json()["model"] == "claude-opus-4-8"
    assert answer.headers["x-upstream-model"] == "B"


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
async def test_stream_is_converted_however_it_is_cut(size: int) -> None:
    data = b"".join(HELLO)
    inner = Inner([data[i : i + size] for i in range(0, len(data), size)], headers=SSE)
    answer = await ask(inner, STREAM)
    events = check_stream(answer.body)
    assert "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta") == "Hello"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.complete
    assert inner.header["accept"] == "text/event-stream"


async def test_one_message_goes_out_for_one_that_came_in() -> None:
    answer = await ask(Inner([HELLO[0] + HELLO[1], HELLO[2] + HELLO[3], b""], headers=SSE), STREAM)
    assert [m["type"] for m in answer.messages] == ["http.response.start", "http.response.body", "http.response.body"]


async def test_stream_ends_at_done_and_what_follows_is_ignored() -> None:
    answer = await ask(Inner([*HELLO, b"data: more\n\n", b""], headers=SSE), STREAM)
    assert answer.messages[-1]["body"].endswith(b'{"type":"message_stop"}\n\n')
    assert answer.complete


@pytest.mark.parametrize("headers", [{"content-type": "application/json"}, SSE])
async def test_json_in_answer_to_a_stream_becomes_a_stream(headers: dict[str, str]) -> None:
    events = check_stream((await ask(Inner([b"", b" \n", COMPLETION], headers=headers), STREAM)).body)
    assert events[-2]["usage"]["input_tokens"] == 3


@pytest.mark.parametrize("body", [REQUEST, STREAM])
async def test_refused_prompt_is_a_message_with_stop_reason_refusal(body: dict[str, Any]) -> None:
    error = {"error": {"message": "filtered", "code": "content_filter", "status": 400}}
    answer = await ask(Inner(json.dumps(error).encode(), status=400), body)
    assert answer.status == 200
    message = check_stream(answer.body)[-2]["delta"] if body is STREAM else answer.json()
    assert message["stop_reason"] == "refusal"
    assert message["stop_details"]["explanation"]


@pytest.mark.parametrize("stream", [False, True])
async def test_cache_warming_is_answered_here(stream: bool) -> None:
    inner = Inner()
    answer = await ask(inner, {**REQUEST, "max_tokens": 0, "stream": stream})
    message = check_stream(answer.body)[-2]["delta"] if stream else answer.json()
    assert message["stop_reason"] == "max_tokens"
    assert inner.scopes == []


async def test_rate_limits_are_told_on_success_too() -> None:
    headers = {"content-type": "application/json", "x-ratelimit-limit-tokens": "9", "x-other": "1"}
    answer = await ask(Inner(COMPLETION, headers=headers), REQUEST)
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "9"
    assert "x-other" not in answer.headers


# Failures


@pytest.mark.parametrize("body", [REQUEST, STREAM], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("inner", "status", "type_"),
    [
        (
            Inner(b'{"error":{"message":"slow down"}}', status=429, headers={"retry-after": "3"}),
            429,
            "rate_limit_error",
        ),
        (Inner(b"<html>", status=502, headers={"content-type": "text/html"}), 502, "api_error"),
        (Inner(b'{"error":{"message":"busy","code":503}}'), 529, "overloaded_error"),
        (Inner(b'{"object":"list"}'), 502, "api_error"),
        (Inner(b"<html>all is well</html>", headers={"content-type": "text/html"}), 502, "api_error"),
        (Inner(b""), 502, "api_error"),
        (Inner(b'{"choices":'), 502, "api_error"),
        (Inner(b'data: {"error":{"message":"overloaded","code":503}}\n\n', headers=SSE), 529, "overloaded_error"),
    ],
    ids=["429", "html-502", "error-in-200", "no-choices", "html-200", "empty", "cut", "error-event"],
)
async def test_failure_before_the_first_byte_has_a_real_status(
    inner: Inner, status: int, type_: str, body: dict[str, Any]
) -> None:
    if body is REQUEST and inner.headers == SSE:
        status, type_ = 502, "api_error"  # a stream was not asked for
    answer = await ask(inner, body)
    assert (answer.status, answer.json()["error"]["type"]) == (status, type_)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert answer.complete
    if status == 429:
        assert answer.headers["retry-after"] == "3"


async def broken_stream(inner: Any, error: type[Exception]) -> tuple[Answer, list[dict[str, Any]]]:
    answer = Answer()
    with pytest.raises(error):
        await call(FormatConversionMiddleware(inner), post(), STREAM, answer=answer)
    assert answer.status == 200
    assert not answer.complete
    events = check_stream(answer.body)
    assert events[-1]["type"] == "error"
    return answer, events


@pytest.mark.parametrize(
    "chunks",
    [
        HELLO[:2],
        [HELLO[0], b'data: {"error":{"message":"gone","code":500}}\n\n', *HELLO[1:]],
        [HELLO[0], b"data: {\n\n" * 3, *HELLO[1:]],
    ],
    ids=["cut", "error-event", "malformed"],
)
async def test_failure_in_mid_stream_is_an_error_event_and_no_clean_end(chunks: list[bytes]) -> None:
    answer, events = await broken_stream(Inner(chunks, headers=SSE), StreamAborted)
    assert events[-1]["error"]["type"] == "api_error"
    assert answer.headers["request-id"].startswith("req_")


def streaming(*steps: Any) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An inner app that starts a stream and takes the steps: bytes to send, seconds to wait, an error to raise."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for step in steps:
            if isinstance(step, bytes):
                await send({"type": "http.response.body", "body": step, "more_body": True})
            elif isinstance(step, float):
                await anyio.sleep(step)
            else:
                raise step

    return app


async def test_stream_is_broken_off_where_the_inner_app_stops_or_raises() -> None:
    await broken_stream(streaming(HELLO[0]), StreamAborted)
    await broken_stream(streaming(HELLO[0], StreamAborted("x")), StreamAborted)
    _, events = await broken_stream(streaming(HELLO[0], KeyError("secret")), KeyError)
    assert events[-1]["error"] == {"type": "api_error", "message": "Internal proxy error"}


@pytest.mark.parametrize("body", [REQUEST, STREAM], ids=["json", "stream"])
async def test_answer_cut_off_before_the_client_got_any_has_a_real_status(body: dict[str, Any]) -> None:
    for inner in (streaming(b'{"choices"', StreamAborted("x")), streaming(b": hi\n", StreamAborted("x")), streaming()):
        answer = await ask(inner, body)
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")


async def test_bug_in_the_inner_app_is_the_hosts_to_answer() -> None:
    with pytest.raises(KeyError):
        await ask(streaming(KeyError("x")), STREAM)


# Silence


class Impatient(FormatConversionMiddleware):
    first_event_grace = 0.05
    ping_interval = 0.02
    usage_wait = 0.05


async def test_silence_begins_the_stream_and_is_filled_with_pings() -> None:
    answer = await call(Impatient(streaming(0.2, *HELLO)), post(), STREAM)
    names = [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert names[:2] == ["message_start", "ping"]
    assert names[: names.index("content_block_start")].count("ping") >= 3
    assert check_stream(answer.body)[-1]["type"] == "message_stop"


async def test_stream_ends_soon_after_the_finish_reason_even_if_upstream_stays() -> None:
    answer = await call(Impatient(streaming(*HELLO[:3], 0.3)), post(), STREAM)
    assert check_stream(answer.body)[-2]["delta"]["stop_reason"] == "end_turn"
    assert answer.complete


async def test_usage_that_comes_after_the_finish_reason_is_waited_for() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
    answer = await call(Impatient(streaming(*HELLO[:3], 0.01, usage, 0.3)), post(), STREAM)
    assert check_stream(answer.body)[-2]["usage"]["input_tokens"] == 7


async def test_failure_after_the_grace_is_an_error_event() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.1)
        await Inner(b'{"error":{"message":"no such model"}}', status=404)(scope, receive, send)

    answer = Answer()
    with pytest.raises(StreamAborted):
        await call(Impatient(inner), post(), STREAM, answer=answer)
    events = check_stream(answer.body)
    assert events[-1]["error"]["type"] == "not_found_error"
    assert not answer.complete


async def test_json_after_the_grace_still_becomes_one_stream() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.1)
        await Inner(COMPLETION)(scope, receive, send)

    events = check_stream((await call(Impatient(inner), post(), STREAM)).body)
    assert events[-1]["type"] == "message_stop"


# Leaving


@pytest.mark.parametrize("body", [REQUEST, STREAM], ids=["json", "stream"])
async def test_clients_leaving_reaches_the_inner_app_and_nothing_more_is_sent(body: dict[str, Any]) -> None:
    seen: list[str] = []
    sent: list[Message] = []
    messages: list[Message] = [
        {"type": "http.request", "body": json.dumps(body).encode()},
        {"type": "http.disconnect"},
    ]

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            seen.append(message["type"])
        seen.append("http.disconnect")

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await FormatConversionMiddleware(inner)(post(), receive, send)
    assert seen == ["http.request", "http.disconnect"]
    assert sent == []


async def test_client_that_leaves_within_its_request_is_not_answered() -> None:
    inner = Inner()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await FormatConversionMiddleware(inner)(post(), receive, send)
    assert inner.scopes == []


# Counting and models


async def test_tokens_are_counted_without_asking_anybody() -> None:
    inner = Inner()
    request = {"model": "m", "messages": REQUEST["messages"], "system": "You are brief.", "tools": []}
    answer = await ask(inner, request, post("/v1/messages/count_tokens"))
    assert answer.json() == {"input_tokens": answer.json()["input_tokens"]}
    assert 5 < answer.json()["input_tokens"] < 40
    assert inner.scopes == []


async def test_counting_refuses_server_tools() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    answer = await ask(Inner(), {**REQUEST, "tools": tools}, post("/v1/messages/count_tokens"))
    assert answer.status == 400


MODELS = json.dumps({"object": "list", "data": [
    {"id": "old", "created": 1_600_000_000}, {"id": "new/x:1", "created": 1_700_000_000}, {"id": "undated"}, {"no": 1},
]}).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", ["new/x:1", "old", "undated"], False),
        ("limit=1", ["new/x:1"], True),
        ("limit=1000", ["new/x:1", "old", "undated"], False),
        ("limit=1&after_id=new/x:1", ["old"], True),
        ("limit=1&before_id=undated", ["old"], True),
        ("before_id=old", ["new/x:1"], False),
        ("after_id=undated", [], False),
    ],
)
async def test_models_of_the_inner_app_are_listed_newest_first(query: str, ids: list[str], more: bool) -> None:
    answer = await ask(Inner(MODELS), b"", http_scope("GET", "/v1/models", query=query))
    page = answer.json()
    assert [model["id"] for model in page["data"]] == ids
    assert (page["has_more"], page["first_id"], page["last_id"]) == (
        more,
        ids[0] if ids else None,
        ids[-1] if ids else None,
    )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "before_id=old&after_id=old", "after_id=q"]
)
async def test_page_that_cannot_be_is_refused(query: str) -> None:
    answer = await ask(Inner(MODELS), b"", http_scope("GET", "/v1/models", query=query))
    assert answer.status == 400


@pytest.mark.parametrize(("id_", "status"), [("old", 200), ("new/x:1", 200), ("gone", 404)])
async def test_model_is_found_by_its_id(id_: str, status: int) -> None:
    answer = await ask(Inner(MODELS), b"", http_scope("GET", f"/v1/models/{id_}"))
    assert answer.status == status
    assert answer.json().get("id") == id_ or answer.json()["error"]["message"] == f"model: {id_}"


@pytest.mark.parametrize("outside", [True, False])
async def test_aliases_are_listed_on_whichever_side_the_mapping_stands(outside: bool) -> None:
    def mapped(app: Any) -> ModelMappingMiddleware:
        return ModelMappingMiddleware(app, big="gpt-4o", middle="M", small="S")

    inner = Inner(MODELS)
    app = mapped(FormatConversionMiddleware(inner)) if outside else FormatConversionMiddleware(mapped(inner))
    page = (await call(app, http_scope("GET", "/v1/models"))).json()
    assert [(m["id"], m["display_name"], m["max_input_tokens"]) for m in page["data"]] == [
        ("claude-opus", "gpt-4o", 128_000), ("claude-sonnet", "M", None), ("claude-haiku", "S", None),
    ]  # fmt: skip
    assert inner.scopes == []


@pytest.mark.parametrize(
    ("client", "ids"),
    [
        (
            "claude-code/2.1.332",
            [
                "claude-opus/gpt-4o",
                "claude-sonnet/old",
                "claude-haiku/S",
                "claude-provider/new/x:1",
                "claude-provider/undated",
            ],
        ),
        ("other/1", ["claude-opus", "claude-sonnet", "claude-haiku", "new/x:1", "old", "undated"]),
    ],
)
async def test_claude_code_gets_ids_that_it_keeps_for_the_providers_own_models(client: str, ids: list[str]) -> None:
    app = ModelMappingMiddleware(
        FormatConversionMiddleware(Inner(MODELS), options={"list_models": "upstream"}),
        big="gpt-4o",
        middle="old",
        small="S",
        contexts={"MIDDLE_MODEL": 64_000},
    )
    page = (await call(app, http_scope("GET", "/v1/models", headers={"user-agent": client}))).json()
    assert [model["id"] for model in page["data"]] == ids
    assert page["data"][1]["max_input_tokens"] == 64_000
    assert ("description" in page["data"][0]) is client.startswith("claude-code/")


@pytest.mark.parametrize(
    ("size", "id_"),
    [
        (200_000, "claude-opus-5-5"),
        (1_048_576, "claude-opus-5-5"),
        (None, "claude-opus-5-5"),
        (64_000, "claude-opus/B"),
    ],
)
async def test_claude_code_gets_the_newest_ids_where_it_believes_their_size(size: int | None, id_: str) -> None:
    app = ModelMappingMiddleware(
        FormatConversionMiddleware(Inner(MODELS)),
        big="B",
        small="S",
        contexts={"BIG_MODEL": size, "MIDDLE_MODEL": size},
    )
    page = (await call(app, http_scope("GET", "/v1/models", headers={"user-agent": "claude-code/2.1.332"}))).json()
    assert (page["data"][0]["id"], page["data"][0]["display_name"]) == (id_, "B")


class Breaking:
    """Begins to answer, and then stops."""

    def __init__(self, *messages: Message, error: ApiError | None = None, aborts: bool = True) -> None:
        self.messages = messages
        self.error = error
        self.aborts = aborts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.messages:
            await send(message)
        if self.aborts:
            raise StreamAborted("cut", self.error)


BEGUN: Message = {"type": "http.response.start", "status": 200, "headers": []}
HALF: Message = {"type": "http.response.body", "body": b'{"data":[', "more_body": True}
MEGABYTE: Message = {"type": "http.response.body", "body": b" " * 1024 * 1024, "more_body": True}


@pytest.mark.parametrize(
    ("inner", "status", "message"),
    [
        (Breaking(BEGUN, HALF), 502, "ended before"),
        (Breaking(BEGUN), 502, "ended before"),
        (Breaking(), 502, "ended before"),
        (Breaking(BEGUN, HALF, aborts=False), 502, "ended before"),
        (Breaking(aborts=False), 502, "no answer"),
        (Breaking(BEGUN, error=ApiError(504, "timeout_error", "nothing came")), 504, "nothing came"),
        (Breaking(BEGUN, *[MEGABYTE] * 65), 502, "over 67108864 bytes"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m"])
async def test_models_fail_visibly_when_the_answer_breaks_off(
    inner: Breaking, status: int, message: str, path: str
) -> None:
    answer = await call(FormatConversionMiddleware(inner), http_scope("GET", path))
    assert answer.status == status
    assert answer.json()["type"] == "error"
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("inner", [Inner(b"no"), Inner(b"{}"), Inner(b'{"error":"x"}', status=500)])
async def test_models_fail_visibly(inner: Inner) -> None:
    answer = await ask(inner, b"", http_scope("GET", "/v1/models"))
    assert answer.status in (500, 502)
    assert answer.json()["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    "options", [{"teleport": True}, {"vision": "maybe"}, {"efforts": ["huge"]}, {"max_output": -1}]
)
async def test_switch_that_does_not_exist_is_an_error_at_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="switch"):
        FormatConversionMiddleware(Inner(), options=options)
    with pytest.raises(ValueError, match="generic, openai, azure"):
        FormatConversionMiddleware(Inner(), provider="nobody")


# Blanks that keep a connection alive, refusals in mid-stream


async def convert_stream(app: FormatConversionMiddleware, answer: Answer) -> None:
    """Ask an app for a stream. Its messages go into ``answer``, also where it raises in the end."""

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(STREAM).encode()}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await app(post(), receive, send)


@pytest.mark.parametrize("blanks", [b"\n" * 63, b"\n" * 64, b" \r\n" * 500])
@pytest.mark.parametrize("pieces", ["one", "many"])
async def test_blanks_before_a_stream_hold_nothing_back(blanks: bytes, pieces: str) -> None:
    lead = [blanks] if pieces == "one" else [blanks[n : n + 1] for n in range(len(blanks))]
    seen: list[int] = []
    answer = Answer()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for data in [*lead, *HELLO]:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            seen.append(len(answer.messages))
        await send({"type": "http.response.body", "body": b""})

    await convert_stream(FormatConversionMiddleware(inner), answer)
    assert seen[len(lead) - 1] == 0
    assert seen[len(lead)] == 2  # the start and the first delta
    assert check_stream(answer.body)[-1]["type"] == "message_stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_blanks_before_json_are_no_part_of_it(stream: bool) -> None:
    answer = await ask(Inner([b"\n" * 70, b" " * 70 + COMPLETION]), {**REQUEST, "stream": stream})
    assert answer.status == 200
    assert b"Hello" in answer.body


FILTERED = b'data: {"error": {"code": "content_filter", "message": "filtered"}}\n\n'


async def test_refusal_in_the_middle_of_a_stream_is_an_error_event() -> None:
    answer = Answer()
    app = FormatConversionMiddleware(Inner([chunk({"content": "He"}), FILTERED], headers=SSE))
    with pytest.raises(StreamAborted):
        await convert_stream(app, answer)
    events = check_stream(answer.body)
    assert (events[-1]["type"], events[-1]["error"]["message"]) == ("error", "filtered")


@pytest.mark.parametrize("first", [[], [chunk({"role": "assistant"})]], ids=["at the start", "after a role"])
async def test_refusal_before_any_content_is_a_message(first: list[bytes]) -> None:
    answer = await ask(Inner([*first, FILTERED], headers=SSE), STREAM)
    events = check_stream(answer.body)
    assert events[-1]["type"] == "message_stop"
    assert events[-2]["delta"]["stop_reason"] == "refusal"


async def test_usage_is_waited_for_when_a_ping_is_due_as_the_answer_ends() -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 777, "completion_tokens": 3}}\n\n'

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": chunk({"content": "hi"}), "more_body": True})
        asyncio.get_running_loop().call_later(0.02, time.sleep, 0.05)  # the loop is busy when both are due
        await anyio.sleep(0.045)
        await send({"type": "http.response.body", "body": chunk({}, "stop"), "more_body": True})
        await anyio.sleep(0.005)
        await send({"type": "http.response.body", "body": usage + b"data: [DONE]\n\n"})

    class Impatient(FormatConversionMiddleware):
        ping_interval = 0.05
        first_event_grace = 0.01

    for _ in range(10):
        answer = await call(Impatient(inner), post(), STREAM)
        assert check_stream(answer.body)[-2]["usage"]["input_tokens"] == 777


class Late(FormatConversionMiddleware):
    first_event_grace = 0.01


@pytest.mark.parametrize(
    ("first", "alive"),
    [
        ([], b": keep-alive\n\n"),
        ([], b"\n"),
        ([chunk({"content": "He"})], b": keep-alive\n\n"),
        ([chunk({"content": "He"})], b'data: {"choices": []}\n\n'),
    ],
)
async def test_stream_of_nothing_but_signs_of_life_ends(first: list[bytes], alive: bytes) -> None:
    sent = 0
    answer = Answer()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for data in first:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        for _ in range(1000):
            await anyio.sleep(0.005)
            await send({"type": "http.response.body", "body": alive, "more_body": True})
            sent += 1

    with pytest.raises(StreamAborted):
        await convert_stream(Late(inner, stream_idle_timeout=0.1), answer)
    assert sent < 200
    events = check_stream(answer.body)
    assert (events[-1]["type"], events[-1]["error"]["type"]) == ("error", "timeout_error")


async def test_stream_that_thinks_out_of_the_clients_sight_goes_on() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await anyio.sleep(0.02)
            body = chunk({"reasoning_content": "hm"})
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"".join(HELLO)})

    answer = await call(FormatConversionMiddleware(inner, stream_idle_timeout=0.2), post(), STREAM)
    assert check_stream(answer.body)[-1]["type"] == "message_stop"


async def test_list_of_models_that_breaks_off_is_an_error_in_anthropics_form() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"data":[', "more_body": True})
        raise StreamAborted("cut")

    for path, options in (("/v1/models", {}), ("/v1/models/x", {"list_models": "upstream"})):
        answer = await call(FormatConversionMiddleware(inner, options=options), http_scope("GET", path))
        if path == "/v1/models":
            assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
        else:
            assert answer.status in (200, 502)
