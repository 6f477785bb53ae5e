"""The six layers in every order and every subset: the same request upstream, the same answer for the client.

Routing stands at every place of some of these orders, with a second upstream behind the layers that stand inside it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, permutations
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy.demo.responses import call_item, message_item, response, response_events
from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
    RoutingMiddleware,
    SafeguardsMiddleware,
)
from ccproxy_middleware.toolkit.asgi import BufferedBody
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

KEY = "client-key"
CANONICAL = ("auth", "headers", "models", "safeguards", "boost", "conversion")
ORDERS = list(permutations(CANONICAL))
SUBSETS = [subset for size in range(7) for subset in combinations(CANONICAL, size)]

TOOL = {"name": "look", "description": "Look up", "input_schema": {"type": "object", "properties": {}}}
PLAIN = {
    "model": "claude-opus-4-8", "max_tokens": 100, "system": "Be brief.",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
}  # fmt: skip
TOOLS = {**PLAIN, "tools": [TOOL]}
ASKED = {"safeguards": [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]}
CHECK = {**PLAIN, "max_tokens": 64, "system": "You are a security monitor.", "stop_sequences": ["lo"]}
CACHE = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def chunk(delta: dict[str, Any], finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta or finish else []
    return {"id": "c", "object": "chat.completion.chunk", "model": "real-2024", "choices": choices, "usage": usage}


class Provider:
    """An endpoint that records what reaches it and answers in the dialect of the path."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.judging: list[str] = []  # the models that were asked about a call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await BufferedBody.read(scope, receive, 1 << 20)
        custom = [(k.decode(), v.decode()) for k, v in scope.get("ccproxy.custom_headers", [])]
        if "<action>" in str(body.data.get("messages") or body.data.get("input")):
            self.judging.append(body.data["model"])
            return await self.judge(scope, send)
        self.requests.append({"path": scope["path"], "body": body.data, "custom": custom})
        assert KEY not in str(scope["headers"])
        stream = body.data.get("stream") is True
        whole, streamed = {
            "/v1/chat/completions": (self.openai, self.openai_stream),
            "/v1/responses": (self.response, self.response_stream),
        }.get(scope["path"], (self.anthropic, self.anthropic_stream))
        if stream:
            kind, chunks = b"text/event-stream", streamed(body.data)
        else:
            kind, chunks = b"application/json", [json.dumps(whole(body.data)).encode()]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for data in chunks:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def judge(self, scope: Scope, send: Send) -> None:
        text = "<severity>80</severity><reason>too much</reason>"
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        message = {**self.anthropic(), "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        answer = {"choices": [choice]} if scope["path"].endswith("/chat/completions") else message
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def openai(self, request: Mapping[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "Hello"}
        if request.get("tools"):
            function = {"name": "look", "arguments": "{}"}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        return {"id": "c", "object": "chat.completion", "model": "real-2024", "choices": [choice], "usage": usage}

    def openai_stream(self, request: Mapping[str, Any]) -> list[bytes]:
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        chunks = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})]
        if request.get("tools"):
            call = {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": "{}"}}
            chunks.append(chunk({"tool_calls": [call]}))
        chunks += [chunk({}, "stop"), chunk({}, None, usage)]
        return [b"data: " + json.dumps(item).encode() + b"\n\n" for item in chunks] + [b"data: [DONE]\n\n"]

    def response(self, request: Mapping[str, Any]) -> dict[str, Any]:
        output = [message_item("msg_1", "Hello")]
        if request.get("tools"):
            output.append(call_item("fc_1", "call_1", "look", "{}"))
        usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
        return response({"id": "resp_1", "created_at": 1, "model": "real-2024"}, output, usage)

    def response_stream(self, request: Mapping[str, Any]) -> list[bytes]:
        events = response_events(self.response(request), lambda text: [text[:3], text[3:]])
        return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]

    def anthropic(self, request: Mapping[str, Any] = {}) -> dict[str, Any]:
        content = [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}]
        usage = {**CACHE, "input_tokens": 9, "output_tokens": 2}
        message = {
            "id": "msg_0123456789",
            "type": "message",
            "role": "assistant",
            "model": "real-2024",
            "content": content,
        }
        return {**message, "stop_reason": "tool_use", "stop_sequence": None, "stop_details": None, "usage": usage}

    def anthropic_stream(self, request: Mapping[str, Any] = {}) -> list[bytes]:
        message = {**self.anthropic(), "content": [], "stop_reason": None}
        block = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
        json_delta = {"type": "input_json_delta", "partial_json": "{}"}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": json_delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None},
                "usage": {**CACHE, "input_tokens": 9, "output_tokens": 2},
            },
            {"type": "message_stop"},
        ]  # fmt: skip
        return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


