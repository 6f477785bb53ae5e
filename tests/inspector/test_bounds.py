"""What the inspector holds is bounded in bytes, whoever sends or does not read; no collector is needed for it."""

import gc
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware, InspectorMiddleware
from ccproxy_middleware.inspector.exchanges import Call, Exchange, Exchanges
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.serving.servers import eventually

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
KEY = {"x-api-key": "the right key"}
MESSAGE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
ANSWER = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
EVENTS = {"content-type": "text/event-stream"}


async def look(app: Any) -> Any:
    scope = http_scope("GET", "/ui/api/exchanges", {"host": "localhost", **KEY}, client=("127.0.0.1", 1))
    return (await call(app, scope)).json()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Fails:
    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self._failure is not None:
            raise self._failure


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("inner", "request_"),
    [
        (Inner(ANSWER), MESSAGE),
        (Inner([CHUNK, CHUNK, b"data: [DONE]\n\n"], headers=EVENTS), {**MESSAGE, "stream": True}),
        (Inner([CHUNK], headers=EVENTS), {**MESSAGE, "stream": True}),
        (Inner(b'{"error":{"message":"no"}}', status=500), MESSAGE),
        (
            Inner(b'{"error":{"message":"Unsupported parameter: temperature"}}', status=400),
            {**MESSAGE, "temperature": 1},
        ),
        (Inner(b"no JSON"), MESSAGE),
        (Inner(ANSWER), {"model": 1}),
        (Fails(StreamAborted("cut")), MESSAGE),
        (Fails(RuntimeError("a bug")), MESSAGE),
        (Fails(None), MESSAGE),
    ],
    ids=lambda value: "" if isinstance(value, dict) else type(value).__name__,
)
async def test_exchange_is_freed_when_it_is_forgotten(inner: Any, request_: Any) -> None:
    app = InspectorMiddleware(
        FormatConversionMiddleware(InspectorMiddleware(inner, provider="provider")), max_exchanges=1
    )
    body = json.dumps(request_).encode()
    for _ in range(20):
        messages: list[Message] = [{"type": "http.request", "body": body}]

        async def receive(messages: list[Message] = messages) -> Message:
            return messages.pop()

        async def send(message: Message) -> None:
            pass

        with suppress(StreamAborted, RuntimeError):
            await app(http_scope("POST", "/v1/messages"), receive, send)
        if isinstance(inner, Inner):
            inner.scopes.clear()  # in which the exchange is
    held = [thing for thing in gc.get_objects() if isinstance(thing, Exchange) and thing.exchanges is app._exchanges]
    assert [exchange for exchange in held if exchange.client.request] == list(app._exchanges)  # no bytes of any other
    if not isinstance(inner, Fails) and inner.body != [CHUNK]:  # an error that was raised may hold its frames a while
        assert held == list(app._exchanges)


