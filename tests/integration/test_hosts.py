"""The proxy inside other frameworks' apps: the files of ``examples/``, over real sockets."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anthropic
import anyio
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import ToolUseBlock
from starlette.applications import Starlette
from starlette.routing import Mount

from ccproxy import Settings, create_app
from integration.hosts import EXAMPLES, load, running
from integration.need import need
from support.providers.scripted import Endless, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.servers import eventually, serve
from support.streams.grammar import check_stream

MESSAGE: dict[str, Any] = {
    "model": "claude-opus-4-8", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}],
}  # fmt: skip
PAGE = "the host's own page"
HOSTS = ("starlette", "fastapi", "litestar", "quart", "django")
NAMES = ("ANTHROPIC_API_KEY", "MIDDLE_MODEL", "SMALL_MODEL", "PROVIDER", "PROVIDER_OPTIONS", "ENABLE_BOOST_SUPPORT")

Lifespan = Literal["on", "off"]


def refused_by_name(http: httpx.Client) -> None:
    answer = http.get("/claude/health", headers={"host": "evil.example"})
    assert answer.status_code == 400


def refuses_foreign_pages(http: httpx.Client) -> None:
    """Without a client key the proxy doesn't answer pages of other origins; the page may read why."""
    assert asked_by_a_page(http) == [403, 403]


def asked_by_a_page(http: httpx.Client, **headers: str) -> list[int]:
    """The statuses of a whole and a streamed answer for a page of an origin that the host lets in."""
    origin = {"origin": "https://example.org"}
    asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    assert http.options("/claude/v1/messages", headers=asked).is_success
    bodies = (MESSAGE, {**MESSAGE, "stream": True})
    answers = [http.post("/claude/v1/messages", json=body, headers={**origin, **headers}) for body in bodies]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"https://example.org"}
    return [answer.status_code for answer in answers]


def marks_own_pages(name: str) -> Callable[[httpx.Client], None]:
    def check(http: httpx.Client) -> None:
        assert name in http.get("/").headers
        assert name not in http.get("/claude/health").headers

    return check


OWN_MIDDLEWARE: dict[str, Callable[[httpx.Client], None]] = {
    "starlette": refused_by_name,
    "fastapi": refuses_foreign_pages,
    "litestar": refuses_foreign_pages,
    "quart": marks_own_pages("x-host"),
    "django": marks_own_pages("x-content-type-options"),
}


def scripted(body: dict[str, Any]) -> Any:
    """What the provider says follows from the request, so that tests may run in any order."""
    match body["messages"][-1]["content"]:
        case "fail":
            return Failure(429, error_body("Slow down.", "requests"), {"retry-after": "7"})
        case "endless":
            return Endless()
        case "tool":
            return Reply(tool_calls=[ToolCall("look", {"at": "sea"})])
        case _:
            return Reply("Hello from the provider.")


@pytest.fixture(scope="module")
def provider() -> ScriptedProvider:
    return ScriptedProvider(scripted)


@pytest.fixture(scope="module")
def provider_url(provider: ScriptedProvider) -> Iterator[str]:
    with serve(provider, lifespan="off") as server:
        yield f"{server.url}/v1"


