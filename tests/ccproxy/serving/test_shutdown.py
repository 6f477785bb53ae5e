"""What still runs when the process ends, in process; tests/reliability/test_life.py ends real ones."""

import anyio
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy import Settings, create_app
from ccproxy.boundary import Boundary
from ccproxy.serving.shutdown import Shutdown, ShutdownMiddleware
from support.asgi import Answer, call, http_scope

pytestmark = pytest.mark.anyio
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Waits:
    """An app that sends these messages and then nothing more."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self.reached = anyio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self._messages:
            await send(message)
        self.reached.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled = True


def start(headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def ended(app: Waits, shutdown: Shutdown, path: str = "/v1/messages", method: str = "POST") -> Answer:
    """The answer to a request during which the process is told to end."""
    answer = Answer()
    wrapped: ASGIApp = Boundary(ShutdownMiddleware(app, shutdown=shutdown))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: call(wrapped, http_scope(method, path), answer=answer))
            await app.reached.wait()
            shutdown.begin()
            shutdown.begin()
    assert app.cancelled
    return answer


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/messages", {"type": "overloaded_error", "message": "this proxy is shutting down; please try again"}),
        (
            "/v1/chat/completions",
            {
                "type": "overloaded_error",
                "message": "this proxy is shutting down; please try again",
                "param": None,
                "code": 529,
            },
        ),
    ],
)
async def test_answer_is_a_529_when_nothing_was_sent(path: str, error: dict[str, object]) -> None:
    answer = await ended(Waits(), Shutdown(0), path)
    assert (answer.status, answer.headers["retry-after"], answer.json()["error"]) == (529, "1", error)
    assert answer.complete


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", b"event: error\n"),
        (b"event: ping\n\n", b"event: ping\n\nevent: error\n"),
        (b"event: pi", b"event: pi\n\nevent: error\n"),
    ],
)
async def test_stream_gets_an_error_event_and_no_end(sent: bytes, expected: bytes) -> None:
    answer = await ended(Waits(start(SSE), part(sent)), Shutdown(0))
    assert answer.body.startswith(expected)
    assert b'"overloaded_error"' in answer.body
    assert not answer.complete


async def test_answer_that_is_no_stream_is_just_cut() -> None:
    answer = await ended(Waits(start(JSON), part(b"{")), Shutdown(0))
    assert (answer.body, answer.complete) == (b"{", False)


async def test_answer_that_is_complete_gets_no_more() -> None:
    answer = await ended(Waits(start(JSON), {"type": "http.response.body", "body": b"{}"}), Shutdown(0))
    assert (answer.body, answer.complete) == (b"{}", True)


async def test_events_for_a_page_do_not_use_up_the_grace() -> None:
    answer = await ended(Waits(start(SSE)), Shutdown(60), "/ui/events", "GET")
    assert not answer.complete


async def test_request_is_refused_when_the_time_is_over() -> None:
    shutdown = Shutdown(0)
    await ended(Waits(), shutdown)
    answer = await call(ShutdownMiddleware(Waits(), shutdown=shutdown), http_scope("POST", "/v1/messages"))
    assert answer.status == 529


async def test_host_with_another_server_begins_it_itself() -> None:
    shutdown = Shutdown(0)
    endpoint = Waits()
    app = create_app(Settings.explicit(openai_api_key="k"), endpoint=endpoint, shutdown=shutdown)
    host = Starlette()
    host.mount("/claude", app)
    request = {"model": "claude-opus-4-1", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    answer = Answer()
    with anyio.fail_after(10):
        async with app.router.lifespan_context(app), anyio.create_task_group() as group:
            group.start_soon(lambda: call(host, http_scope("POST", "/claude/v1/messages"), request, answer=answer))
            await endpoint.reached.wait()
            shutdown.begin()
    assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")
