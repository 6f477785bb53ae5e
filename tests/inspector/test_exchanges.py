"""What is kept in memory, and for how long; the layer among others, in process."""

import re
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, InspectorMiddleware
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.paths import ROOT

pytestmark = pytest.mark.anyio

OPENAI = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
MESSAGE = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


async def ask(app: Any, body: Any = b"x", path: str = "/v1/messages", **more: Any) -> Answer:
    return await call(app, http_scope("POST", path, **more), body)


async def look(app: Any, path: str = "") -> Any:
    scope = http_scope("GET", f"/ui/api/exchanges{path}", {"host": "localhost"}, client=("127.0.0.1", 1))
    return (await call(app, scope)).json()


async def last(app: Any) -> Any:
    return await look(app, "/" + (await look(app))["exchanges"][-1]["id"])


async def test_oldest_exchange_goes_when_there_are_too_many() -> None:
    app = InspectorMiddleware(Inner(), max_exchanges=2)
    for n in range(5):
        await ask(app, path=f"/{n}/v1/messages")
    everything = await look(app)
    assert [line["path"] for line in everything["exchanges"]] == ["/3/v1/messages", "/4/v1/messages"]
    assert everything["oldest"] == everything["exchanges"][0]["id"]
    assert everything["size"] == sum(line["size"] for line in everything["exchanges"])
    assert sum(everything["minutes"]["requests"]) == 5  # the charts remember them


async def test_oldest_exchanges_go_when_they_are_too_large() -> None:
    app = InspectorMiddleware(Inner(b"y" * 10_000), max_bytes=50_000)
    for size in (10_000, 10_000, 30_000):
        await ask(app, b"x" * size, f"/{size}/v1/messages")
    everything = await look(app)
    assert [line["path"] for line in everything["exchanges"]] == ["/30000/v1/messages"]
    assert everything["size"] < 50_000


async def test_exchange_that_is_too_large_alone_is_cut_and_says_so() -> None:
    inner = Inner([b"y" * 4000] * 10)
    app = InspectorMiddleware(inner, max_bytes=30_000)
    answer = await ask(app, b"x" * 8000)
    assert answer.body == b"y" * 40_000
    detail = await last(app)
    assert detail["client"]["cut"]
    assert detail["size"] <= 30_000
    assert 0 < len(detail["client"]["answer"]["text"]) < 40_000
    large = await ask(app, b"x" * 50_000)
    assert large.status == 200
    detail = await last(app)
    scope = http_scope(
        "POST", f"/ui/api/exchanges/{detail['id']}/replay",
        {"host": "localhost", "content-type": "application/json"}, client=("127.0.0.1", 1),
    )  # fmt: skip
    assert (await call(app, scope, b"{}")).status == 409


@pytest.mark.parametrize(("max_exchanges", "max_bytes"), [(0, 1), (1, 0)])
async def test_limits_below_one_are_refused(max_exchanges: int, max_bytes: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        InspectorMiddleware(Inner(), max_exchanges=max_exchanges, max_bytes=max_bytes)


async def test_layer_stands_alone_and_twice_without_the_proxy() -> None:
    inner = Inner(OPENAI)
    app = InspectorMiddleware(FormatConversionMiddleware(InspectorMiddleware(inner, provider="model")))
    answer = await ask(app, MESSAGE)
    detail = await last(app)
    assert detail["client"]["answer"]["json"] == answer.json()
    assert [call["name"] for call in detail["providers"]] == ["model"]
    assert detail["providers"][0]["request"]["json"] == inner.json()
    assert detail["state"] == "ok"
    assert len((await look(app))["exchanges"]) == 1


async def test_example_of_the_docs_works() -> None:
    page = (ROOT / "docs/inspector.md").read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "inspector.md", "exec"), names)
    app = names["inspected"](Inner(OPENAI))
    assert (await ask(app, MESSAGE)).status == 200
    scope = http_scope("GET", "/ui/api/exchanges", {"x-api-key": "team-key"})
    assert (await call(app, scope)).json()["exchanges"][0]["provider_requests"] == 1


async def test_second_inspector_passes_what_has_no_exchange() -> None:
    inner = Inner()
    app = InspectorMiddleware(inner, provider="model")
    assert (await ask(app)).status == 200
    scope = http_scope("GET", "/ui/", {"host": "localhost"}, client=("127.0.0.1", 1))
    assert (await call(app, scope)).body == b"{}"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/uix"])
async def test_other_requests_pass_and_are_not_kept(path: str) -> None:
    app = InspectorMiddleware(Inner())
    assert (await call(app, http_scope("GET", path))).body == b"{}"
    assert (await look(app))["exchanges"] == []


async def test_chat_completions_are_kept_too() -> None:
    app = InspectorMiddleware(Inner(OPENAI))
    await ask(app, MESSAGE, "/v1/chat/completions")
    assert (await last(app))["client"]["request"]["json"] == MESSAGE


class Fails:
    """An app that fails in its answer in the given way."""

    def __init__(self, failure: BaseException) -> None:
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'data: {"type":"ping"}\n\n', "more_body": True})
        raise self._failure


@pytest.mark.parametrize("failure", [StreamAborted("cut"), RuntimeError("bug")])
async def test_failure_passes_on_and_is_shown(failure: Exception) -> None:
    app = InspectorMiddleware(Fails(failure))
    with pytest.raises(type(failure)):
        await ask(app)
    detail = await last(app)
    assert detail["state"] == "failed"
    assert detail["client"]["ended"] is None
    assert [event["json"] for event in detail["client"]["answer"]["events"]] == [{"type": "ping"}]


async def test_client_that_leaves_is_no_failure() -> None:
    async def leaves(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    app = InspectorMiddleware(leaves)
    await ask(app)
    assert (await last(app))["state"] == "left"


async def test_bytes_and_messages_are_passed_on_as_they_are() -> None:
    """A layer that only looks on changes nothing, not even which objects are passed."""
    sent: list[Message] = [
        {"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"b")]},
        {"type": "http.response.body", "body": b"\xff\x00", "more_body": True},
        {"type": "http.response.body", "body": b""},
    ]

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        for message in sent:
            await send(message)

    answer = await ask(InspectorMiddleware(inner))
    assert answer.messages[1] is sent[1]
    assert answer.messages[0]["headers"] == [(b"X-A", b"b")]
    assert answer.body == b"\xff\x00"
