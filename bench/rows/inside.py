"""Rows that need no network: how time grows with size, and what a layer costs."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy import Settings, create_app
from ccproxy.layers import Parts, make_layers

from .. import bodies
from ..contestants import Contestants
from ..measure import Plan, Row
from ..provider import event_stream

_CHUNKS = 1000
_ANSWER = {"choices": [{"index": 0, "message": {"content": "Hello."}, "finish_reason": "stop"}]}


class Endpoint:
    """Answers every request with the same body, in as many messages as ``pieces`` has."""

    def __init__(self, kind: bytes, pieces: list[bytes]) -> None:
        self._headers = [(b"content-type", kind)]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Through:
    """A layer that only passes on what it gets, piece by piece."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            await send(message)

        await self.app(scope, receive, pass_on)


async def _call(app: ASGIApp, body: bytes) -> None:
    """One request to an app; raises RuntimeError for an answer that is none."""
    status = 0
    waiting = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/messages",
        "raw_path": b"/v1/messages",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "asgi": {"version": "3.0"},
    }
    await app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"status {status}")


def best(apps: list[ASGIApp], bodies: list[Callable[[int], bytes]], repeats: int) -> list[float]:
    """The least seconds of CPU time of each pair of an app and what makes its bodies, which take turns."""

    async def timed() -> list[float]:
        times: list[list[float]] = [[] for _ in apps]
        for turn in range(repeats):
            for number, (app, make) in enumerate(zip(apps, bodies, strict=True)):
                body = make(turn)
                began = time.process_time()
                await _call(app, body)
                times[number].append(time.process_time() - began)
        return [min(values) for values in times]

    return asyncio.run(timed())


def growth(plan: Plan, _: Contestants) -> list[Row]:
    """What happens to the time when a large request is twice as large."""
    endpoint = Endpoint(b"application/json", [orjson.dumps(_ANSWER)])
    app = create_app(Settings.explicit(openai_api_key="none"), endpoint=endpoint)
    cases: list[tuple[str, Callable[[int], dict[str, Any]], int]] = [
        ("1 MB of text", bodies.long_text, 1_000_000),
        ("300 tools", bodies.many_tools, 300),
        ("2,000 messages", bodies.many_messages, 2000),
    ]
    rows = []
    for name, make, size in cases:
        pair = [_never_the_same(make(size)), _never_the_same(make(size * 2))]
        single, double = best([app, app], pair, plan.count(30))
        columns = {"once": f"{single * 1000:.1f} ms", "twice": f"{double * 1000:.1f} ms"}
        ratio = double / single
        rows.append(Row(f"{name}, doubled", "time <= 2.2 x", f"{ratio:.2f} x", ratio <= 2.2, columns))
    return rows


def _never_the_same(request: dict[str, Any]) -> Callable[[int], bytes]:
    """Makes the request's JSON so that nothing of it is known: lists begin with ever more white space."""
    body = orjson.dumps(request)
    return lambda turn: body.replace(b'":[', b'":[' + b" " * turn)


def layer(plan: Plan, _: Contestants) -> list[Row]:
    """What one more layer costs for each chunk, and what the usual ones outside of the conversion do."""
    endpoint = Endpoint(b"text/event-stream", event_stream(_CHUNKS))
    settings = Settings.explicit(openai_api_key="none")
    layers = make_layers(settings, Parts())
    more = [*(Middleware(Through) for _ in range(10)), *layers]
    conversion_alone = layers[-1:]
    apps: list[ASGIApp] = [
        create_app(settings, endpoint=endpoint, layers=stack) for stack in (layers, more, conversion_alone)
    ]
    body = bodies.small(stream=True)
    usual, with_ten, alone = best(apps, [lambda _: body] * 3, plan.count(100))
    cost = (with_ten - usual) / 10 / _CHUNKS * 1e6
    columns = {
        "usual stack": f"{usual / _CHUNKS * 1e6:.1f} us/chunk",
        "conversion alone": f"{alone / _CHUNKS * 1e6:.1f} us/chunk",
    }
    return [Row("a layer that passes through", "<= 1 us per chunk", f"{cost:.2f} us", cost <= 1, columns)]
