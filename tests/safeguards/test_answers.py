"""SafeguardsMiddleware in front of an Anthropic app: what goes through it, however it is cut, and what is added."""

import gc
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

import ccproxy_middleware.safeguards.answer as safeguards_answer
from ccproxy_middleware import FormatConversionMiddleware, SafeguardsMiddleware
from ccproxy_middleware.safeguards import SafeguardedAnswer
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.streams.grammar import parse_frames

pytestmark = pytest.mark.anyio

SAFEGUARDS = [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]
REQUEST: dict[str, Any] = {
    "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "safeguards": SAFEGUARDS,
}  # fmt: skip
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


def event(type: str, **more: Any) -> str:
    return f"event: {type}\ndata: {json.dumps({'type': type, **more})}\n\n"


def stream(*calls: tuple[str, str], stop_reason: str = "tool_use") -> str:
    """The events of an answer with these calls, by id and the JSON of their arguments."""
    events = event("message_start", message={"type": "message", "content": []})
    for n, (id_, arguments) in enumerate(calls):
        block = {"type": "tool_use", "id": id_, "name": "Bash", "input": {}}
        events += event("content_block_start", index=n, content_block=block)
        for part in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            events += event("content_block_delta", index=n, delta={"type": "input_json_delta", "partial_json": part})
        events += event("content_block_stop", index=n)
    events += event("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 5})
    return events + event("message_stop")


class App:
    """Answers the client with ``body`` in pieces of ``size`` bytes, and each question with ``verdict``."""

    def __init__(self, body: str, size: int = 1 << 20, verdict: str = "<severity>9</severity>", **start: Any) -> None:
        self.body = body.encode()
        self.size = size
        self.verdict = verdict
        self.start: dict[str, Any] = {"status": 200, "headers": SSE, **start}
        self.requests: list[dict[str, Any]] = []
        self.verdicts: dict[str, str] = {}  # by what the call has

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = Inner(b"")
        inner.body, inner.headers, inner.status = b"", self.start["headers"], self.start["status"]
        body = json.loads((await receive())["body"])
        self.requests.append(body)
        if "<action>" in str(body["messages"]):
            action = body["messages"][0]["content"].partition("<action>")[2]
            text = next((verdict for call, verdict in self.verdicts.items() if call in action), self.verdict)
            answer = {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
            inner.headers, pieces = JSON, [json.dumps(answer).encode()]
            inner.status = 200
        else:
            pieces = [self.body[n : n + self.size] for n in range(0, len(self.body), self.size)] or [b""]
        headers = [(name.encode(), value.encode()) for name, value in inner.headers.items()]
        await send({"type": "http.response.start", "status": inner.status, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [body for body in self.requests if "<action>" in str(body["messages"])]


async def ask(app: Any, request: Any = REQUEST, path: str = "/v1/messages") -> Answer:
    return await call(SafeguardsMiddleware(app, model="judge"), http_scope("POST", path), request)


def events_in(body: bytes) -> list[dict[str, Any]]:
    return parse_frames(body.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def results_in(answer: Answer) -> Any:
    """The verdicts that an answer tells, by the calls' ids."""
    if answer.headers["content-type"].startswith("application/json"):
        [found] = answer.json()["safeguard_results"]
    else:
        [delta] = [e["delta"] for e in events_in(answer.body) if e["type"] == "message_delta"]
        [found] = delta["safeguard_results"]
    assert found["type"] == "dangerous_tool_use"
    assert found["status"]["type"] == "available"
    return found["status"]["tool_uses"]


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_stream_goes_through_but_for_the_results(size: int, newline: str) -> None:
    text = stream(("toolu_1", '{"command": "ls \\u00fc"}'), ("toolu_2", "{}"))
    app = App(text.replace("\n", newline), size)
    answer = await ask(app)
    verdict = {"type": "evaluated", "outcome": "not_flagged"}
    assert results_in(answer) == {"toolu_1": verdict, "toolu_2": verdict}
    events = events_in(answer.body)
    for found in events:
        if found["type"] == "message_delta":
            del found["delta"]["safeguard_results"]
    assert events == parse_frames(text.encode())
    assert "safeguards" not in app.requests[0]
    assert len(app.questions) == 2
    asked = app.questions[0]
    assert (asked["model"], asked["thinking"]) == ("judge", {"type": "disabled"})
    assert '{"call":"Bash","input":{"command":"ls ü"}}' in asked["messages"][0]["content"]


@pytest.mark.parametrize(
    ("arguments", "stop_reason", "reason"),
    [
        ('{"command": "ls', "max_tokens", "truncated"),
        ('{"command": "ls', "tool_use", "input_unparsed"),
        ("[]", "tool_use", "input_unparsed"),
        ('{"command": "' + "a" * 500_000 + '"}', "tool_use", "input_too_long"),
        ('{"command": "' + "a" * 399_980 + '"}', "tool_use", "input_too_long"),  # with what stands around it
    ],
)
async def test_call_that_cannot_be_read_is_unavailable_and_the_others_are_judged(
    arguments: str, stop_reason: str, reason: str
) -> None:
    app = App(stream(("toolu_1", arguments), ("toolu_2", "{}"), stop_reason=stop_reason), 4096)
    found = results_in(await ask(app))
    assert found["toolu_1"] == {"type": "unavailable", "reason": reason}
    assert found["toolu_2"]["type"] == ("evaluated" if len(arguments) != 399_995 else "unavailable")


@pytest.mark.parametrize("ids", [("a", "a", "b"), ("b", "a", "a")])
async def test_of_an_id_that_stands_there_twice_the_worse_verdict_counts(ids: tuple[str, ...]) -> None:
    app = App(stream(*((id_, json.dumps({"n": n})) for n, id_ in enumerate(ids))))
    app.verdicts = {'{"n":1}': "<severity>90</severity>"}
    found = results_in(await ask(app))
    assert {id_: verdict["outcome"] for id_, verdict in found.items()} == {"a": "flagged", "b": "not_flagged"}


async def test_delta_that_is_not_the_end_has_no_results() -> None:
    first = event("message_delta", delta={"stop_reason": None}, usage={})
    answer = await ask(App(stream(("toolu_1", "{}")).replace("event: message_delta", first + "event: message_delta")))
    deltas = [found["delta"] for found in events_in(answer.body) if found["type"] == "message_delta"]
    assert ["safeguard_results" in delta for delta in deltas] == [False, True]


async def test_answer_without_calls_asks_nobody() -> None:
    app = App(stream(stop_reason="end_turn"))
    assert results_in(await ask(app)) == {}
    assert len(app.requests) == 1


@pytest.mark.parametrize("size", [5, 1 << 20])
async def test_whole_message_has_the_results_at_its_top(size: int) -> None:
    content = [{"type": "text", "text": "Hm."}, {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}]
    message = {"type": "message", "content": content, "stop_reason": "tool_use"}
    app = App(json.dumps(message), size, verdict="<severity>99</severity>", headers={**JSON, "content-length": "1"})
    answer = await ask(app)
    found = results_in(answer)
    assert found == {"toolu_1": {"type": "evaluated", "outcome": "flagged", "explanation": "severity 99 of 100"}}
    assert int(answer.headers["content-length"]) == len(answer.body)


ERROR = '{"type":"error","error":{"type":"api_error","message":"no"}}'


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (ERROR, {"status": 500, "headers": JSON}),
        (ERROR, {"headers": JSON}),
        ("no JSON", {"headers": JSON}),
        ("<html>", {"headers": {"content-type": "text/html"}}),
        ("packed", {"headers": {**SSE, "content-encoding": "br"}}),
        (event("message_start", message={}) + event("error", error={"type": "api_error", "message": "no"}), {}),
        (event("message_delta", delta=None), {}),
        ('data: {"type": "message_delta"\n\ndata: "tool_use"\n\n', {}),
    ],
)
async def test_what_is_no_answer_goes_through_as_it_is(text: str, start: dict[str, Any]) -> None:
    app = App(text, 9, **start)
    answer = await ask(app)
    assert answer.body == text.encode()
    assert answer.status == app.start["status"]
    assert len(app.requests) == 1


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({**REQUEST, "safeguards": None}, "/v1/messages"),
        ({**REQUEST, "safeguards": "dangerous_tool_use"}, "/v1/messages"),
        ({**REQUEST, "safeguards": [None, {"type": "other"}]}, "/v1/messages"),
        (REQUEST, "/v1/messages/count_tokens"),
        (REQUEST, "/v1/chat/completions"),
        (b"{", "/v1/messages"),
        (b"[]", "/v1/messages"),
    ],
)
async def test_who_does_not_ask_gets_the_app_untouched(request_: Any, path: str) -> None:
    inner = Inner(stream(("toolu_1", "{}")).encode(), headers=SSE)
    answer = await ask(inner, request_, path)
    assert answer.body == inner.body
    assert inner.bodies == [request_ if isinstance(request_, bytes) else json.dumps(request_).encode()]


async def test_stream_that_breaks_off_has_no_results() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        half = stream(("toolu_1", "{}")).partition("event: message_delta")[0]
        await send({"type": "http.response.body", "body": half.encode(), "more_body": True})
        raise StreamAborted("it broke off")

    answer = Answer()
    with pytest.raises(StreamAborted):
        await call(SafeguardsMiddleware(app, model="j"), http_scope("POST", "/v1/messages"), REQUEST, answer=answer)
    assert b"safeguard_results" not in answer.body
    assert not answer.complete


async def test_message_that_is_too_long_to_be_held_goes_through_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safeguards_answer, "MAX_ANSWER_BYTES", 100)
    message = {"type": "message", "content": [{"type": "text", "text": "long " * 50}], "stop_reason": "end_turn"}
    answer = await ask(App(json.dumps(message), 9, headers=JSON))
    assert answer.json() == message


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("verdict", ["<severity>9</severity>", "no verdict"])
async def test_exchange_leaves_nothing_to_the_garbage_collector(inside: bool, verdict: str) -> None:
    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.loads((await receive())["body"])
        function = {"name": "Bash", "arguments": "{}"}
        calls = [{"id": "call_1", "type": "function", "function": function}]
        asked = "<action>" in str(body["messages"])
        message = {"content": verdict} if asked else {"content": None, "tool_calls": calls}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def held() -> int:
        return sum(type(thing) in (BufferedBody, SafeguardedAnswer) for thing in gc.get_objects())

    if inside:
        app: Any = FormatConversionMiddleware(SafeguardsMiddleware(provider, model="judge"))
    else:
        app = SafeguardsMiddleware(FormatConversionMiddleware(provider), model="judge")
    tool = {"name": "Bash", "input_schema": {"type": "object", "properties": {}}}
    gc.collect()
    gc.disable()
    try:
        before = held()
        answer = await call(app, http_scope("POST", "/v1/messages"), {**REQUEST, "tools": [tool]})
        assert list(results_in(answer)) == ["call_1"]
        del answer
        assert held() == before
    finally:
        gc.enable()


class Failing(App):
    """Fails where it is asked for a verdict."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__(stream(("toolu_1", "{}")))
        self.failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message: Message = await receive()
        if b"<action>" not in message["body"]:

            async def replay() -> Message:
                return message

            return await super().__call__(scope, replay, send)
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "error"),
        (RuntimeError("a bug"), "error"),
        (StreamAborted("half an answer"), "error"),
        (ApiError(504, "timeout_error", "slow"), "timeout"),
        (TimeoutError(), "timeout"),
    ],
)
async def test_failure_to_ask_is_unavailable(failure: Exception | None, reason: str) -> None:
    assert results_in(await ask(Failing(failure))) == {"toolu_1": {"type": "unavailable", "reason": reason}}


@pytest.mark.parametrize(("options", "words"), [({"model": ""}, "name"), ({"model": "m", "timeout": 0}, "above 0")])
def test_options_that_cannot_be_used(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SafeguardsMiddleware(Inner(), **options)
