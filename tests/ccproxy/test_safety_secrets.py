"""Secrets planted in every place where the proxy keeps one, and looked for in all that it sends and writes.

The provider, and the planner, give everything back that they get. The client's key must not reach them; theirs must
not reach the client, nor any page, log line or repr.
"""

import base64
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import Receive, Scope, Send

from ccproxy import Forward, Settings, create_app
from ccproxy.forwarding.upstream import Redactor
from ccproxy.layers import Parts, make_layers
from ccproxy_middleware.toolkit.record import Record
from support.serving.echo import EchoProvider
from support.serving.process import started
from support.serving.servers import serve

CLIENT = "PLANTED-client-key-4711"
PROVIDER = "PLANTED-provider-key-4711"
PLANNER = "PLANTED-planner-key-4711"
GATEWAY = "PLANTED-gateway-token-4711"
TENANT = "PLANTED-basic-4711"
SEARCH = "PLANTED-search-key-4711"
VARIABLES = {
    "ANTHROPIC_API_KEY": f"other-key,{CLIENT}",
    "OPENAI_API_KEY": PROVIDER,
    "CUSTOM_HEADER_X_GATEWAY_TOKEN": GATEWAY,
    "CUSTOM_HEADER_PROXY_AUTH": f"Basic {TENANT}",
    "ENABLE_BOOST_SUPPORT": "BIG_MODEL",
    "BOOST_API_KEY": PLANNER,
    "WEB_SEARCH": "brave",
    "WEB_SEARCH_KEY": SEARCH,
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
        web_search="brave",
        web_search_key=SEARCH,
        max_concurrency=1,
        inspector=True,
    )
    app = create_app(settings)
    shown: list[Any] = [settings, app, app.routes, app.user_middleware, Forward("http://h/v1", api_key=PROVIDER)]
    shown += [
        layer.cls(app, *layer.args, **layer.kwargs)
        for layer in make_layers(settings, Parts(planner=app, boost={"model": "m"}))
    ]
    shown += [Record("id", "POST", "/v1/messages")]
    assert "PLANTED" not in "\n".join(f"{thing!r} {thing}" for thing in shown)


SECRET = b"sk-0123456789abcdef"


@pytest.mark.anyio
@pytest.mark.parametrize("size", [1, 2, 7, 18, 19, 20, 1000])
async def test_secret_is_taken_out_wherever_the_chunks_are_cut(size: int) -> None:
    body = b"a s sk sk-" + SECRET + b" sk-0123 " + SECRET + SECRET + b"\n sk-0123456789abcde"
    redactor = Redactor([SECRET, b"another-one-12345"], text=True)
    out = b"".join([redactor.feed(body[at : at + size]) for at in range(0, len(body), size)])
    out += await redactor.finish()
    assert out == body.replace(SECRET, b"*" * len(SECRET))


def test_nothing_is_held_back_when_a_chunk_ends_with_a_line() -> None:
    redactor = Redactor([SECRET], text=True)
    assert redactor.feed(b'data: {"a": "sk-0"}\n\n') == b'data: {"a": "sk-0"}\n\n'


def test_short_key_is_left_in_what_a_model_says() -> None:
    assert Redactor([b"ollama"], text=True).feed(b"Use ollama!") == b"Use ollama!"
    assert Redactor([b"ollama"], text=False).feed(b"Wrong key: ollama!") == b"Wrong key: ******!"


KEY = "prov/0123456789+abcdef&XYZ"
COOKIE = "session=s3cr3tSESSION0123456; route=r0ute0123456789abcd"
DIGEST = 'Digest username="somebody", response="r3sp0nse0123456789ab", opaque="0paque0123456789abcd"'
PLANTED = (KEY, "s3cr3tSESSION0123456", "r0ute0123456789abcd", "r3sp0nse0123456789ab", "0paque0123456789abcd")
PIECES = {"whole": 1000, "letters": 1, "pieces": 7}


@pytest.mark.parametrize("how", ["text", "arguments", "json", "error"])
@pytest.mark.parametrize("size", PIECES.values(), ids=list(PIECES))
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_repeated_headers_do_not_come_back(how: str, size: int, path: str) -> None:
    """In JSON as PHP writes it, in base64, and in pieces over a stream; not to the client, nor to the inspector."""

    def said(headers: dict[str, str]) -> str:
        values = [headers["authorization"].removeprefix("Bearer "), headers["cookie"], headers["x-auth"]]
        plain = " and ".join(values)
        return f"{plain} and {plain.replace('/', chr(92) + '/')} and {base64.b64encode(values[0].encode()).decode()}"

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        text = said({name.decode(): value.decode() for name, value in scope["headers"]})
        status, kind = (400 if how == "error" else 200), b"application/json"
        if how == "json":
            message = {"role": "assistant", "content": text}
            body = [orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})]
        elif how == "error":
            body = [orjson.dumps({"error": {"message": text}}).replace(b"/", b"\\/")]
        else:
            kind, body = b"text/event-stream", []
            for at in range(0, len(text), size):
                part = text[at : at + size]
                call = {"index": 0, "id": "c", "function": {"name": "f" if at == 0 else "", "arguments": part}}
                delta = {"content": part} if how == "text" else {"tool_calls": [call]}
                body.append(b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n")
            body.append(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    body = {"model": "m", "max_tokens": 9, "stream": how in ("text", "arguments")}
    with serve(provider, lifespan="off") as server:
        url, custom = f"{server.url}/v1", {"COOKIE": COOKIE, "X-AUTH": DIGEST}
        app = create_app(
            Settings.explicit(openai_api_key=KEY, openai_base_url=url, custom_headers=custom, inspector=True)
        )
        with serve(app) as proxy, httpx.Client(base_url=proxy.url, timeout=30) as client:
            answer = client.post(path, json={**body, "messages": [{"role": "user", "content": "hi"}]}).text
            id_ = client.get("/ui/api/exchanges").json()["exchanges"][0]["id"]
            shown = client.get(f"/ui/api/exchanges/{id_}").text
    assert "***" in answer + _strings_of_events(answer)
    for text in (answer, shown):
        for part in (text, _strings_of_events(text), text.replace("\\", "")):
            assert [secret for secret in PLANTED if secret[4:] in part] == []
            assert base64.b64encode(KEY.encode()).decode()[4:20] not in part


def _strings_of_events(text: str) -> str:
    return "".join(re.findall(r'"(?:text|content|arguments|partial_json)":"((?:[^"\\]|\\.)*)"', text)).replace("\\", "")


def test_what_was_held_back_is_told_before_a_stream_breaks_off() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"as prov"}}]}\n\n'

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b'data: {"cho', "more_body": False})

    got = b""
    with serve(provider, lifespan="off") as server:
        app = create_app(Settings.explicit(openai_api_key=KEY, openai_base_url=f"{server.url}/v1"))
        body = {"model": "m", "stream": True}
        with (
            serve(app) as proxy,
            httpx.stream("POST", f"{proxy.url}/v1/chat/completions", json=body, timeout=30) as answer,
            suppress(httpx.RemoteProtocolError),
        ):
            for chunk in answer.iter_raw():
                got += chunk
    assert got.startswith(event + b'data: {"cho\n\ndata: {"error"')
