"""Failover over real sockets: providers that fail in every way, before and after the first content."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy import Forward
from ccproxy.boundary import Boundary
from ccproxy_middleware import FormatConversionMiddleware, RoutingMiddleware
from ccproxy_middleware.toolkit.asgi import get_header
from support.providers.faulty import SSE, Behaviour, answers_once, chosen, chunk, faulty, refusing, sized
from support.providers.scripted import Reply, ScriptedProvider
from support.providers.upstream_faults import completion, events
from support.serving.servers import serve
from support.streams.chunks import chunk as payload
from support.streams.grammar import check_stream

CLAUDE_CODE = {"user-agent": "claude-cli/2.1.332 (external, cli)"}
ROLE = payload({"role": "assistant", "content": ""})
FIRST = payload({"role": "assistant", "content": "first content"})


def refuses(status: int, code: str = "", words: str = "no", *headers: str) -> Behaviour:
    body = json.dumps({"error": {"message": words, "code": code, "type": code}}).encode()
    lines = "".join(f"{line}\r\n" for line in ("content-type: application/json", *headers))
    return answers_once(sized(body, f"HTTP/1.1 {status} No\r\n{lines}".encode()))


async def resets(connection: Any) -> None:
    await connection.request()
    connection.reset()


async def is_silent(connection: Any) -> None:
    await connection.request()
    await connection.hang()


def breaks(*sent: bytes) -> Behaviour:
    async def behaviour(connection: Any) -> None:
        await connection.request()
        for data in sent:
            await connection.send(data)
        connection.close()

    return behaviour


BEGUN = SSE + chunk(events(ROLE, done=False))
FAULTS: dict[str, tuple[Behaviour, Behaviour, str]] = {
    "408": (refuses(408), refuses(408), "timeout"),
    "429": (refuses(429, "rate_limit_exceeded"), refuses(429), "rate_limit"),
    "500": (refuses(500), refuses(500), "server"),
    "502": (refuses(502), refuses(502), "server"),
    "503": (refuses(503), refuses(503), "overloaded"),
    "529": (refuses(529), refuses(529), "overloaded"),
    "401": (refuses(401), refuses(401), "refused_key"),
    "402": (refuses(402), refuses(402), "quota"),
    "403": (refuses(403), refuses(403), "refused_key"),
    "quota": (refuses(429, "insufficient_quota"), refuses(429, "insufficient_quota"), "quota"),
    "404": (refuses(404, "model_not_found"), refuses(404, "", "gone"), "model_gone"),
    "reset": (resets, resets, "server"),
    "silent": (is_silent, is_silent, "timeout"),
    "cut": (breaks(sized(completion())[:-20]), breaks(BEGUN), "server"),
    "nothing": (breaks(b""), breaks(SSE), "server"),
    "garbage": (breaks(b"SSH-2.0\r\n\r\n"), breaks(SSE + b"zz\r\n"), "server"),
    "event": (
        answers_once(sized(b'{"error":{"message":"busy","code":"server_overloaded"}}')),
        answers_once(
            BEGUN + chunk(b'data: {"error":{"message":"busy","code":"server_overloaded"}}\n\n') + b"0\r\n\r\n"
        ),
        "overloaded",
    ),
    "refused": (is_silent, is_silent, "connect"),  # nobody listens there
}


async def stalls(connection: Any) -> None:
    await connection.request()
    await connection.send(SSE + chunk(events(FIRST, done=False)))
    await connection.hang()


AFTER = {
    "cut": (breaks(SSE + chunk(events(FIRST, done=False))), "api_error"),
    "silent": (stalls, "timeout_error"),
    "event": (
        answers_once(SSE + chunk(events(FIRST, {"error": {"message": "no", "code": 429}}, done=False)) + b"0\r\n\r\n"),
        "rate_limit_error",
    ),
}


class Chosen:
    """Takes the candidates from a header, as ModelMappingMiddleware would leave them in the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = get_header(scope["headers"], b"x-candidates") if scope["type"] == "http" else None
        if names:
            scope = {**scope, "ccproxy.candidates": tuple(names.split(","))}
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def spare() -> ScriptedProvider:
    return ScriptedProvider(lambda body: Reply("by the spare"))


