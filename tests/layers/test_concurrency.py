"""How many requests are served at once: refusals at once, and places that come back however a request ends."""

import json
import threading
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import MessageParam
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware import ConcurrencyLimitMiddleware
from ccproxy_middleware.toolkit.errors import StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.clients.raw_client import connected, whole
from support.layers import Held, full
from support.providers.scripted import Answer as AnswerOfProvider
from support.providers.scripted import Endless, Failure, Raw, Reply, ScriptedProvider, Silence
from support.serving.proxied import proxied
from support.serving.servers import eventually

MESSAGES = "/v1/messages"
LIMIT = 30.0
HELLO: MessageParam = {"role": "user", "content": "Hello"}
MODEL = "claude-opus-4-1"
STREAM = {"model": MODEL, "max_tokens": 9, "stream": True, "messages": [HELLO]}


async def status(app: ASGIApp, method: str = "POST", path: str = MESSAGES) -> int:
    return (await call(app, http_scope(method, path))).status


@pytest.mark.anyio
async def test_one_more_is_refused_at_once_when_all_places_are_taken() -> None:
    inner = Held()
    limited = ConcurrencyLimitMiddleware(inner, limit=3)
    async with full(inner, 3, lambda: status(limited)):
        answer = await call(limited, http_scope("POST", MESSAGES, {"x-api-key": "k"}, root_path="/claude"))
    assert (answer.status, answer.headers["retry-after"]) == (529, "1")
    error = answer.json()["error"]
    assert error == {
        "type": "overloaded_error",
        "message": "/v1/messages: this proxy is serving 3 requests, which is its limit",
    }


@pytest.mark.anyio
async def test_refusal_is_in_openais_form_on_openais_path() -> None:
    inner = Held()
    limited = ConcurrencyLimitMiddleware(inner, limit=1)
    async with full(inner, 1, lambda: status(limited)):
        answer = await call(limited, http_scope("POST", "/v1/chat/completions"))
    assert (answer.status, answer.json()["error"]["code"]) == (529, 529)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/health", 200),
        ("GET", "/v1/models", 200),
        ("HEAD", "/", 200),
        ("POST", "/v1/messages/count_tokens", 529),  # it may ask the provider, and parses the whole conversation
        ("POST", "/v1/chat/completions", 529),
    ],
)
async def test_what_counts(method: str, path: str, expected: int) -> None:
    waiting = Held()
    inner = Inner()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        first = scope["path"] == MESSAGES
        await (waiting if first else inner)(scope, receive, send)

    limited = ConcurrencyLimitMiddleware(app, limit=1)
    async with full(waiting, 1, lambda: status(limited)):
        assert await status(limited, method, path) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("end", [None, RuntimeError("a bug"), StreamAborted("cut")], ids=["answer", "bug", "cut"])
async def test_place_comes_back_when_a_request_ends(end: Exception | None) -> None:
    inner = Held(end)
    limited = ConcurrencyLimitMiddleware(inner, limit=1)
    for round_ in range(1, 3):
        inner.go = anyio.Event()
        inner.running = 0
        async with full(inner, 1, lambda: status(limited)):
            assert (await status(limited), round_) == (529, round_)


@pytest.mark.anyio
async def test_place_comes_back_when_a_request_is_cancelled() -> None:
    inner = Held()
    limited = ConcurrencyLimitMiddleware(inner, limit=1)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: call(limited, http_scope("POST", MESSAGES)))
        while not inner.running:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    inner.go.set()
    assert await status(limited) == 200


@pytest.mark.anyio
async def test_nothing_is_limited_at_0_and_below_0_is_refused() -> None:
    inner = Held()
    limited = ConcurrencyLimitMiddleware(inner)
    async with full(inner, 50, lambda: status(limited)):
        pass
    with pytest.raises(ValueError, match="at least 0"):
        ConcurrencyLimitMiddleware(inner, limit=-1)


