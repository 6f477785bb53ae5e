"""Single layers in front of other people's ASGI apps, over real sockets."""

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, TextBlock, ToolParam, ToolUseBlock
from openai import OpenAI
from starlette.types import ASGIApp

from ccproxy import Forward
from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
)
from integration.hosts import EXAMPLES, load, running
from integration.need import need
from support.providers import real_model
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.servers import serve

KEY = "team-key"
GREEDY = {"temperature": 0}
HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]
LOOK: ToolParam = {
    "name": "look",
    "description": "Look it up",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}


@contextmanager
def anthropic_client(url: str, key: str = KEY) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key=key, max_retries=0, timeout=120) as client:
        yield client


# FormatConversion and Auth before an app that speaks OpenAI's API only


def openai_only() -> ASGIApp:
    """An app as users of fastapi-openai-compat write one: it never tells the usage, and fails with ``detail``."""
    compat = need("fastapi_openai_compat")
    fastapi = need("fastapi")

    def completion(kind: str, model: str, finish: str | None, **message: Any) -> Any:
        said = compat.Message(role="assistant", **message)
        place = "delta" if kind.endswith("chunk") else "message"
        choice = compat.Choice(index=0, finish_reason=finish, **{place: said})
        return compat.ChatCompletion(id="c", object=kind, created=0, model=model, choices=[choice])

    def call(arguments: str, **more: Any) -> dict[str, Any]:
        return {"index": 0, "type": "function", **more, "function": {"name": "look", "arguments": arguments}}

    def run_completion(model: str, messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        if model == "gone":
            raise fastapi.HTTPException(404, "The model `gone` does not exist")
        if model == "busy":
            raise fastapi.HTTPException(429, "too many requests")
        if body.get("tools") and messages[-1]["role"] != "tool":
            if not body["stream"]:
                calls = [call('{"at":"sea"}', id="call_1")]
                return completion("chat.completion", model, "tool_calls", content=None, tool_calls=calls)
            pieces = [call('{"at":', id="call_1"), {"index": 0, "function": {"arguments": '"sea"}'}}]
            kind = "chat.completion.chunk"
            chunks = [completion(kind, model, None, content=None, tool_calls=[piece]) for piece in pieces]
            return (chunk for chunk in [*chunks, completion(kind, model, "tool_calls", content=None)])
        text = f"You said: {messages[-1]['content']}"
        if not body["stream"]:
            return text
        return broken() if model == "broken" else (f"{word} " for word in text.split())

    def broken() -> Iterator[str]:
        yield "You"
        raise RuntimeError("the model has crashed")

    app = fastapi.FastAPI()
    router = compat.create_chat_completion_router(list_models=lambda: ["echo"], run_completion=run_completion)
    app.include_router(router)
    found: ASGIApp = app
    return found


@pytest.fixture(scope="module")
def converted() -> Iterator[str]:
    """The URL of such an app behind FormatConversion and Auth."""
    app = AuthMiddleware(FormatConversionMiddleware(openai_only()), api_keys=[KEY])
    with serve(app) as server:
        yield server.url
    assert all("the model has crashed" in error or "without completing" in error for error in server.errors)


@pytest.fixture
def client(converted: str) -> Iterator[Anthropic]:
    with anthropic_client(converted) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def ask(client: Anthropic, stream: bool, **request: Any) -> Any:
    if not stream:
        return client.messages.create(max_tokens=100, **request)
    with client.messages.stream(max_tokens=100, **request) as events:
        return events.get_final_message()


def text(message: Any) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


def test_openai_app_answers_anthropics_sdk(client: Anthropic, stream: bool) -> None:
    message = ask(client, stream, model="echo", messages=HELLO)
    assert text(message).strip() == "You said: Hello"
    assert (message.model, message.stop_reason) == ("echo", "end_turn")


def test_openai_app_calls_tools_for_anthropics_sdk(client: Anthropic, stream: bool) -> None:
    message = ask(client, stream, model="echo", messages=HELLO, tools=[LOOK])
    [use] = message.content
    assert isinstance(use, ToolUseBlock)
    assert (use.name, use.input, message.stop_reason) == ("look", {"at": "sea"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "blue"}
    turns = [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    assert text(ask(client, stream, model="echo", messages=turns, tools=[LOOK])).strip() == "You said: blue"


def test_openai_app_counts_and_lists(client: Anthropic) -> None:
    assert client.messages.count_tokens(model="echo", messages=HELLO).input_tokens > 0
    assert [model.id for model in client.models.list()] == ["echo"]
    assert client.models.retrieve("echo").display_name == "echo"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("other")


def test_openai_apps_errors_are_anthropics(client: Anthropic, converted: str, stream: bool) -> None:
    with pytest.raises(anthropic.NotFoundError) as gone:
        ask(client, stream, model="gone", messages=HELLO)
    assert "gone" in gone.value.message
    with pytest.raises(anthropic.RateLimitError):
        ask(client, stream, model="busy", messages=HELLO)
    with anthropic_client(converted, "wrong") as stranger, pytest.raises(anthropic.AuthenticationError):
        ask(stranger, stream, model="echo", messages=HELLO)


def test_openai_apps_crash_in_mid_stream_is_an_error(client: Anthropic) -> None:
    with pytest.raises(anthropic.APIError):
        ask(client, True, model="broken", messages=HELLO)


def test_what_is_not_anthropics_still_reaches_the_openai_app(converted: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=converted, timeout=20, trust_env=False, headers=headers) as http:
        assert http.get("/openapi.json").json()["openapi"].startswith("3.")
    with OpenAI(base_url=f"{converted}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "Hello"}])
    assert answer.choices[0].message.content == "You said: Hello"


# CustomHeaders and ModelMapping before another reverse proxy


@contextmanager
def before_asgi_proxy(target: str) -> Iterator[str]:
    yield from _served(need("asgi_proxy").asgi_proxy(target))


@contextmanager
def before_fastapi_proxy(target: str) -> Iterator[str]:
    app = need("fastapi_proxy_lib.fastapi.app").reverse_http_app(
        client=httpx.AsyncClient(trust_env=False), base_url=target + "/"
    )
    yield from _served(app)


def _served(reverse_proxy: ASGIApp) -> Iterator[str]:
    app = CustomHeadersMiddleware(
        ModelMappingMiddleware(reverse_proxy, big="B", small="S"),
        headers={"X-Team": "blue", "Authorization": "Bearer own"},
    )
    with serve(app) as server:
        yield server.url
    assert server.errors == []


@pytest.fixture(params=[before_asgi_proxy, before_fastapi_proxy])
def reverse_proxy(request: pytest.FixtureRequest) -> Any:
    return request.param


pass_bytes_as_data = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # asgi-proxy-lib does


@pass_bytes_as_data
@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
def test_reverse_proxys_target_gets_the_header_and_the_mapped_model(
    reverse_proxy: Any, stream: bool, chunked: bool, size: int
) -> None:
    target = ScriptedProvider(lambda body: Reply("Hello there."))
    body = {"model": "claude-haiku-4-5", "stream": stream, "messages": [{"role": "user", "content": "ä" * size}]}
    raw = json.dumps(body).encode()
    with (
        serve(target, lifespan="off") as provider,
        reverse_proxy(provider.url) as url,
        httpx.Client(base_url=url, timeout=20, trust_env=False) as http,
    ):
        content: Any = iter([raw[:7], raw[7:]]) if chunked else raw
        headers = {"content-type": "application/json", "authorization": "Bearer client"}
        answer = http.post("/v1/chat/completions?a=b", content=content, headers=headers)
        listed = http.get("/v1/models")
    assert answer.status_code == listed.status_code == 200
    asked, looked = target.requests
    assert asked.body == {**body, "model": "S"}
    assert asked.query == "a=b"
    for request in (asked, looked):
        assert (request.headers["x-team"], request.headers["authorization"]) == ("blue", "Bearer own")
    length = asked.headers.get("content-length")
    assert length == str(len(asked.raw)) if length else asked.headers["transfer-encoding"] == "chunked"
    if stream:
        chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
        assert {chunk["model"] for chunk in chunks} == {"claude-haiku-4-5"}
    else:
        assert answer.json()["model"] == "claude-haiku-4-5"
        assert answer.json()["choices"][0]["message"]["content"] == "Hello there."
        assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["x-upstream-model"] == "S"


@pass_bytes_as_data
def test_reverse_proxy_passes_a_body_without_a_model_of_claudes_unchanged(reverse_proxy: Any) -> None:
    target = ScriptedProvider(lambda body: Reply("Hello there."))
    raw = b'{ "model" : "own" ,"messages":[ {"role":"user","content":"\\u00e4"}]}'
    with (
        serve(target, lifespan="off") as provider,
        reverse_proxy(provider.url) as url,
        httpx.Client(base_url=url, timeout=20, trust_env=False) as http,
    ):
        assert http.post("/v1/chat/completions", content=raw).json()["model"] == "own"
        assert http.post("/v1/files", content=b"\x00\xff", headers={"x-own": "1"}).status_code == 404
    assert [request.raw for request in target.requests] == [raw, b"\x00\xff"]
    assert target.requests[1].headers["x-own"] == "1"


# Boost before a plain OpenAI app


def test_boost_plans_for_an_openai_app(stream: bool) -> None:
    planner = ScriptedProvider(lambda body: Reply("ANALYSIS: sea\nGUIDANCE: call look"))
    with serve(planner, lifespan="off") as thinking:
        app = BoostMiddleware(openai_only(), planner=Forward(f"{thinking.url}/v1", api_key="planner-key"), model="P")
        tool: Any = {
            "type": "function",
            "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
        }
        with serve(app) as server, OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            asked: Any = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
            raw = client.chat.completions.with_raw_response.create(**asked, tools=[tool], stream=stream)
            answer: Any = raw.parse()
            said = [c.delta for chunk in answer for c in chunk.choices] if stream else [answer.choices[0].message]
            calls = [call.function for part in said for call in part.tool_calls or ()]
            plain = client.chat.completions.create(**asked)
        assert server.errors == []
    assert calls[0].name == "look"
    assert "".join(call.arguments for call in calls) == '{"at":"sea"}'
    assert (raw.headers["x-boost-loops"], raw.headers["x-boost-outcome"]) == ("1", "guidance")
    assert plain.choices[0].message.content == "You said: Hello"
    [question] = planner.requests
    assert question.headers["authorization"] == "Bearer planner-key"
    assert question.body["model"] == "P"


# The examples as programs


def test_example_before_openai_app_runs(tmp_path: Path) -> None:
    need("fastapi_openai_compat")
    with running([str(EXAMPLES / "before_openai_app.py")], tmp_path, {"ANTHROPIC_API_KEY": KEY}) as url:
        with anthropic_client(url) as client:
            assert text(ask(client, True, model="echo", messages=HELLO)).strip() == "You said: Hello"
        with anthropic_client(url, "wrong") as client, pytest.raises(anthropic.AuthenticationError):
            ask(client, False, model="echo", messages=HELLO)


def test_example_before_reverse_proxy_runs(tmp_path: Path) -> None:
    need("asgi_proxy")
    target = ScriptedProvider()
    with serve(target, lifespan="off") as provider:
        environment = {"TARGET": provider.url, "TEAM": "blue"}
        with (
            running([str(EXAMPLES / "before_reverse_proxy.py")], tmp_path, environment) as url,
            OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            answer = client.chat.completions.create(
                model="claude-opus-4-8", messages=[{"role": "user", "content": "a"}]
            )
    assert answer.model == "claude-opus-4-8"
    assert (target.completions[0]["model"], target.requests[-1].headers["x-team"]) == ("gpt-4o", "blue")


def test_example_boost_before_openai_app_runs(tmp_path: Path, stream: bool) -> None:
    need("fastapi_openai_compat")
    planner = ScriptedProvider(lambda body: Reply("GUIDANCE: call look"))
    with serve(planner, lifespan="off") as thinking:
        environment = {"BOOST_BASE_URL": f"{thinking.url}/v1", "BOOST_API_KEY": "k"}
        with (
            running([str(EXAMPLES / "boost_before_openai_app.py")], tmp_path, environment) as url,
            httpx.Client(base_url=url, timeout=20, trust_env=False) as http,
        ):
            tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
            body = {"model": "m", "stream": stream, "tools": [tool], "messages": [{"role": "user", "content": "Hello"}]}
            answer = http.post("/v1/chat/completions", json=body)
    assert answer.headers["x-boost-outcome"] == "guidance"
    assert '"name":"look"' in answer.text


# llama-cpp-python's own server, with a real model: CC_BOOST_REAL=smol, where it is installed


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    pytest.importorskip("llama_cpp.server.app", reason="llama-cpp-python takes minutes to compile: install it by hand")
    if "smol" not in os.environ.get("CC_BOOST_REAL", "").split(","):
        pytest.skip("it takes a real model: CC_BOOST_REAL=smol fetches one")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cc-boost-tests"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        file = real_model._fetch(cache, Path(sys.executable), "smol")
    except real_model.Unavailable as exc:
        pytest.skip(str(exc))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MODEL", str(file)), ("ANTHROPIC_API_KEY", KEY), ("CONTEXT", "2048")):
            patch.setenv(name, value)
        app = load("before_llama_cpp_python").app
    with serve(app) as server:
        yield server.url


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves streams of its own open
def test_llama_cpp_pythons_server_answers_anthropics_sdk(llama: str, stream: bool) -> None:
    with anthropic_client(llama) as client:
        message = ask(client, stream, model="mine", messages=HELLO, extra_body=GREEDY)
        assert text(message)
        assert message.stop_reason in ("end_turn", "max_tokens")
        choice = {"type": "tool", "name": "look"}
        used = ask(client, stream, model="mine", messages=HELLO, tools=[LOOK], tool_choice=choice, extra_body=GREEDY)
        assert [block.name for block in used.content if isinstance(block, ToolUseBlock)] == ["look"]
        assert [model.id for model in client.models.list()] == ["mine"]
        assert client.messages.count_tokens(model="mine", messages=HELLO).input_tokens > 0
        if not stream:  # in a stream its generator raises, which is a 500
            with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
                client.messages.create(
                    model="mine", max_tokens=9, messages=[{"role": "user", "content": "word " * 5000}]
                )
    with anthropic_client(llama, "wrong") as client, pytest.raises(anthropic.AuthenticationError):
        ask(client, stream, model="mine", messages=HELLO)
    gc.collect()  # while they are ignored