async def planner(scope: Scope, receive: Receive, send: Send) -> None:
    """A planner that always sends the executor on."""
    await BufferedBody.read(scope, receive, 1 << 20)
    plan = [chunk({"content": "ANALYSIS: needs data\nGUIDANCE: call look"}), chunk({}, "stop")]
    body = b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in plan) + b"data: [DONE]\n\n"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


LAYERS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "auth": lambda app: AuthMiddleware(app, api_keys=[KEY]),
    "headers": lambda app: CustomHeadersMiddleware(app, headers={"X-Team": "a", "Authorization": "Bearer own"}),
    "models": lambda app: ModelMappingMiddleware(
        app, big="B,spare:B2", middle="M", small="S", classifier="C", upstreams=["spare"]
    ),
    "safeguards": lambda app: SafeguardsMiddleware(app, model="claude-judge"),
    "boost": lambda app: BoostMiddleware(app, planner=planner, model="P", tiers=["BIG_MODEL"]),
}


def stacked(names: Iterable[str], app: ASGIApp, api: str = "chat", spare: ASGIApp | None = None) -> ASGIApp:
    """The layers around an app; what stands inside of routing is also around the spare one."""

    def wrapped(name: str, app: ASGIApp) -> ASGIApp:
        return FormatConversionMiddleware(app, options={"api": api}) if name == "conversion" else LAYERS[name](app)

    other = spare or app
    for name in reversed(list(names)):
        if name == "routing":
            app = RoutingMiddleware(app, targets={"spare": other})
        else:
            app, other = wrapped(name, app), wrapped(name, other)
    return app


async def exchange(names: Iterable[str], request: Any, key: str = KEY, api: str = "chat") -> tuple[list[Any], Answer]:
    provider = Provider()
    scope = http_scope("POST", "/v1/messages", {"x-api-key": key, "content-type": "application/json"})
    answer = await call(stacked(names, provider, api), scope, request)
    return provider.requests, answer