@pytest.mark.anyio
async def test_other_scopes_pass() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await call(ConcurrencyLimitMiddleware(app, limit=1), {"type": "lifespan"}, answer=Answer())
    assert seen == ["lifespan"]


def test_proxy_is_overloaded_while_its_places_are_taken_and_the_sdk_comes_again() -> None:
    gate = threading.Event()
    provider = ScriptedProvider(lambda body: Reply("Hi", gate=gate))
    with (
        proxied(provider, max_concurrency=2) as url,
        httpx.Client(base_url=url, timeout=LIMIT) as client,
        client.stream("POST", MESSAGES, json=STREAM) as first,
        client.stream("POST", MESSAGES, json=STREAM) as second,
        Anthropic(api_key="k", base_url=url, max_retries=4) as sdk,
    ):
        assert client.get("/health").status_code == 200
        with pytest.raises(APIStatusError) as refusal:
            sdk.with_options(max_retries=0).messages.create(model=MODEL, max_tokens=9, messages=[HELLO])
        ends = threading.Timer(0.5, gate.set)  # before the SDK's second try, a second after the first
        ends.start()
        message = sdk.messages.create(model=MODEL, max_tokens=9, messages=[HELLO])
        ends.join()
        assert [answer.read().count(b"event: message_stop") for answer in (first, second)] == [1, 1]
    assert (refusal.value.status_code, refusal.value.response.headers["retry-after"]) == (529, "1")
    assert message.content[0].type == "text"


@pytest.mark.anyio
async def test_places_of_the_proxy_come_back_however_a_request_ends() -> None:
    """More requests than places, one after the other: a place that is lost would mean a refusal for ever."""
    answers: list[AnswerOfProvider] = [
        Reply("Hi"),
        Failure(500),
        Raw([b"no event\n\n"]),
        Endless(),
        Silence(),
        Reply("Hi"),
    ]
    provider = ScriptedProvider(answers)
    statuses = []
    with proxied(provider, max_concurrency=1, max_retries=0) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            for _ in answers:
                statuses.append(await begin_when_free(client))
                await eventually(lambda: provider.active == 0)
    assert statuses == [200, 500, 502, 200, None, 200]


async def begin_when_free(client: httpx.AsyncClient) -> int | None:
    """Like :func:`begin`, once more where the request before it is not quite over."""
    status = await begin(client)
    for _ in range(100):
        if status != 529:
            break
        await anyio.sleep(0.02)
        status = await begin(client)
    return status


async def begin(client: httpx.AsyncClient) -> int | None:
    """The status of a request whose client goes after the first bytes, or when nothing comes for a while."""
    try:
        async with client.stream("POST", MESSAGES, json=STREAM, timeout=1) as answer:
            await anext(answer.aiter_raw())
            return answer.status_code
    except httpx.ReadTimeout:
        return None


@pytest.mark.anyio
async def test_request_takes_its_place_when_it_is_whole() -> None:
    with proxied(ScriptedProvider(lambda body: Reply("Hi")), max_concurrency=1, allowed_hosts=["*"]) as url:
        async with connected(url) as slow, connected(url) as other:
            await slow.send(whole(b"{}")[:-1])
            for _ in range(3):
                await other.send(whole(json.dumps({**STREAM, "stream": False}).encode()))
                assert (await other.answer()).status == 200
            await slow.send(b"}")
            assert (await slow.answer()).status == 400


@pytest.mark.anyio
async def test_requests_that_become_whole_at_once_take_no_more_places_than_there_are() -> None:
    inner = Held()
    limited = ConcurrencyLimitMiddleware(inner, limit=1)
    whole_now = anyio.Event()
    statuses: list[int] = []

    async def one() -> None:
        async def receive() -> Message:
            await whole_now.wait()
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await limited(http_scope("POST", MESSAGES), receive, send)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
            whole_now.set()
            while len(statuses) < 2:
                await anyio.lowlevel.checkpoint()
            inner.go.set()
    assert statuses == [529, 529, 200]
