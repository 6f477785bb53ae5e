"""What an exchange has taken is given back at its end, however it ends: nothing is left to the garbage collector."""

import gc
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy import Forward
from ccproxy_middleware import BodyMemoryMiddleware, FormatConversionMiddleware
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers import Profile
from ccproxy_middleware.toolkit.asgi import LARGE, BufferedBody
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import call, http_scope
from support.layers import LAYERS, complete
from support.providers.faulty import SSE, Behaviour, answers_always, closes_before_headers, faulty
from support.providers.faulty import chunk as http_chunk
from support.providers.upstream_faults import completion, events, stream_of, whole
from support.serving.servers import eventually
from support.streams.chunks import chunk, sse, text

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


@contextmanager
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def bodies_held() -> int:
    return sum(type(held) is BufferedBody for held in gc.get_objects())


def request(content: Any = "hi", **fields: Any) -> bytes:
    said = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    return json.dumps({**said, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


NOT_JSON = b'{"choices":[' + b" " * 2 * MB
BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
ENDS: dict[str, Behaviour] = {
    "answered": whole(completion()),
    "not JSON": whole(b"nothing"),
    "much that is not JSON": whole(NOT_JSON),
    "no choices": whole(b"{}"),
    "an error": whole(b"{}", BAD),
    "an error that asks for a correction": whole(b'{"error":{"message":"Unsupported parameter: max_tokens"}}', BAD),
    "too large": whole(b"a" * 3 * MB),
    "no answer": closes_before_headers,
    "stream": stream_of(events(text("Hi"), chunk(finish="stop"))),
    "stream cut off": stream_of(events(text("Hi"), done=False)),
    "stream with an error": stream_of(events(text("Hi"), {"error": {"message": "busy"}})),
    "stream with an error at its start": stream_of(events({"error": {"message": "busy"}})),
    "stream of nonsense": stream_of(events("a", "b", "c", "d")),
    "event without an end": stream_of(b"data: " + b"a" * 17 * MB),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("size", [0, 2 * LARGE], ids=["small", "large"])
@pytest.mark.parametrize("end", ENDS)
async def test_exchange_leaves_no_body_behind(end: str, size: int, streamed: bool) -> None:
    with faulty(ENDS[end]) as server:
        forward = Forward(server.url + "/v1", max_retries=0, timeout=5, max_answer=5 * MB // 2)
        async with forward.lifespan():
            app = _layered(forward)
            body = request("x" * size, stream=streamed)
            with uncollected():
                before = bodies_held()
                for _ in range(3):
                    with suppress(StreamAborted):
                        await call(app, http_scope("POST", "/v1/messages", {"x-api-key": "k"}), body)
                await eventually(lambda: bodies_held() == before)


REFUSED: dict[str, bytes] = {
    "not JSON": b"{",
    "much that is not JSON": NOT_JSON,
    "no messages": b"{}",
    "many halves of emoji": request("@").replace(b"@", rb"\ud83d" * 200_000),
    "wrong in the middle of much": request(["x" * 2 * MB, 1]),
    "nested too deeply": request("hi", x="@").replace(b'"@"', b"[" * 3000 + b"]" * 3000),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_refused_request_leaves_no_body_behind(why: str) -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    with uncollected():
        before = bodies_held()
        for _ in range(3):
            answer = await call(_layered(never), http_scope("POST", "/v1/messages", {"x-api-key": "k"}), REFUSED[why])
            assert answer.status == 400, answer.body
            del answer
        await eventually(lambda: bodies_held() == before)


def _layered(app: ASGIApp) -> ASGIApp:
    for name in reversed(LAYERS):
        app = LAYERS[name](app)
    return app


TEXTS: dict[str, str] = {
    "plain": "a" * 4 * MB,
    "with one emoji": "a" * 4 * MB + "\N{GRINNING FACE}",
    "emoji": "\N{GRINNING FACE}" * MB,
    "ideographs": "\u4e2d" * MB,
    "line ends": "a\n" * 2 * MB,
}


@pytest.mark.parametrize("of", TEXTS)
async def test_large_body_takes_what_is_counted(of: str) -> None:
    body = request(TEXTS[of])
    start = held = 0

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal held
        await receive()
        held = tracemalloc.get_traced_memory()[0] - start
        await complete(send)

    app = BodyMemoryMiddleware(FormatConversionMiddleware(inner), limit=100 * MB)
    ask = partial(call, app, http_scope("POST", "/v1/messages"), body)
    await ask()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        assert (await ask()).status == 200
    finally:
        tracemalloc.stop()
    assert held < 2 * len(body) + MB  # as it came and as it goes out; the text itself is gone


async def test_body_is_sent_without_a_copy() -> None:
    """aiohttp holds what it sends until the answer comes."""
    body = request("x" * 8 * MB)
    start = held = 0

    async def note(connection: Any) -> None:
        nonlocal held
        await connection.request()
        held = tracemalloc.get_traced_memory()[0] - start
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    with faulty(note) as server:
        forward = Forward(server.url + "/v1", max_retries=0)
        async with forward.lifespan():
            tracemalloc.start()
            try:
                start = tracemalloc.get_traced_memory()[0]
                await call(forward, http_scope("POST", "/v1/messages"), body)
            finally:
                tracemalloc.stop()
    assert held < 3 * len(body)  # here, joined from its pieces, and at the provider, which runs in this process


GROWING: dict[str, Behaviour] = {
    "event stream": answers_always(SSE + http_chunk(b"data: " + b"a" * 100_000 + b"\n\n") * 60),
    "error as an event stream": answers_always(
        SSE.replace(b"200 OK", b"500 Error") + http_chunk(b"data: " + b"a" * 100_000 + b"\n\n") * 60
    ),
    "JSON as an event stream": answers_always(SSE + http_chunk(b"{") + http_chunk(b"a" * 100_000) * 60),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", GROWING)
async def test_answer_that_is_held_is_limited_whatever_it_calls_itself(kind: str, streamed: bool) -> None:
    if streamed and kind == "event stream":
        pytest.skip("nothing of it is held")
    with faulty(GROWING[kind]) as server:
        forward = Forward(server.url + "/v1", max_retries=0)
        async with forward.lifespan():
            app = FormatConversionMiddleware(forward, max_answer=MB)
            answer = await call(app, http_scope("POST", "/v1/messages"), request(stream=streamed))
    assert answer.status == 502
    assert "over the limit of 1048576 bytes" in answer.json()["error"]["message"]


def said(delta: dict[str, Any]) -> bytes:
    return sse(chunk(delta), done=False)


PIECES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "blanks": (said({"content": " " * 1000}), {}),
    "short blanks": (said({"content": " " * 10}) * 20, {}),
    "blanks before a tag": (said({"content": " " * 1000}), {"think_tags": "auto"}),
    "blanks in thoughts": (said({"content": " " * 1000}), {"think_tags": "on"}),
    "thoughts that are not shown": (said({"reasoning_content": "a" * 1000}), {}),
    "a refusal": (said({"refusal": "a" * 1000}), {}),
    "text": (said({"content": "a" * 1000}), {}),
}


@pytest.mark.parametrize("kind", PIECES)
def test_stream_holds_nothing_that_grows(kind: str) -> None:
    piece, options = PIECES[kind]
    converter = StreamConverter(Context(model="m", profile=Profile(**options)), "req_1")
    converter.feed(said({"role": "assistant", "content": "a" if options.get("think_tags") == "on" else ""}))
    tracemalloc.start()
    try:
        for _ in range(1000):
            converter.feed(piece)
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(3000):
            converter.feed(piece)
        grown = tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()
    assert grown < MB / 2
