"""How much memory bodies may take: one by itself, all together, and while the provider thinks."""

import gc
import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import (
    BodyMemoryMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
)
from ccproxy_middleware.toolkit.errors import StreamAborted
from ccproxy_middleware.toolkit.json.size import MAX_NODES
from support.asgi import Answer, Inner, call, http_scope
from support.layers import COMPLETION, LAYERS, Held, complete, full

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
REQUEST: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
}


def compact(**fields: Any) -> bytes:
    return json.dumps({**REQUEST, **fields}, separators=(",", ":")).encode()


def tool_use(value: Any) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": "a", "name": "b", "input": {"x": value}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "c"}
    return [*REQUEST["messages"], {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


async def ask(app: ASGIApp, body: bytes, path: str = "/v1/messages", chunks: int = 1) -> Answer:
    return await call(app, http_scope("POST", path, {"x-api-key": "k"}), body, chunks=chunks)


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["type"]


LARGE = compact(system="x" * 200_000)


@pytest.mark.parametrize("layer", ["models", "conversion"])
@pytest.mark.parametrize("end", [None, RuntimeError("a bug"), StreamAborted("cut")], ids=["answer", "bug", "cut"])
async def test_body_without_room_gets_a_529_until_others_are_over(layer: str, end: Exception | None) -> None:
    inner = Held(end)
    app = BodyMemoryMiddleware(LAYERS[layer](inner), limit=2_100_000)  # until it is passed on a body takes 1.2 MB
    for _ in range(2):
        inner.running, inner.go = 0, anyio.Event()
        async with full(inner, 3, lambda: ask(app, LARGE)):
            answer = await ask(app, LARGE, chunks=3)
            assert refusal(answer) == (529, "overloaded_error")
            assert answer.headers["retry-after"] == "1"
            assert "use all the memory that this proxy allows" in answer.json()["error"]["message"]
            assert refusal(await ask(app, LARGE, "/v1/messages/count_tokens"))[0] == 529
        inner.go.set()
        with suppress(RuntimeError, StreamAborted):
            assert (await ask(app, LARGE)).status != 529


async def test_refusal_is_in_openais_form_on_openais_path() -> None:
    inner = Held()
    app = BodyMemoryMiddleware(ModelMappingMiddleware(inner, big="B", small="S"), limit=1_300_000)
    async with full(inner, 1, lambda: ask(app, LARGE)):
        answer = await ask(app, LARGE, "/v1/chat/completions")
    assert (answer.status, answer.json()["error"]["code"]) == (529, 529)


async def test_room_comes_back_when_a_client_leaves_within_its_request() -> None:
    app = BodyMemoryMiddleware(FormatConversionMiddleware(Inner(COMPLETION)), limit=2 * MB)

    async def receive() -> Any:
        parts.append(b"")
        if len(parts) > 4:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bytes(150_000), "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError

    for _ in range(5):
        parts: list[bytes] = []
        await app(http_scope("POST", "/v1/messages"), receive, send)
    assert (await ask(app, LARGE)).status != 529


async def test_body_over_the_limit_alone_gets_a_413() -> None:
    inner = Inner(COMPLETION)
    app = BodyMemoryMiddleware(FormatConversionMiddleware(inner), limit=MB)
    answer = await ask(app, compact(system="x" * 2 * MB), chunks=9)
    assert refusal(answer) == (413, "request_too_large")
    assert "1 MB" in answer.json()["error"]["message"]
    assert inner.scopes == []


async def test_nothing_is_limited_at_0_and_below_0_is_refused() -> None:
    app = BodyMemoryMiddleware(FormatConversionMiddleware(Inner(COMPLETION)))
    assert (await ask(app, compact(system="x" * 2 * MB))).status == 200
    with pytest.raises(ValueError, match="at least 0"):
        BodyMemoryMiddleware(Inner(), limit=-1)


NODES: dict[str, Callable[[int], Any]] = {
    "lists": lambda count: [[]] * (count // 2),
    "objects": lambda count: [{}] * (count // 2),
    "numbers": lambda count: [1] * count,
    "strings": lambda count: ["[]\\", '"'] * (count // 2),
    "members": lambda count: {str(n): "," for n in range(count)},
    "levels": lambda count: [[[[[1]]]]] * (count // 5),
}


@pytest.mark.parametrize("shape", NODES)
@pytest.mark.parametrize("layer", ["conversion", "models"])
async def test_too_many_values_are_refused_before_they_are_parsed(shape: str, layer: str) -> None:
    inner = Inner(COMPLETION)
    body = compact(x=NODES[shape](MAX_NODES + 100))
    tracemalloc.start()
    try:
        answer = await ask(LAYERS[layer](inner), body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(body) + MB
    if layer == "models":  # which passes on what it can't read
        assert inner.bodies == [body]
        return
    assert refusal(answer) == (400, "invalid_request_error")
    assert answer.json()["error"]["message"] == "The request has more than 500,000 JSON values, which is the limit"
    assert inner.scopes == []


@pytest.mark.parametrize("shape", NODES)
async def test_as_many_values_as_there_may_be_are_read(shape: str) -> None:
    body = compact(x=NODES[shape](MAX_NODES - 100))
    assert (await ask(FormatConversionMiddleware(Inner(COMPLETION)), body)).status == 200


@pytest.mark.parametrize("text", ['a, b[0], {c} "d" \\', "[{,", '\\"', ',"', '"],['])
async def test_values_are_not_counted_in_strings(text: str) -> None:
    inner = Inner(COMPLETION)
    said = [{"role": "user", "content": text * 700_000}]
    assert (await ask(FormatConversionMiddleware(inner), compact(messages=said))).status == 200
    assert inner.json()["messages"] == said


@pytest.mark.parametrize(
    "broken",
    [b'"' * 3_000_000, b'["' + b'\\"' * 2_000_000, b",," * 900_000, b'"a",' * 900_000, b'["\\' + b"[" * 900_000],
    ids=range(5),
)
async def test_what_is_no_json_is_refused_whatever_it_would_have(broken: bytes) -> None:
    answer = await ask(FormatConversionMiddleware(Inner(COMPLETION)), broken)
    assert refusal(answer) == (400, "invalid_request_error")


class Thinking:
    """A provider that counts the objects that are held while it thinks."""

    def __init__(self) -> None:
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.held = empty_lists()
        await complete(send)


def empty_lists() -> int:
    return sum(type(held) is list and not held for held in gc.get_objects())


MANY: list[list[Any]] = [[]] * 100_000
STACKS = [("models",), ("boost",), ("conversion",), *permutations(("models", "boost", "conversion")), tuple(LAYERS)]


@pytest.mark.parametrize(
    "fields",
    [{"x": MANY}, {"messages": tool_use(MANY)}, {"stream": True, "messages": tool_use(MANY)}],
    ids=["left out", "sent", "streamed"],
)
@pytest.mark.parametrize("names", STACKS, ids="-".join)
async def test_objects_are_not_held_while_the_provider_thinks(names: tuple[str, ...], fields: dict[str, Any]) -> None:
    inner = Thinking()
    app: ASGIApp = inner
    for name in reversed(names):
        app = LAYERS[name](app)
    body = compact(**fields)
    before = empty_lists()  # those of other tests
    gc.disable()  # what only it would find is held as well
    try:
        assert (await ask(app, body)).status == 200
    finally:
        gc.enable()
    assert inner.held - before < len(MANY) / 2


async def test_refused_request_is_corrected_although_its_objects_are_gone() -> None:
    bodies: list[Any] = []

    async def provider(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(json.loads((await receive())["body"]))
        answer = COMPLETION if len(bodies) > 1 else b'{"error":{"message":"Unsupported parameter: temperature"}}'
        status = 200 if len(bodies) > 1 else 400
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    app = ModelMappingMiddleware(FormatConversionMiddleware(provider), big="B", small="S")
    assert (await ask(app, compact(temperature=1, messages=tool_use(["x" * 9000])))).status == 200
    assert bodies[0].pop("temperature") == 1
    assert bodies[0] == bodies[1]


async def turns_of_others(app: ASGIApp, body: bytes) -> int:
    """How often another task has its turn while a request is served that has come at once."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await anyio.lowlevel.checkpoint()
        turns = 0
        await ask(app, body)
        taken = turns
        group.cancel_scope.cancel()
    return taken


@pytest.mark.parametrize("layer", ["models", "boost", "conversion"])
@pytest.mark.parametrize(
    "fields",
    [{"system": "x" * 2 * MB}, {"system": ["x" * 2 * MB]}, {"system": "x" * 2 * MB + "\N{GRINNING FACE}"}],
    ids=["text", "wrong", "emoji"],
)
async def test_others_have_their_turn_while_a_large_body_is_worked_on(layer: str, fields: dict[str, Any]) -> None:
    app = LAYERS[layer](Inner(COMPLETION))
    usual = await turns_of_others(app, compact(system="x"))
    assert await turns_of_others(app, compact(**fields)) >= usual + 2
