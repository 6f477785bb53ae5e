"""Secrets planted in every place where the proxy keeps one, and looked for in all that it sends and writes.

The provider, and the planner, give everything back that they get. The client's key must not reach them; theirs must
not reach the client, nor any page, log line or repr.
"""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy import Forward, Settings, create_app
from ccproxy.layers import make_layers
from ccproxy.upstream import Redactor
from ccproxy_middleware._record import Record
from support.echo import EchoProvider
from support.process import started
from support.servers import serve

CLIENT = "PLANTED-client-key-4711"
PROVIDER = "PLANTED-provider-key-4711"
PLANNER = "PLANTED-planner-key-4711"
GATEWAY = "PLANTED-gateway-token-4711"
TENANT = "PLANTED-basic-4711"
VARIABLES = {
    "ANTHROPIC_API_KEY": f"other-key,{CLIENT}",
    "OPENAI_API_KEY": PROVIDER,
    "CUSTOM_HEADER_X_GATEWAY_TOKEN": GATEWAY,
    "CUSTOM_HEADER_PROXY_AUTH": f"Basic {TENANT}",
    "ENABLE_BOOST_SUPPORT": "BIG_MODEL",
    "BOOST_API_KEY": PLANNER,
    "MAX_RETRIES": "0",
    "INSPECTOR": "true",
}
PAGES = (
    *("/", "/health", "/metrics", "/test-connection", "/v1/models", "/ui/", "/ui/api/exchanges", "/ui/app.js"),
    *("/nowhere", "/v1/models/x"),
)
WAYS = ("json", "status 400", "status 401", "status 429", "status 500", "text 400", "text 502")
TOOLS = {  # without them nothing is planned
    "/v1/messages": {"name": "f", "input_schema": {"type": "object"}},
    "/v1/chat/completions": {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
}
LOGIN = {"x-api-key": CLIENT, "authorization": f"Bearer {CLIENT}", "cookie": f"session={CLIENT}"}


def ask_everything(url: str) -> list[str]:
    """All that a client can get out of the proxy: heads and bodies."""
    got: list[str] = []

    def note(answer: httpx.Response) -> None:
        got.append(f"{answer.status_code} {answer.headers.raw}\n{answer.text}")

    with httpx.Client(base_url=url, headers=LOGIN, timeout=30) as client:
        for model in ("claude-opus-4-1", "claude-haiku-4-5"):  # by way of the planner, and straight
            for way in WAYS:
                for stream in (False, True):
                    messages = [{"role": "user", "content": way}]
                    body = {"model": model, "max_tokens": 9, "stream": stream, "messages": messages}
                    for path, tool in TOOLS.items():
                        note(client.post(path, json={**body, "tools": [tool]}))
        note(client.post("/v1/messages/count_tokens", json=body))
        for path in PAGES:
            note(client.get(path))
        for id_ in re.findall(r'"id":"([^"]+)"', got[-4])[:4]:
            note(client.get(f"/ui/api/exchanges/{id_}"))
            note(client.get(f"/ui/api/exchanges/{id_}/curl"))
        note(client.post("/v1/messages", json={}, headers={"x-api-key": "wrong", "authorization": "Bearer wrong"}))
    return got


@pytest.mark.parametrize(("way", "bodies"), [("cc-boost", "true"), ("gunicorn", "false")])
def test_no_secret_comes_out_anywhere_when_everything_is_logged(way: str, bodies: str, tmp_path: Path) -> None:
    provider, planner = EchoProvider(), EchoProvider()
    with serve(provider, lifespan="off") as server, serve(planner, lifespan="off") as planning:
        variables = {**VARIABLES, "BOOST_BASE_URL": f"{planning.url}/v1", "LOG_LEVEL": "DEBUG", "LOG_BODIES": bodies}
        with started(way, tmp_path, server.url, **variables) as proxy:
            got = ask_everything(proxy.url)
            proxy.terminate()
    assert len(got) > 65
    assert [text for text in got if "PLANTED" in text] == []
    lines = proxy.output.read_text().splitlines()
    assert len(lines) > 65
    assert [line for line in lines if "PLANTED" in line] == []
    upstream, planned = b"\n".join(provider.seen), b"\n".join(planner.seen)
    assert PROVIDER.encode() in upstream
    assert GATEWAY.encode() in upstream
    assert PLANNER.encode() in planned
    assert [key for key in (CLIENT, PLANNER) if key.encode() in upstream] == []
    assert [key for key in (CLIENT, PROVIDER, GATEWAY, TENANT) if key.encode() in planned] == []


def test_no_secret_shows_in_a_repr() -> None:
    settings = Settings.explicit(
        openai_api_key=PROVIDER,
        anthropic_api_key=CLIENT,
        custom_headers={"X-GATEWAY-TOKEN": GATEWAY},
        enable_boost_support="BIG_MODEL",
        boost_base_url="http://127.0.0.1:9/v1",
        boost_api_key=PLANNER,
        max_concurrency=1,
        inspector=True,
    )
    app = create_app(settings)
    shown: list[Any] = [settings, app, app.routes, app.user_middleware, Forward("http://h/v1", api_key=PROVIDER)]
    shown += [layer.cls(app, *layer.args, **layer.kwargs) for layer in make_layers(settings, app)]
    shown += [Record("id", "POST", "/v1/messages")]
    assert "PLANTED" not in "\n".join(f"{thing!r} {thing}" for thing in shown)


SECRET = b"sk-0123456789abcdef"


@pytest.mark.parametrize("size", [1, 2, 7, 18, 19, 20, 1000])
def test_secret_is_taken_out_wherever_the_chunks_are_cut(size: int) -> None:
    body = b"a s sk sk-" + SECRET + b" sk-0123 " + SECRET + SECRET + b"\n sk-0123456789abcde"
    redactor = Redactor([SECRET, b"another-one-12345"], text=True)
    out = b"".join(redactor.feed(body[at : at + size]) for at in range(0, len(body), size)) + redactor.finish()
    assert out == body.replace(SECRET, b"*" * len(SECRET))


def test_nothing_is_held_back_when_a_chunk_ends_with_a_line() -> None:
    redactor = Redactor([SECRET], text=True)
    assert redactor.feed(b'data: {"a": "sk-0"}\n\n') == b'data: {"a": "sk-0"}\n\n'


def test_short_key_is_left_in_what_a_model_says() -> None:
    assert Redactor([b"ollama"], text=True).feed(b"Use ollama!") == b"Use ollama!"
    assert Redactor([b"ollama"], text=False).feed(b"Wrong key: ollama!") == b"Wrong key: ******!"