@pytest.fixture(scope="module")
def client(spare: ScriptedProvider) -> Iterator[httpx.Client]:
    """A proxy with an upstream for each fault, beside the spare one."""

    def choose(request: Any) -> Behaviour:
        name, _, when = request["model"].partition("-")
        if when == "after":
            return AFTER[name][0]
        whole, streamed, _ = FAULTS[name]
        return streamed if request.get("stream") else whole

    with ExitStack() as stack:
        broken = stack.enter_context(faulty(chosen(choose))).url
        nobody = stack.enter_context(refusing())
        good = stack.enter_context(serve(spare, lifespan="off")).url
        forwards = {
            name: Forward(f"{nobody if name == 'refused' else broken}/v1", timeout=0.4)
            for name in (*FAULTS, *(f"{name}after" for name in AFTER))
        }
        forwards["spare"] = Forward(f"{good}/v1")
        targets = {name: FormatConversionMiddleware(forward) for name, forward in forwards.items()}
        app = Boundary(Chosen(RoutingMiddleware(targets.pop("spare"), targets=targets)))

        url = stack.enter_context(serve(app, lifespan="off")).url
        yield stack.enter_context(httpx.Client(base_url=url, timeout=20, headers=CLAUDE_CODE))


def ask(client: httpx.Client, *candidates: str, stream: bool) -> httpx.Response:
    body = {"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return client.post("/v1/messages", json=body, headers={"x-candidates": ",".join(candidates)})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", FAULTS)
def test_spare_provider_answers(client: httpx.Client, spare: ScriptedProvider, name: str, stream: bool) -> None:
    before = len(spare.requests)
    answer = ask(client, f"{name}:{name}", "default:s", stream=stream)
    assert answer.status_code == 200, answer.text
    assert len(spare.requests) == before + 1
    assert spare.completions[-1]["model"] == "s"
    route = answer.headers["x-cc-boost-route"]
    assert route == f"rule=tier; upstream=default; model=s; passed={name}:{name}({FAULTS[name][2]})"
    if not stream:
        assert answer.json()["content"] == [{"type": "text", "text": "by the spare"}]
        return
    received = check_stream(answer.content)
    text = "".join(e["delta"]["text"] for e in received if e["type"] == "content_block_delta")
    assert (text, received[-1]["type"]) == ("by the spare", "message_stop")
    assert [e["type"] for e in received].count("message_start") == 1


@pytest.mark.parametrize("name", AFTER)
def test_stream_is_not_repeated_after_its_first_content(
    client: httpx.Client, spare: ScriptedProvider, name: str
) -> None:
    before = len(spare.requests)
    content = b""
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    named = {"x-candidates": f"{name}after:{name}-after,default:s"}
    with client.stream("POST", "/v1/messages", json=body, headers=named) as answer:
        pieces = answer.iter_raw()
        try:
            for piece in pieces:
                content += piece
        except httpx.RemoteProtocolError:
            pass
        else:
            raise AssertionError("the answer looks complete")
    received = check_stream(content)
    assert received[-1]["error"]["type"] == AFTER[name][1]
    assert [e["delta"]["text"] for e in received if e["type"] == "content_block_delta"] == ["first content"]
    assert len(spare.requests) == before


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_words_for_claude_code_keep_the_reason(client: httpx.Client, stream: bool) -> None:
    """It is told 424 in place of 403, and of a 404 that is none of the model's."""
    for name in ("403", "404"):
        answer = ask(client, f"{name}:{name}", stream=stream)
        assert answer.status_code == 424 or (name, stream, answer.status_code) == ("404", False, 404)
        assert "passed" not in answer.headers["x-cc-boost-route"]
