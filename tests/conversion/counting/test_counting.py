"""Counting tokens: by the provider where a switch says so, and how near the local counts come to its usage."""

import base64
import json
import statistics
from typing import Any, Literal

import anyio
import pytest
from anthropic import Anthropic
from starlette.types import Receive, Scope, Send

from ccproxy import Settings, create_app
from ccproxy.forwarding.upstream import Upstream
from ccproxy_middleware import FormatConversionMiddleware, ModelMappingMiddleware
from ccproxy_middleware.conversion.counting.count_tokens import TokenCounter
from ccproxy_middleware.conversion.counting.tokens import count_request
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.paths import DATA
from support.serving.proxied import proxy
from support.serving.servers import serve

pytestmark = pytest.mark.anyio

DATA = DATA
REQUEST = {"model": "m", "system": "Be brief.", "messages": [{"role": "user", "content": "Hello there"}]}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"}]
TOOLS = [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}]
LOCAL = 18  # what is counted here for REQUEST


class Provider:
    """An app that answers each path with fixed JSON, and keeps what it was asked. Other paths are a 404."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = Inner(b'{"error":{"message":"Not Found"}}', status=404)
        name = scope["path"].removeprefix("/").replace("-", "_")
        if scope["method"] == "POST" and name in self.answers:
            inner = Inner(json.dumps(self.answers[name]).encode())
        await inner(scope, receive, send)
        self.asked.append((scope["path"], inner.json()))


async def count(inner: Any, request: Any, **options: Any) -> Answer:
    app = FormatConversionMiddleware(inner, options=options)
    return await call(app, http_scope("POST", "/v1/messages/count_tokens"), request)


async def test_vllm_counts_the_conversation_itself() -> None:
    provider = Provider(tokenize={"count": 41, "max_model_len": 4096, "tokens": [1]})
    answer = await count(provider, {**REQUEST, "tools": TOOLS}, count_tokens="vllm")
    assert answer.json() == {"input_tokens": 41}
    ((path, asked),) = provider.asked
    assert path == "/tokenize"
    tools = asked.pop("tools")
    assert tools[0]["function"]["name"] == "f"
    assert asked == {"model": "m", "messages": MESSAGES, "add_generation_prompt": True}


async def test_llama_cpp_renders_the_conversation_and_counts_the_text() -> None:
    provider = Provider(apply_template={"prompt": "<s>Hello"}, tokenize={"tokens": [1, 2, 3]})
    answer = await count(provider, REQUEST, count_tokens="llama.cpp")
    assert answer.json() == {"input_tokens": 3}
    assert provider.asked == [
        ("/apply-template", {"model": "m", "messages": MESSAGES}),
        ("/tokenize", {"model": "m", "content": "<s>Hello", "add_special": True, "parse_special": True}),
    ]


async def test_template_is_told_of_thinking_where_the_profile_tells_it() -> None:
    provider = Provider(tokenize={"count": 5})
    request = {**REQUEST, "thinking": {"type": "disabled"}}
    await count(provider, request, count_tokens="vllm", reasoning_style="chat_template")
    assert provider.asked[0][1]["chat_template_kwargs"] == {"enable_thinking": False}


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (512).to_bytes(4) * 2).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(b"%PDF /Type /Page\n").decode()}


async def test_images_and_files_are_counted_here_and_added() -> None:
    provider = Provider(tokenize={"count": 10})
    content = [{"type": "text", "text": "See:"}, IMAGE, {"type": "document", "title": "a.pdf", "source": PDF}]
    request = {**REQUEST, "messages": [{"role": "user", "content": content}]}
    answer = await count(provider, request, count_tokens="vllm", pdf="file")
    assert 10 + 255 + 2000 < answer.json()["input_tokens"] < 10 + 255 + 2010
    sent = provider.asked[0][1]["messages"][1]["content"]
    assert [part["type"] for part in sent] == ["text"] * len(sent)
    assert "See:" in json.dumps(sent)


async def never_answers(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise StreamAborted


@pytest.mark.parametrize(
    ("counter", "inner"),
    [
        ("vllm", Provider()),
        ("vllm", Provider(tokenize={"tokens": [1, 2]})),
        ("vllm", Provider(tokenize=[1, 2])),
        ("vllm", Inner(b"<html>")),
        ("vllm", Inner(b'{"error":"busy"}', status=503)),
        ("vllm", never_answers),
        ("vllm", breaks_off),
        ("llama.cpp", Provider(tokenize={"tokens": [1, 2]})),
        ("llama.cpp", Provider(apply_template={"prompt": None})),
        ("llama.cpp", Provider(apply_template={"prompt": "x"}, tokenize={"count": 2})),
    ],
    ids=["404", "no-count", "list", "html", "503", "silent", "broken-off", "no-template", "no-prompt", "no-tokens"],
)
async def test_request_is_counted_here_when_the_provider_fails_and_the_log_says_so_once(
    counter: str, inner: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenCounter, "limit", 0.1)
    app = FormatConversionMiddleware(inner, options={"count_tokens": counter})
    for _ in range(2):
        answer = await call(app, http_scope("POST", "/v1/messages/count_tokens"), REQUEST)
        assert answer.json() == {"input_tokens": LOCAL}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert counter in caplog.text


async def test_client_that_leaves_while_the_provider_counts_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    app = FormatConversionMiddleware(inner, options={"count_tokens": "vllm"})
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": json.dumps(REQUEST).encode()}]
    sent = []

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(http_scope("POST", "/v1/messages/count_tokens"), receive, send)
    assert sent == []
    assert caplog.records == []


@pytest.mark.parametrize("outside", [True, False])
async def test_provider_hears_its_own_models_name_on_whichever_side_the_mapping_stands(outside: bool) -> None:
    provider = Provider(tokenize={"count": 7})
    options = {"count_tokens": "vllm"}

    def mapped(app: Any) -> ModelMappingMiddleware:
        return ModelMappingMiddleware(app, big="B", small="S")

    if outside:
        app: Any = mapped(FormatConversionMiddleware(provider, options=options))
    else:
        app = FormatConversionMiddleware(mapped(provider), options=options)
    request = {**REQUEST, "model": "claude-opus-4-8"}
    answer = await call(app, http_scope("POST", "/v1/messages/count_tokens"), request)
    assert answer.json() == {"input_tokens": 7}
    assert provider.asked[0][1]["model"] == "B"


async def test_whole_proxy_finds_the_counter_beside_v1() -> None:
    provider = Provider(apply_template={"prompt": "x"}, tokenize={"tokens": [1, 2, 3, 4]})
    options = {"count_tokens": "llama.cpp"}

    def ask() -> int:
        with serve(provider, lifespan="off") as upstream, proxy(upstream.url, provider_options=options) as url:
            with Anthropic(api_key="k", base_url=url, max_retries=0) as client:
                counted = client.messages.count_tokens(
                    model="claude-haiku-4-5", messages=[{"role": "user", "content": "Hi"}]
                )
            return counted.input_tokens

    assert await anyio.to_thread.run_sync(ask) == 4
    assert [path for path, _ in provider.asked] == ["/apply-template", "/tokenize"]


@pytest.mark.parametrize(
    ("base_url", "counting"),
    [
        ("http://h/v1", "http://h/tokenize"),
        ("http://h/llm/v1/", "http://h/llm/tokenize"),
        ("http://h:8000", "http://h:8000/tokenize"),
        ("http://h/v1?key=x", "http://h/tokenize?key=x"),
    ],
)
def test_counting_stands_beside_the_chat_and_not_below_it(base_url: str, counting: str) -> None:
    assert Upstream(base_url, None, None).url("/tokenize", b"") == counting


async def test_paths_for_counting_are_not_there_unless_the_provider_counts() -> None:
    app = create_app(Settings.explicit(openai_api_key="k"), endpoint=Provider(tokenize={"count": 1}))
    assert (await call(app, http_scope("POST", "/tokenize"), REQUEST)).status == 404


# How near the local counts come


# A model's name -> chat requests that its server was sent, with the prompt_tokens that it reported. Qwen2.5 has a
# vocabulary as large as o200k's; SmolLM2's is a third of that and knows little but English.
RECORDED = {path.stem: json.loads(path.read_text()) for path in (DATA / "usage").glob("*.json")}


@pytest.mark.parametrize(
    ("model", "tokenizer", "median", "lowest", "highest"),
    [
        ("qwen", "estimate", 0.15, -0.35, 0.50),
        ("qwen", "o200k", 0.10, -0.30, 0.10),
        ("smol", "estimate", 0.20, -0.45, 0.20),
        ("smol", "o200k", 0.20, -0.60, 0.05),
    ],
)
def test_local_count_is_near_the_usage_that_the_provider_reported(
    model: str, tokenizer: Literal["estimate", "o200k"], median: float, lowest: float, highest: float
) -> None:
    errors = {r["name"]: count_request(r["body"], tokenizer) / r["prompt_tokens"] - 1 for r in RECORDED[model]}
    told = ", ".join(f"{name} {error:+.0%}" for name, error in errors.items())
    assert statistics.median(abs(error) for error in errors.values()) < median, told
    assert lowest < min(errors.values()), told
    assert max(errors.values()) < highest, told