def padded(kind: str, size: int) -> tuple[Any, dict[str, Any], dict[str, str], Inner]:
    """A request and an answer with so many bytes in one place, and an app to ask."""
    text, path = "x" * size, "/v1/messages"
    inner = Inner(ANSWER)
    request, headers = dict(MESSAGE), dict(KEY)
    match kind:
        case "model":
            request["model"] = text
        case "message":
            request["messages"] = [{"role": "user", "content": text}]
        case "path":
            path = f"/{text}/v1/messages"
        case "request headers":
            headers |= {f"x-{n}-{'y' * 500}": "" for n in range(size // 500)}
        case "answer headers":
            inner = Inner(ANSWER, headers={f"x-{n}-{'y' * 500}": "" for n in range(size // 500)})
        case "decisions":
            request["tools"] = [{"type": f"web_search_{'y' * 90}", "name": f"{n}"} for n in range(size // 100)]
        case "error":
            request["messages"] = [{"role": "user", "content": [{"type": text}]}]
        case "answer":
            inner = Inner(text.encode())
    return path, request, headers, inner


@pytest.mark.parametrize(
    "kind", ["model", "message", "path", "request headers", "answer headers", "decisions", "error", "answer"]
)
async def test_all_that_can_be_long_is_counted(kind: str) -> None:
    path, request, headers, inner = padded(kind, 100_000)
    options = {"server_tools": "drop"}
    converted = FormatConversionMiddleware(InspectorMiddleware(inner, provider="provider"), options=options)
    app = InspectorMiddleware(converted, api_keys=[KEY["x-api-key"]], max_bytes=MB)
    for _ in range(30):
        await call(app, http_scope("POST", path, headers), request)
    everything = await look(app)
    assert 0 < everything["size"] <= MB
    assert 0 < len(everything["exchanges"]) <= MB // 100_000
    assert sum(line["size"] for line in everything["exchanges"]) == everything["size"]
    assert all(len(str(line)) < 5_000 for line in everything["exchanges"])


async def test_page_that_does_not_read_holds_nothing_and_ends() -> None:
    app = InspectorMiddleware(Inner(), max_exchanges=3)
    app._pages.events_limit = 0.2
    app._pages.batch = 0.0
    scope = http_scope("GET", "/ui/api/events", {"host": "localhost"}, client=("127.0.0.1", 1))

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    async def ask() -> None:
        await eventually(lambda: app._exchanges.viewers)
        for _ in range(50):
            await call(app, http_scope("POST", "/v1/messages"), b"x" * 1000)
        (viewer,) = app._exchanges._viewers
        assert {exchange.id for exchange in viewer.take()} == {exchange.id for exchange in app._exchanges}

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        with pytest.raises(StreamAborted):
            await app(scope, receive, send)
    assert app._exchanges.viewers == 0


async def test_few_pages_are_open_at_once() -> None:
    app = InspectorMiddleware(Inner())
    app._pages.max_viewers = 1
    scope = http_scope("GET", "/ui/api/events", {"host": "localhost"}, client=("127.0.0.1", 1))
    with app._exchanges.watch():
        answer = await call(app, scope)
        assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")


def test_what_is_forgotten_is_let_go_whoever_holds_it() -> None:
    exchanges = Exchanges(1, MB)
    held = exchanges.begin(None, Call("client", "POST", "/v1/messages", []), None)  # type: ignore[arg-type]
    held.add_call(Call("provider", "POST", "/chat/completions", []))
    for one in (held.client, *held.provider):
        one.request.append(b"x")
        one.answer.append((0.0, b"x"))
    provider = held.provider[0]
    exchanges.begin(None, Call("client", "POST", "/v1/messages", []), None)  # type: ignore[arg-type]
    assert (held.client.request, held.client.answer, provider.request, provider.answer) == ([], [], [], [])
    assert not held.make_room(1)
    held.add_call(Call("provider", "POST", "/chat/completions", []))
    assert held.provider == []


def read_first(app: Any) -> Any:
    """A foreign layer that reads the body before anybody has looked at the key."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        messages = [await receive()]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await app(scope, replay, send)

    return reading


@pytest.mark.parametrize("size", [10, 200_000])
async def test_wrong_keys_push_no_exchange_out(size: int) -> None:
    app = InspectorMiddleware(
        read_first(AuthMiddleware(Inner(b"y" * 50_000), api_keys=[KEY["x-api-key"]])),
        api_keys=[KEY["x-api-key"]],
        max_exchanges=16,
        max_bytes=MB,
    )
    for _ in range(8):
        await call(app, http_scope("POST", "/v1/messages", KEY), b"x" * 50_000)
    for n in range(100):
        answer = await call(app, http_scope("POST", f"/{n}/v1/messages", {"x-api-key": "wrong"}), b"x" * size)
        assert answer.status == 401
    everything = await look(app)
    statuses = [line["status"] for line in everything["exchanges"]]
    assert statuses.count(200) == 8
    assert 0 < statuses.count(401) <= 2
    assert everything["exchanges"][-1]["path"] == "/99/v1/messages"  # the newest is seen all the same
    assert everything["size"] <= MB


async def test_exchange_of_an_app_that_needs_no_key_has_all_the_room() -> None:
    app = InspectorMiddleware(Inner(b"y" * 60_000), api_keys=[KEY["x-api-key"]], max_exchanges=16, max_bytes=MB)
    for _ in range(10):
        await call(app, http_scope("POST", "/v1/messages"), b"x" * 1000)
    everything = await look(app)
    assert [line["status"] for line in everything["exchanges"]] == [200] * 10


async def test_answer_of_an_unread_page_is_what_a_page_gets_that_reads() -> None:
    """The limits change nothing for a page that reads."""
    app = InspectorMiddleware(Inner())
    app._pages.events_limit = 0.05
    app._pages.heartbeat = app._pages.batch = 0.0
    scope = http_scope("GET", "/ui/api/events", {"host": "localhost"}, client=("127.0.0.1", 1))
    answer = Answer()
    await call(app, scope, answer=answer)
    assert answer.complete
    assert answer.body.startswith(b"event: everything\n")
