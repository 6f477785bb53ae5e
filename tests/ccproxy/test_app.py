"""The composed proxy over real sockets: its pages, its routes, mounted, with its secrets kept."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy import Settings, create_app
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.providers.faulty import answers, faulty, refusing, sized
from support.providers.scripted import Failure, ScriptedProvider
from support.serving.proxied import PROVIDER_KEY, proxied, proxy
from support.serving.servers import serve
from support.streams.grammar import check_stream

MESSAGE = {"model": "claude-opus-4-8", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
CUSTOM = "planted-custom"


@contextmanager
def client(provider: ScriptedProvider, **settings: Any) -> Iterator[httpx.Client]:
    with proxied(provider, **settings) as url, httpx.Client(base_url=url, timeout=20) as http:
        yield http


@pytest.fixture(scope="module")
def open_proxy() -> Iterator[tuple[httpx.Client, ScriptedProvider]]:
    provider = ScriptedProvider()
    with client(provider, custom_headers={"X-TEAM": CUSTOM}, small_model="gpt-4o-mini") as http:
        yield http, provider


OpenProxy = tuple[httpx.Client, ScriptedProvider]


@pytest.mark.parametrize("path", ["/", "/health", "/api/hello"])
def test_page_answers_get_and_head_without_asking_the_provider(open_proxy: OpenProxy, path: str) -> None:
    http, provider = open_proxy
    before = len(provider.requests)
    page = http.get(path)
    assert page.status_code == 200
    assert page.headers["request-id"].startswith("req_")
    head = http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert len(provider.requests) == before


def test_root_tells_what_runs_and_no_secret(open_proxy: OpenProxy) -> None:
    page = open_proxy[0].get("/")
    root = page.json()
    assert root["name"] == "cc-boost"
    assert root["models"] == {"BIG_MODEL": "gpt-4o", "MIDDLE_MODEL": "gpt-4o", "SMALL_MODEL": "gpt-4o-mini"}
    assert root["layers"] == [
        "MetricsMiddleware", "LedgerMiddleware", "AuthMiddleware", "CustomHeadersMiddleware", "ModelMappingMiddleware",
        "PromptedToolsMiddleware", "FormatConversionMiddleware",
    ]  # fmt: skip
    assert PROVIDER_KEY not in page.text
    assert CUSTOM not in page.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404), ("GET", "/health/", 404), ("POST", "/v1/complete", 404), ("POST", "/v1/files", 404),
        ("POST", "/v1/messages/batches", 404), ("GET", "/v1/skills", 404), ("POST", "/", 405),
        ("DELETE", "/health", 405),
        ("GET", "/v1/messages", 405), ("POST", "/v1/models", 405), ("GET", "/v1/chat/completions", 405),
        ("OPTIONS", "/v1/messages", 405), ("GET", "/..%2f..%2fetc", 404),
    ],
)  # fmt: skip
def test_what_is_not_served_is_told_in_anthropics_form(
    open_proxy: OpenProxy, method: str, path: str, status: int
) -> None:
    http, provider = open_proxy
    before = len(provider.requests)
    answer = http.request(method, path)
    assert answer.status_code == status
    error = answer.json()
    assert error["type"] == "error"
    assert error["error"]["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    assert error["request_id"] == answer.headers["request-id"]
    assert ("allow" in answer.headers) == (status == 405)
    assert len(provider.requests) == before


def test_request_goes_mapped_and_with_the_custom_header_and_the_query_is_ignored(open_proxy: OpenProxy) -> None:
    http, provider = open_proxy
    headers = {"x-api-key": "client-key", "cookie": "a=b", "anthropic-beta": "x"}
    answer = http.post("/v1/messages?beta=true", json=MESSAGE, headers=headers)
    assert answer.json()["model"] == "claude-opus-4-8"
    assert answer.headers["x-upstream-model"] == "gpt-4o"
    request = provider.requests[-1]
    assert (request.path, request.query) == ("/v1/chat/completions", "")
    assert request.body["model"] == "gpt-4o"
    assert request.headers["x-team"] == CUSTOM
    assert request.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert "client-key" not in str(request.headers)
    assert not {"cookie", "anthropic-beta", "x-api-key"} & set(request.headers)


def test_openai_clients_may_use_the_proxy_too(open_proxy: OpenProxy) -> None:
    http, provider = open_proxy
    answer = http.post("/v1/chat/completions", json={"model": "claude-3-haiku", "messages": MESSAGE["messages"]})
    assert answer.json()["model"] == "claude-3-haiku"
    assert provider.requests[-1].body["model"] == "gpt-4o-mini"


def test_connection_test_asks_the_small_model_once(open_proxy: OpenProxy) -> None:
    http, provider = open_proxy
    before = len(provider.requests)
    answer = http.get("/test-connection")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    asked = provider.requests[before:]
    assert [(r.body["model"], r.body["max_tokens"], r.headers["x-team"]) for r in asked] == [
        ("gpt-4o-mini", 16, CUSTOM)
    ]


@pytest.mark.parametrize(
    ("failure", "status", "remedy"),
    [
        (Failure(401, {"error": {"message": "Incorrect API key provided: sk-abc"}}), 502, "OPENAI_API_KEY"),
        (Failure(404, {"error": {"message": "no such model", "code": "model_not_found"}}), 404, "SMALL_MODEL"),
        (Failure(402, {"error": {"message": "Insufficient credits"}}), 402, "lack of credit"),
        (Failure(400, {"error": {"message": "bad parameter"}}), 400, "PROVIDER_OPTIONS"),
        (Failure(500, {"error": {"message": "oops"}}), 500, "its own log"),
    ],
    ids=["key", "model", "credits", "parameter", "broken"],
)  # fmt: skip
def test_connection_test_says_what_to_do(failure: Failure, status: int, remedy: str) -> None:
    with client(ScriptedProvider(lambda body: failure), max_retries=0) as http:
        answer = http.get("/test-connection")
    assert (answer.status_code, answer.json()["status"]) == (status, "failed")
    assert remedy in answer.json()["remedy"]
    assert "sk-abc" not in answer.text


def test_connection_test_names_the_base_url_when_nobody_is_there() -> None:
    with refusing() as gone, proxy(gone, max_retries=0) as url:
        answer = httpx.get(f"{url}/test-connection", timeout=20)
    assert answer.status_code == 502
    assert "OPENAI_BASE_URL" in answer.json()["remedy"]


@pytest.mark.parametrize("layers", [["format_conversion"], []])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/test-connection"])
def test_question_of_our_own_fails_visibly_when_its_answer_breaks_off(path: str, layers: list[str]) -> None:
    cut = answers(sized(b'{"data": []}').replace(b": 12", b": 99"), then_close=True)
    with faulty(cut) as provider, proxy(provider.url, max_retries=0, ccproxy_layers=layers) as url:
        if layers or path == "/test-connection":
            answer = httpx.get(url + path)
            assert answer.status_code == 502
            assert answer.json()["error"]["type"] == "api_error"
            assert "broke off" in answer.json()["error"]["message"]
        else:  # the endpoint alone passes the answer on as it comes
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(url + path)


def test_answer_that_a_layer_breaks_off_before_its_start_is_an_error() -> None:
    class Breaks:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise StreamAborted("cut")

    app = create_app(Settings.explicit(openai_api_key="key"), layers=[Middleware(Breaks)])
    with serve(app) as server:
        answer = httpx.get(server.url + "/health")
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")


def test_only_root_and_health_are_open_with_client_keys() -> None:
    provider = ScriptedProvider()
    with client(provider, anthropic_api_key="one,two") as http:
        statuses = {
            p: http.get(p).status_code for p in ("/", "/health", "/api/hello", "/test-connection", "/v1/models", "/x")
        }
        opened = {"/": 200, "/health": 200, "/api/hello": 200}
        assert statuses == {**opened, "/test-connection": 401, "/v1/models": 401, "/x": 401}
        assert http.post("/v1/messages", json=MESSAGE).status_code == 401
        assert provider.requests == []
        for headers in ({"x-api-key": "one"}, {"authorization": "Bearer two"}):
            assert http.post("/v1/messages", json=MESSAGE, headers=headers).status_code == 200
            assert http.get("/test-connection", headers=headers).status_code == 200
    assert all(request.headers["authorization"] == f"Bearer {PROVIDER_KEY}" for request in provider.requests)


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_everything_works_below_a_mount(lifespan: Any) -> None:
    provider = ScriptedProvider()
    with serve(provider, lifespan="off") as upstream:
        settings = Settings.explicit(openai_api_key="k", openai_base_url=f"{upstream.url}/v1", anthropic_api_key="one")
        host = Starlette(routes=[Mount("/deep/claude", create_app(settings))])
        with serve(host, lifespan=lifespan) as server, httpx.Client(base_url=f"{server.url}/deep/claude") as http:
            assert http.get("/health").status_code == 200
            http.headers["x-api-key"] = "one"
            assert http.post("/v1/messages", json=MESSAGE).json()["content"][0]["type"] == "text"
            assert check_stream(http.post("/v1/messages", json={**MESSAGE, "stream": True}).content)
            assert http.post("/v1/messages/count_tokens", json=MESSAGE).json()["input_tokens"] > 0
            assert http.get("/v1/models").json()["data"][0]["id"] == "claude-opus"
            assert http.get("/v1/models/claude-haiku").json()["id"] == "claude-haiku"
            assert http.get("/test-connection").json()["status"] == "ok"
            assert http.get("/nowhere").json()["error"]["type"] == "not_found_error"
        assert server.errors == []


@pytest.mark.parametrize("as_function", [True, False])
def test_endpoint_can_be_replaced(as_function: bool) -> None:
    seen: list[str] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        body = json.dumps({"choices": [{"index": 0, "message": {"content": "own"}, "finish_reason": "stop"}]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await endpoint(scope, receive, send)

    app = create_app(Settings.explicit(openai_api_key="k"), endpoint=endpoint if as_function else Endpoint())
    with serve(app) as server:
        answer = httpx.post(f"{server.url}/v1/messages", json=MESSAGE)
    assert answer.json()["content"] == [{"type": "text", "text": "own"}]
    assert seen == ["/v1/chat/completions"]


def test_bug_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("planted-secret")

    with serve(create_app(Settings.explicit(openai_api_key="k"), endpoint=endpoint)) as server:
        answer = httpx.post(f"{server.url}/v1/messages", json=MESSAGE)
        assert answer.status_code == 500
        assert answer.json()["error"] == {"type": "api_error", "message": "Internal proxy error"}
        assert "planted-secret" not in answer.text
    assert "a bug in the proxy" in caplog.text


def test_two_apps_in_one_process_share_nothing() -> None:
    one, two = ScriptedProvider(), ScriptedProvider()
    with client(one, big_model="A") as first, client(two, big_model="B", anthropic_api_key="k") as second:
        assert first.post("/v1/messages", json=MESSAGE).status_code == 200
        assert second.post("/v1/messages", json=MESSAGE).status_code == 401
        assert second.post("/v1/messages", json=MESSAGE, headers={"x-api-key": "k"}).status_code == 200
    assert [body["model"] for body in one.completions + two.completions] == ["A", "B"]


def test_limits_of_max_tokens_are_those_of_the_settings() -> None:
    provider = ScriptedProvider()
    with client(provider, max_tokens_limit=2000, min_tokens_limit=150, provider_options={"max_output": 1000}) as http:
        for asked in (64_000, 200, 1):
            http.post("/v1/messages", json={**MESSAGE, "max_tokens": asked})
    assert [body["max_tokens"] for body in provider.completions] == [1000, 200, 150]


@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
def test_both_transports_serve(transport: str) -> None:
    with client(ScriptedProvider(), http_transport=transport) as http:
        assert check_stream(http.post("/v1/messages", json={**MESSAGE, "stream": True}).content)
