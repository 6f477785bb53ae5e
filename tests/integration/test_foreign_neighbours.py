"""Layers of others between any two of ours: the same request upstream, the same answer for the client."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy import Forward, Settings, create_app
from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
)
from integration.foreign import FOREIGN, LIMIT, ORIGIN, Redact
from support.providers.scripted import Endless, Raw, Recorded, Reply, ScriptedProvider, ToolCall
from support.serving.servers import Server, eventually, serve
from support.streams.grammar import parse_frames

KEY = "client-key"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
OURS = ("Auth", "CustomHeaders", "ModelMapping", "Boost", "FormatConversion")
GAPS = range(len(OURS) + 1)  # how many of ours stand outside the foreign layer
INSIDE = len(OURS)  # the gap between FormatConversion and Forward
TOOL = {"name": "look", "description": "Look up", "input_schema": {"type": "object", "properties": {}}}

gap_ids = [f"in-{OURS[gap - 1]}" if gap else "outermost" for gap in GAPS]
every_gap = pytest.mark.parametrize("gap", GAPS, ids=gap_ids)
every_layer = pytest.mark.parametrize("name", FOREIGN)


def request_for(text: str, *, stream: bool, tools: bool = False) -> dict[str, Any]:
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    body = {"model": "claude-opus-4-8", "max_tokens": 100, "stream": stream, "messages": [message]}
    return {**body, "tools": [TOOL]} if tools else body


def executor(body: dict[str, Any]) -> Any:
    """The target provider: what it says follows from the request."""
    text = str(body["messages"])
    if "break" in text:
        return Raw([b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n', 0.05])
    if "endless" in text:
        return Endless()
    if "wait" in text:
        return Reply("late", delay=30.0)
    calls = [ToolCall("look", {"at": "sea"}, id="call_1")] if "tools" in body else []
    return Reply("I look it up. " * 20, tool_calls=calls, usage=USAGE)


class Switch:
    """One server for all stacks: the app is changed between tests."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass
class Stand:
    """The providers and the proxy, all on sockets, and a client."""

    target: ScriptedProvider
    planner: ScriptedProvider
    to_target: Forward
    to_planner: Forward
    switch: Switch
    server: Server
    http: httpx.Client

    def use(self, foreign: Middleware | None, gap: int) -> None:
        """Put the foreign layer inside ``gap`` of ours."""
        layers = [
            Middleware(AuthMiddleware, api_keys=[KEY]),
            Middleware(CustomHeadersMiddleware, headers={"X-Team": "a"}),
            Middleware(ModelMappingMiddleware, big="B", small="S"),
            Middleware(BoostMiddleware, planner=self.to_planner, model="P", tiers=["BIG_MODEL"]),
            Middleware(FormatConversionMiddleware, provider="generic"),
        ]
        if foreign is not None:
            layers.insert(gap, foreign)
        settings = Settings.explicit(openai_api_key="provider-key")
        self.switch.app = create_app(settings, layers=layers, endpoint=self.to_target)
        self.target.requests.clear()
        self.planner.requests.clear()
        self.target.disconnects.clear()
        self.server.errors.clear()

    def post(self, body: Any, **headers: str) -> httpx.Response:
        return self.http.post("/v1/messages", json=body, headers={"x-api-key": KEY, "origin": ORIGIN, **headers})

    def upstream(self) -> list[Any]:
        """What reached the planner and the target."""
        return [seen(request) for request in (*self.planner.requests, *self.target.requests)]


def seen(request: Recorded) -> Any:
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    return request.method, request.path, request.query, headers, request.body


def told(answer: httpx.Response) -> Any:
    """What the client learns, without what is new in each answer."""
    names = ("content-type", "x-upstream-model", "x-boost-loops", "x-boost-outcome")
    assert re.fullmatch(r"req_\w+", answer.headers["request-id"])
    body = re.sub(r"(msg|req)_\w+", r"\1_id", answer.text)
    return answer.status_code, {name: answer.headers.get(name) for name in names}, body


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    target = ScriptedProvider(executor)
    planner = ScriptedProvider(lambda body: Reply("ANALYSIS: it needs data\nGUIDANCE: call look", usage=USAGE))
    switch = Switch()
    with (
        serve(target, lifespan="off") as first,
        serve(planner, lifespan="off") as second,
        serve(switch, lifespan="off") as server,
        httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http,
    ):
        to_target = Forward(f"{first.url}/v1", api_key="provider-key", max_retries=0)
        to_planner = Forward(f"{second.url}/v1", api_key="planner-key", max_retries=0)
        yield Stand(target, planner, to_target, to_planner, switch, server, http)