def told(answer: Answer) -> Any:
    """What the client learns, without what is new in each answer."""
    body = re.sub(r"(msg|req)_\w+", r"\1_id", answer.body.decode())
    # At the start of a stream the usage is an estimate: of the request as the converter got it.
    body = re.sub(r'("message_start".*"usage":)\{[^}]*\}', r"\g<1>{}", body)
    names = ("content-type", "x-upstream-model", "x-boost-loops", "x-boost-outcome", "x-should-retry")
    return answer.status, {n: answer.headers.get(n) for n in names}, body


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("body", [PLAIN, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_every_order_gives_the_same_request_and_the_same_answer(
    body: dict[str, Any], stream: bool, api: str
) -> None:
    request = {**body, "stream": stream}
    upstream, answer = await exchange(CANONICAL, request, api=api)
    assert upstream[0]["path"] == ("/v1/responses" if api == "responses" else "/v1/chat/completions")
    assert [r["body"]["model"] for r in upstream] == ["B"]
    assert upstream[0]["custom"] == [("x-team", "a"), ("authorization", "Bearer own")]
    assert answer.headers["x-upstream-model"] == "B"
    different = {}
    for order in ORDERS:
        requests, other = await exchange(order, request, api=api)
        if requests != upstream or told(other) != told(answer):
            different[order] = (requests, told(other))
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {told(answer)}"


async def judged(names: Iterable[str], request: Any) -> tuple[Any, ...]:
    """The requests for an answer, the model that has judged its call, and what the client gets."""
    provider = Provider()
    answer = await call(stacked(names, provider), http_scope("POST", "/v1/messages", {"x-api-key": KEY}), request)
    requests = [{**r, "body": {k: v for k, v in r["body"].items() if k != "safeguards"}} for r in provider.requests]
    return requests, provider.judging, told(answer)


async def test_call_is_judged_in_every_order(stream: bool) -> None:
    request = {**TOOLS, **ASKED, "stream": stream}
    expected = await judged(CANONICAL, request)
    _, judges, (status, _, body) = expected
    assert (status, judges) == (200, ["claude-judge"])
    verdict = {"type": "evaluated", "outcome": "flagged", "explanation": "too much"}
    assert f'"tool_uses":{{"call_1":{json.dumps(verdict, separators=(",", ":"))}}}' in body
    different = {}
    for order in ORDERS:
        if (found := await judged(order, request)) != expected:
            different[order] = found
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {expected}"


async def test_question_of_auto_mode_goes_to_its_model_unboosted_in_every_order(stream: bool) -> None:
    request = {**CHECK, "tools": [TOOL], "stream": stream}
    upstream, answer = await exchange(CANONICAL, request)
    assert upstream[0]["body"]["model"] == "C"
    assert "x-boost-loops" not in answer.headers
    assert ("stop_sequence" if stream else "Hel") in answer.body.decode()
    different = {}
    for order in ORDERS:
        requests, other = await exchange(order, request)
        if requests != upstream or told(other) != told(answer):
            different[order] = (requests, told(other))
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {told(answer)}"


@pytest.mark.parametrize("body", [PLAIN, TOOLS], ids=["plain", "tools"])
async def test_wrong_key_is_refused_in_every_order(body: dict[str, Any], stream: bool) -> None:
    for order in ORDERS:
        requests, answer = await exchange(order, {**body, "stream": stream}, key="wrong")
        assert requests == [], order
        assert (answer.status, answer.json()["error"]["type"]) == (401, "authentication_error"), order
        assert answer.json()["request_id"] == answer.headers["request-id"], order
        assert answer.headers["x-should-retry"] == "false", order


ANSWERED_WITHIN = {
    "count": ("POST", "/v1/messages/count_tokens", PLAIN),
    "prewarmed": ("POST", "/v1/messages", {**PLAIN, "max_tokens": 0}),
    "models": ("GET", "/v1/models", b""),
    "one model": ("GET", "/v1/models/claude-opus", b""),
    "wrong method": ("HEAD", "/v1/models", b""),
    "unknown path": ("POST", "/v1/messages/batches", {}),
    "no JSON": ("POST", "/v1/messages", b"{"),
    "no message": ("POST", "/v1/messages", {}),
    "bad encoding": ("POST", "/v1/messages", b"\x00"),
    "boosted": ("POST", "/v1/messages", TOOLS),
}
"""What a layer may answer, or do, without asking the endpoint."""


@pytest.mark.parametrize("kind", ANSWERED_WITHIN)
async def test_stranger_gets_the_same_refusal_in_every_order_and_nothing_is_read(kind: str) -> None:
    method, path, _ = ANSWERED_WITHIN[kind]
    for order in ORDERS:
        provider = Provider()
        headers = {"x-api-key": "wrong", "content-encoding": "no-such" if kind == "bad encoding" else "identity"}

        async def receive() -> Any:
            raise AssertionError("the body is read")

        answer = Answer()

        async def send(message: Any) -> None:
            answer.messages.append(message)  # noqa: B023

        await stacked(order, provider)(http_scope(method, path, headers), receive, send)
        assert answer.status == 401, order
        assert method == "HEAD" or answer.json()["error"]["type"] == "authentication_error", order
        assert provider.requests == [], order


@pytest.mark.parametrize("kind", ["count", "prewarmed", "models", "one model"])
async def test_client_with_the_key_gets_the_same_in_every_order(kind: str) -> None:
    method, path, body = ANSWERED_WITHIN[kind]
    answers = set()
    for order in ORDERS:
        answer = await call(stacked(order, Provider()), http_scope(method, path, {"x-api-key": KEY}), body)
        assert answer.status == 200, order
        answers.add(re.sub(r"msg_\w+", "", answer.body.decode()))
    assert len(answers) == 1 or kind == "count"  # which counts the model's name too


class Wrapping:
    """A layer of one's own, as most are written."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def test_auth_is_found_behind_a_layer_of_ones_own() -> None:
    app = FormatConversionMiddleware(Wrapping(AuthMiddleware(Provider(), api_keys=[KEY])))
    scope = http_scope("POST", "/v1/messages/count_tokens")
    assert (await call(app, scope, PLAIN)).status == 401
    scope = http_scope("POST", "/v1/messages/count_tokens", {"x-api-key": KEY})
    assert (await call(app, scope, PLAIN)).status == 200


async def test_app_that_holds_itself_is_no_trap() -> None:
    inner = Wrapping(Provider())
    inner.app = inner
    FormatConversionMiddleware(inner)


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: "+".join(subset) or "none")
async def test_every_subset_gives_a_valid_answer(subset: tuple[str, ...], stream: bool) -> None:
    key = KEY if "auth" in subset else "nobody looks"
    (upstream,), answer = await exchange(subset, {**TOOLS, "stream": stream}, key=key)
    assert answer.status == 200
    if stream:
        events = check_stream(answer.body)
        model = events[0]["message"]["model"]
        assert any(event.get("content_block", {}).get("name") == "look" for event in events)
    else:
        model = answer.json()["model"]
        assert answer.json()["content"][-1]["name"] == "look"
    assert upstream["path"] == ("/v1/chat/completions" if "conversion" in subset else "/v1/messages")
    assert upstream["body"]["model"] == ("B" if "models" in subset else "claude-opus-4-8")
    assert bool(upstream["custom"]) == ("headers" in subset)
    assert ("GUIDANCE" in str(upstream["body"]) or "call look" in str(upstream["body"])) == ("boost" in subset)
    restored = "models" in subset or "conversion" in subset
    assert model == ("claude-opus-4-8" if restored else "real-2024")


def at_every_place(order: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The order with routing at each place of it."""
    return [(*order[:at], "routing", *order[at:]) for at in range(len(order) + 1)]


ROUTED = [names for order in (CANONICAL, *ORDERS[7::97]) for names in at_every_place(order)]


@pytest.mark.parametrize("body", [PLAIN, TOOLS], ids=["plain", "tools"])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_routing_changes_nothing_at_any_place_where_nothing_fails(
    body: dict[str, Any], stream: bool, api: str
) -> None:
    request = {**body, "stream": stream}
    upstream, answer = await exchange(CANONICAL, request, api=api)
    different = {}
    for order in ROUTED:
        requests, other = await exchange(order, request, api=api)
        if requests != upstream or told(other) != told(answer):
            different[order] = (requests, told(other))
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {told(answer)}"


class Failing(Provider):
    """An endpoint that is overloaded."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await BufferedBody.read(scope, receive, 1 << 20)
        self.requests.append({"path": scope["path"], "body": body.data})
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"error":{"message":"busy"}}'})


async def test_spare_upstream_answers_in_every_order_with_routing_inside_of_models(stream: bool) -> None:
    upstream, answer = await exchange(CANONICAL, {**TOOLS, "stream": stream})
    expected = [{**request, "body": {**request["body"], "model": "B2"}} for request in upstream]
    orders = [order for order in ROUTED if order.index("models") < order.index("routing")]
    assert len(orders) > 20
    different = {}
    for order in orders:
        bad, good = Failing(), Provider()
        scope = http_scope("POST", "/v1/messages", {"x-api-key": KEY, "content-type": "application/json"})
        other = await call(stacked(order, bad, spare=good), scope, {**TOOLS, "stream": stream})
        if good.requests != expected or (other.status, told(other)[2]) != (200, told(answer)[2]) or not bad.requests:
            different[order] = (bad.requests, good.requests, told(other))
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {expected}"


async def test_every_subset_is_the_same_with_routing(stream: bool) -> None:
    for subset in SUBSETS:
        key = KEY if "auth" in subset else "nobody looks"
        upstream, answer = await exchange(subset, {**TOOLS, "stream": stream}, key=key)
        for order in at_every_place(subset):
            requests, other = await exchange(order, {**TOOLS, "stream": stream}, key=key)
            assert (requests, told(other)) == (upstream, told(answer)), order