def environment(provider_url: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": provider_url, "BIG_MODEL": "mapped", "MAX_RETRIES": "0"}


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, provider_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The name and the app of an example."""
    return request.param, imported(request.param, tmp_path_factory.mktemp("empty"), environment(provider_url))


def imported(name: str, folder: Path, variables: dict[str, str]) -> Any:
    """The app of an example, imported in a folder without ``.env``."""
    need(name)
    with pytest.MonkeyPatch.context() as patch:
        for unset in NAMES:
            patch.delenv(unset, raising=False)
        patch.chdir(folder)
        for variable, value in variables.items():
            patch.setenv(variable, value)
        return load(f"in_{name}").app


@pytest.fixture(params=["on", "off"])
def lifespan(request: pytest.FixtureRequest) -> Lifespan:
    """Whether the host enters our lifespan: without its own it can't."""
    found: Lifespan = request.param
    return found


@contextmanager
def client(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="any", max_retries=0, timeout=20) as sdk:
        yield sdk


def check_proxy(url: str) -> None:
    """Everything that Claude Code asks for, through the proxy at this URL, by Anthropic's SDK."""
    with client(url) as sdk:
        messages: Any = MESSAGE["messages"]
        asked: Any = {"model": "claude-opus-4-8", "max_tokens": 100}
        message = sdk.messages.create(**asked, messages=messages)
        assert message.content[0].to_dict() == {"type": "text", "text": "Hello from the provider."}
        assert message.model == "claude-opus-4-8"
        with sdk.messages.stream(**asked, messages=messages) as stream:
            assert "".join(stream.text_stream) == "Hello from the provider."
        tool: Any = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
        use: Any = [{"role": "user", "content": "tool"}]
        with sdk.messages.stream(**asked, messages=use, tools=[tool]) as stream:
            [block] = stream.get_final_message().content
        assert isinstance(block, ToolUseBlock)
        assert (block.name, block.input) == ("look", {"at": "sea"})
        assert sdk.messages.count_tokens(model="claude-opus-4-8", messages=messages).input_tokens > 0
        assert [model.id for model in sdk.models.list()] == ["claude-opus", "claude-sonnet", "claude-haiku"]
        fail: Any = [{"role": "user", "content": "fail"}]
        with pytest.raises(anthropic.RateLimitError) as limited:
            sdk.messages.create(**asked, messages=fail)
        assert limited.value.response.headers["retry-after"] == "7"
        with pytest.raises(anthropic.NotFoundError) as lost:
            sdk.get("/v1/nowhere", cast_to=object)
        assert lost.value.response.json()["error"]["type"] == "not_found_error"


def test_host_serves_its_page_and_the_proxy_at_a_prefix(host: Any, lifespan: Lifespan) -> None:
    with serve(host[1], lifespan=lifespan) as server:
        with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http:
            assert PAGE in http.get("/").text
            assert http.get("/claude/health").json() == {"status": "ok"}
            assert http.get("/claude/test-connection").json()["status"] == "ok"
            assert http.post("/v1/messages", json=MESSAGE).status_code in (404, 405)
            stream = http.post("/claude/v1/messages", json={**MESSAGE, "stream": True})
            check_stream(stream.content)
            assert stream.headers["x-upstream-model"] == "mapped"
        check_proxy(f"{server.url}/claude")
    assert server.errors == []


def test_hosts_own_middleware_is_at_work(host: Any) -> None:
    name, app = host
    with serve(app) as server, httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http:
        OWN_MIDDLEWARE[name](http)
    assert server.errors == []


@pytest.mark.parametrize("name", ["fastapi", "litestar"])
def test_page_of_an_allowed_origin_is_answered_with_a_key(name: str, provider_url: str, tmp_path: Path) -> None:
    app = imported(name, tmp_path, {**environment(provider_url), "ANTHROPIC_API_KEY": "client-key"})
    with serve(app) as server, httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http:
        assert asked_by_a_page(http, **{"x-api-key": "client-key"}) == [200, 200]
        assert asked_by_a_page(http) == [401, 401]
    assert server.errors == []


@pytest.mark.anyio
async def test_leaving_is_told_to_the_provider_through_the_host(host: Any, provider: ScriptedProvider) -> None:
    before = len(provider.disconnects)
    endless = {**MESSAGE, "messages": [{"role": "user", "content": "endless"}], "stream": True}
    with serve(host[1]) as server:
        async with (
            httpx.AsyncClient(timeout=20, trust_env=False) as http,
            http.stream("POST", f"{server.url}/claude/v1/messages", json=endless) as answer,
        ):
            async for _ in answer.aiter_bytes():
                break
        await eventually(lambda: len(provider.disconnects) > before and not provider.active)
        with anyio.fail_after(10):
            async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
                again = await http.post(f"{server.url}/claude/v1/messages", json=MESSAGE)
    assert again.status_code == 200


@pytest.mark.parametrize("name", HOSTS)
def test_example_runs_as_a_program(name: str, provider_url: str, tmp_path: Path) -> None:
    need(name)
    with running([str(EXAMPLES / f"in_{name}.py")], tmp_path, environment(provider_url)) as url:
        assert PAGE in httpx.get(url, timeout=10, trust_env=False).text
        check_proxy(f"{url}/claude")


MIDDLEWARE = '''
class Stamp:
    """The host's own layer, in a module that is called as a folder of ours is."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-stamp", b"mine")]}
            await send(message)

        await self.app(scope, receive, stamped)
'''
HOST = """
from middleware import Stamp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def home(request):
    return PlainTextResponse("the host's own page")


app = Starlette(routes=[Route("/", home)], middleware=[Middleware(Stamp)])
"""
MAIN = """
from ccproxy import create_app
from host import app

app.mount("/claude", create_app())
"""


def test_host_with_its_own_middleware_module_is_not_disturbed(provider_url: str, tmp_path: Path) -> None:
    for file, text in (("middleware.py", MIDDLEWARE), ("host.py", HOST), ("main.py", MAIN)):
        (tmp_path / file).write_text(text)
    with running(["-m", "uvicorn", "main:app", "--port", "{port}"], tmp_path, environment(provider_url)) as url:
        for path in ("/", "/claude/health"):
            assert httpx.get(url + path, timeout=10, trust_env=False).headers["x-stamp"] == "mine"
        check_proxy(f"{url}/claude")


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_two_apps_in_one_process_share_nothing(lifespan: Lifespan) -> None:
    """Keys, models, headers, what was learned of a provider, connections: under load from both sides."""
    refusal = error_body(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        param="max_tokens", code="unsupported_parameter",
    )  # fmt: skip
    one = ScriptedProvider(lambda body: Failure(400, refusal) if "max_tokens" in body else Reply("one"))
    two = ScriptedProvider(lambda body: Reply("two"))
    with serve(one, lifespan="off") as first, serve(two, lifespan="off") as second:
        settings = [
            Settings.explicit(
                openai_api_key=f"provider-{name}", openai_base_url=f"{url}/v1", anthropic_api_key=f"client-{name}",
                big_model=f"big-{name}", custom_headers={"X-TEAM": name}, http_transport=transport,
            )
            for name, url, transport in (("one", first.url, "aiohttp"), ("two", second.url, "httpx"))
        ]  # fmt: skip
        host = Starlette(routes=[Mount(f"/{n}", create_app(s)) for n, s in zip(("one", "two"), settings, strict=True)])
        with serve(host, lifespan=lifespan) as server, httpx.Client(timeout=20, trust_env=False) as http:

            def ask(number: int) -> tuple[str, int, Any]:
                name = ("one", "two")[number % 2]
                key = {"x-api-key": f"client-{name}"} if number % 4 < 2 else {"x-api-key": "client-one,client-two"}
                answer = http.post(f"{server.url}/{name}/v1/messages", json=MESSAGE, headers=key)
                return name, answer.status_code, answer.json()

            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(ask, range(40)))
            crossed = http.post(f"{server.url}/one/v1/messages", json=MESSAGE, headers={"x-api-key": "client-two"})
        assert server.errors == []
    assert crossed.status_code == 401
    for number, (name, status, body) in enumerate(answers):
        assert status == (200 if number % 4 < 2 else 401)
        if status == 200:
            assert body["content"] == [{"type": "text", "text": name}]
    for name, provider in (("one", one), ("two", two)):
        for request in provider.requests:
            assert request.headers["authorization"] == f"Bearer provider-{name}"
            assert (request.headers["x-team"], request.body["model"]) == (name, f"big-{name}")
    assert any("max_completion_tokens" in body for body in one.completions)
    assert all("max_tokens" in body for body in two.completions)