@pytest.fixture(params=[False, True], ids=["json", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@every_gap
@every_layer
def test_foreign_layer_changes_neither_request_nor_answer(stand: Stand, name: str, gap: int, stream: bool) -> None:
    foreign = FOREIGN[name]()
    for body in (request_for("hi", stream=stream), request_for("hi", stream=stream, tools=True)):
        stand.use(None, 0)
        plain = told(stand.post(body))
        upstream = stand.upstream()
        assert plain[0] == 200
        assert len(upstream) == (2 if "tools" in body else 1)
        stand.use(foreign, gap)
        assert told(stand.post(body)) == plain
        assert stand.upstream() == upstream
        assert stand.server.errors == []


@every_gap
def test_editor_changes_what_the_provider_gets(stand: Stand, gap: int, stream: bool) -> None:
    """The planner gets the edited text only where the editor stands outside Boost, which asks it past all others."""
    body = request_for("look for the secret", stream=stream, tools=True)
    stand.use(None, 0)
    plain = told(stand.post(body))
    before = stand.upstream()
    stand.use(Middleware(Redact), gap)
    estimate = re.compile(r'"input_tokens":\d+')  # at the start of a stream, by the length of the text
    edited = told(stand.post(body))
    assert (*edited[:2], estimate.sub("", edited[2])) == (*plain[:2], estimate.sub("", plain[2]))
    outside_boost = gap <= OURS.index("Boost")
    planned, executed = stand.upstream()
    assert planned == (replaced(before[0]) if outside_boost else before[0])
    assert executed == replaced(before[1])
    assert int(stand.target.requests[0].headers["content-length"]) == len(stand.target.requests[0].raw)


def replaced(request: Any) -> Any:
    if isinstance(request, str):
        return request.replace("secret", "[redacted]")
    if isinstance(request, dict):
        return {key: replaced(value) for key, value in request.items()}
    return type(request)(replaced(item) for item in request) if isinstance(request, (list, tuple)) else request


@every_gap
@every_layer
def test_broken_stream_is_seen_as_broken(stand: Stand, name: str, gap: int) -> None:
    """Behind BaseHTTPMiddleware outside FormatConversion the error event comes all the same, but a clean end too."""
    stand.use(FOREIGN[name](), gap)
    got = b""
    clean = True
    try:
        body = request_for("break", stream=True)
        with stand.http.stream("POST", "/v1/messages", json=body, headers={"x-api-key": KEY}) as answer:
            for chunk in answer.iter_bytes():
                got += chunk
    except httpx.RemoteProtocolError:
        clean = False
    if name != "gzip-streams-too" or gap == INSIDE:  # a broken gzip stream may keep its last event
        assert parse_frames(got)[-1]["error"]["type"] == "api_error"
    assert clean == (name == "base-http" and gap < INSIDE)


@every_gap
@every_layer
@pytest.mark.parametrize("text", ["endless", "wait"])
@pytest.mark.anyio
async def test_leaving_is_told_to_the_provider(stand: Stand, name: str, gap: int, text: str) -> None:
    stand.use(FOREIGN[name](), gap)

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False, headers={"x-api-key": KEY}) as http:
            await http.post(f"{stand.server.url}/v1/messages", json=request_for(text, stream=text == "endless"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await eventually(lambda: stand.target.active)
        tasks.cancel_scope.cancel()
    await eventually(lambda: stand.target.disconnects and not stand.target.active)


@every_gap
def test_trusted_host_refuses_and_nothing_goes_upstream(stand: Stand, gap: int) -> None:
    stand.use(FOREIGN["trusted-host"](), gap)
    answer = stand.post(request_for("hi", stream=False), host="evil.example")
    assert answer.status_code == 400
    if gap == INSIDE:  # its answer is converted as the provider's would be
        assert answer.json()["error"]["type"] == "invalid_request_error"
    else:
        assert answer.text == "Invalid host header"
    assert stand.target.requests == []


@every_gap
@pytest.mark.parametrize("chunked", [False, True])
def test_body_limit_refuses_and_nothing_goes_upstream(stand: Stand, gap: int, chunked: bool) -> None:
    stand.use(FOREIGN["body-limit"](), gap)
    raw = b'{"model":"claude-opus-4-8","max_tokens":9,"messages":[{"role":"user","content":"%s"}]}' % (b"x" * LIMIT)
    content: Any = iter([raw[:9], raw[9:]]) if chunked else raw
    answer = stand.http.post("/v1/messages", content=content, headers={"x-api-key": KEY})
    assert answer.status_code == 413
    if gap == INSIDE:
        assert answer.json()["error"]["type"] == "request_too_large"
    assert stand.target.requests == []
    assert stand.server.errors == []


@every_gap
def test_cors_is_of_use_outermost_only(stand: Stand, gap: int) -> None:
    """A browser's preflight brings no key, and of headers from inside FormatConversion few reach the client."""
    stand.use(FOREIGN["cors"](), gap)
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    preflight = stand.http.options("/v1/messages", headers={"origin": ORIGIN, **asked})
    assert preflight.status_code == (200 if gap == 0 else 401)
    answer = stand.post(request_for("hi", stream=False))
    assert answer.status_code == 200
    assert answer.headers.get("access-control-allow-origin") == (ORIGIN if gap < INSIDE else None)


@every_gap
def test_correlation_id_reaches_the_client_from_outside_format_conversion(stand: Stand, gap: int) -> None:
    stand.use(FOREIGN["correlation-id"](), gap)
    answer = stand.post(request_for("hi", stream=False), **{"x-request-id": "0" * 32})
    assert answer.headers.get("x-request-id") == ("0" * 32 if gap < INSIDE else None)
    assert "x-request-id" not in stand.target.requests[0].headers


@every_gap
def test_gzip_compresses_only_where_nothing_outside_reads_the_answer(stand: Stand, gap: int, stream: bool) -> None:
    stand.use(FOREIGN["gzip-streams-too"](), gap)
    answer = stand.post(request_for("hi", stream=stream))
    assert answer.headers.get("content-encoding") == ("gzip" if gap <= OURS.index("ModelMapping") else None)
    answer = stand.post(request_for("hi", stream=stream), **{"accept-encoding": "identity"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_hosts_body_limit_outside_the_proxy_is_no_bug_of_ours(stand: Stand, chunked: bool) -> None:
    stand.use(None, 0)
    limit = FOREIGN["body-limit"]()
    stand.switch.app = limit.cls(stand.switch.app, *limit.args, **limit.kwargs)
    content: Any = iter([b"x" * LIMIT] * 2) if chunked else b"x" * (2 * LIMIT)
    answer = stand.http.post("/v1/messages", content=content, headers={"x-api-key": KEY})
    assert answer.status_code == 413
    if chunked:  # raised while we read
        assert answer.json()["error"] == {"type": "request_too_large", "message": "Content Too Large"}
    assert stand.server.errors == []
