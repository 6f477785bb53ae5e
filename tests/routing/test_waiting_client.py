"""A client that waits for a stream gets pings, whichever candidate answers in the end; and may leave at any time."""

import json
import math
from typing import Any

import anyio
import pytest
from starlette.types import Message

from ccproxy_middleware import RoutingMiddleware
from ccproxy_middleware.routing import Pace
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted
from support.asgi import Answer, call, http_scope
from support.providers.targets import Behaviour, Target, answers, begin, breaks_off, more, start, status, tells, waits
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

BODY = {"model": "m1", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}


class Impatient(RoutingMiddleware):
    first_event_grace = 0.02
    ping_interval = 0.02


async def ask(app: Any, *candidates: str, path: str = "/v1/messages") -> Answer:
    answer = Answer()
    await call(app, http_scope("POST", path, **{"ccproxy.candidates": candidates}), BODY, answer=answer)
    return answer


def kinds(answer: Answer) -> list[str]:
    """The types of the events, several pings as one."""
    types = [event["type"] for event in check_stream(answer.body)]
    return [kind for at, kind in enumerate(types) if kind != "ping" or types[at - 1] != "ping"]


def begins(then: Behaviour) -> Behaviour:
    """A message_start, silence, and what follows."""

    async def behave(target: Target, scope: Any, send: Any) -> None:
        await start(send)
        await more(send, begin(target.name))
        await anyio.sleep(0.08)
        await then(target, scope, send)

    return behave


SLOW = {
    "silent, then an error": waits(0.08, status(503)),
    "begun, then broken off": breaks_off(2, pause=0.08),
    "begun, then broken off without a word": breaks_off(2, pause=0.08, told=False),
    "begun with an empty block, then broken off": breaks_off(3, pause=0.08),
}


@pytest.mark.parametrize("kind", SLOW)
async def test_successor_goes_on_in_the_same_stream(kind: str) -> None:
    first, second = Target("first", SLOW[kind]), Target("second")
    answer = await ask(Impatient(first, targets={"spare": second}), "m1", "spare:m2")
    assert kinds(answer)[:3] == ["message_start", "ping", "content_block_start"]
    events = check_stream(answer.body)
    assert [event["type"] for event in events].count("message_start") == 1
    assert "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta") == "second"
    assert events[-1]["type"] == "message_stop"
    assert answer.headers["x-cc-boost-route"] == "rule=tier; upstream=default; model=m1"  # as it was then


async def test_message_start_of_the_candidate_is_sent_if_it_is_there() -> None:
    async def breaks(target: Target, scope: Any, send: Any) -> None:
        raise StreamAborted

    app = Impatient(Target("first", begins(breaks)), targets={"spare": Target("second")})
    events = check_stream((await ask(app, "m1", "spare:m2")).body)
    assert events[0]["message"]["id"] == "msg_first"


async def test_message_start_has_the_clients_name_for_the_model() -> None:
    app = Impatient(Target("first", waits(0.06)), targets={"spare": Target("second")})
    answer = Answer()
    known = {"ccproxy.candidates": ("m1", "spare:m2"), "ccproxy.model": {"requested": "claude-opus-5-5", "tier": None}}
    await call(app, http_scope("POST", "/v1/messages", **known), BODY, answer=answer)
    assert check_stream(answer.body)[0]["message"]["model"] == "claude-opus-5-5"


async def test_what_fails_for_good_ends_as_an_error_event_of_its_type() -> None:
    first = Target("first", waits(0.06, status(429, "rate_limit_error", "slowly", retry_after="3")))
    second = Target("second", status(500))
    answer = Answer()
    with pytest.raises(StreamAborted) as caught:
        app = Impatient(first, targets={"spare": second})
        scope = http_scope("POST", "/v1/messages", **{"ccproxy.candidates": ("m1", "spare:m2")})
        await call(app, scope, BODY, answer=answer)
    assert caught.value.error is not None
    assert caught.value.error.type == "rate_limit_error"
    assert kinds(answer) == ["message_start", "ping", "error"]
    error = check_stream(answer.body)[-1]["error"]
    assert error == {"type": "rate_limit_error", "message": "slowly (first)"}
    assert not answer.complete


async def test_openai_stream_is_kept_alive_by_comments() -> None:
    async def chunks(target: Target, scope: Any, send: Any) -> None:
        await start(send)
        for data in (b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n', b"data: [DONE]\n\n"):
            await more(send, data)
        await send({"type": "http.response.body", "body": b""})

    first, second = Target("first", waits(0.06, status(503))), Target("second", chunks)
    app = Impatient(first, targets={"spare": second})
    answer = await ask(app, "m1", "spare:m2", path="/v1/chat/completions")
    whole = answer.body
    assert whole.startswith(b": ping\n\n")
    assert whole.replace(b": ping\n\n", b"") == (b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n')


async def test_sole_candidate_gets_no_pings() -> None:
    answer = await ask(Impatient(Target("only", waits(0.06))), "m1")
    assert "x-accel-buffering" not in answer.headers
    assert kinds(answer)[0] == "message_start"


async def leaving(app: Any, *candidates: str, after: float, body: Any = BODY) -> list[Message]:
    """What a client gets that leaves after some seconds."""
    received: list[Message] = []
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": json.dumps(body).encode()}
        await anyio.sleep(after)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        received.append(message)

    with anyio.fail_after(5):
        await app(http_scope("POST", "/v1/messages", **{"ccproxy.candidates": candidates}), receive, send)
    return received


async def test_client_that_leaves_ends_the_request_and_asks_nobody_else() -> None:
    first, second = Target("first", waits(math.inf)), Target("second")
    app = RoutingMiddleware(first, targets={"spare": second})
    assert await leaving(app, "m1", "spare:m2", after=0.02) == []
    assert (first.left, second.asked) == (1, 0)
    assert "passed" not in (await ask(RoutingMiddleware(second), "m1")).headers["x-cc-boost-route"]


async def test_client_that_leaves_ends_the_second_candidate_too() -> None:
    first, second = Target("first", status(500)), Target("second", waits(math.inf))
    app = RoutingMiddleware(first, targets={"spare": second})
    assert await leaving(app, "m1", "spare:m2", after=0.02) == []
    assert second.left == 1


async def test_standby_is_asked_where_the_pace_leaves_no_place() -> None:
    first, second = Target("first", waits(0.05), answers), Target("second")
    app = RoutingMiddleware(first, targets={"spare": second}, paces={"Default": Pace("default", concurrency=1)})
    got: list[Answer] = []
    async with anyio.create_task_group() as tasks:

        async def one() -> None:
            got.append(await ask(app, "m1", "spare:m2"))

        tasks.start_soon(one)
        await anyio.sleep(0.01)
        tasks.start_soon(one)
    assert (first.asked, second.asked) == (1, 1)
    assert got[0].headers["x-cc-boost-route"] == "rule=tier; upstream=spare; model=m2; passed=default:m1(busy)"


async def test_request_waits_for_its_turn_where_nobody_else_is_free() -> None:
    first, second = Target("first", waits(0.1), answers), Target("second", status(500))
    app = Impatient(first, targets={"spare": second}, paces={"default": Pace("default", concurrency=1)})
    got: list[Answer] = []
    async with anyio.create_task_group() as tasks:

        async def one() -> None:
            got.append(await ask(app, "m1", "spare:m2"))

        tasks.start_soon(one)
        await anyio.sleep(0.01)
        tasks.start_soon(one)
    assert (first.asked, second.asked) == (2, 1)
    assert all(kinds(answer)[0] == "message_start" for answer in got)
    assert all(check_stream(answer.body)[-1]["type"] == "message_stop" for answer in got)
    assert "ping" in kinds(got[1])


async def test_wait_ends_with_529(anyio_backend: Any) -> None:
    first = Target("first", waits(0.3))
    pace = Pace("default", concurrency=1)
    app = RoutingMiddleware(first, paces={"default": pace}, queue_timeout=0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, app, "m1")
        await anyio.sleep(0.01)
        answer = await ask(app, "m1")
        assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")
        assert int(answer.headers["retry-after"]) >= 1
        assert pace.waiting == 0
    assert (await pace.try_enter(1)) is not None  # all places were given back


async def test_client_may_leave_the_queue() -> None:
    first = Target("first", waits(0.2), answers)
    pace = Pace("default", concurrency=1)
    app = RoutingMiddleware(first, paces={"default": pace})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, app, "m1")
        await anyio.sleep(0.01)
        assert await leaving(app, "m1", after=0.02) == []
        assert pace.waiting == 0
    assert first.asked == 1


async def test_failure_gives_the_place_back() -> None:
    pace = Pace("default", concurrency=1)
    app = RoutingMiddleware(Target("first", status(500)), targets={"b": Target("b")}, paces={"default": pace})
    for _ in range(3):
        await ask(app, "m1", "b:m2")
    assert (await pace.try_enter(1)) is not None


async def test_error_of_no_reason_is_not_repeated_after_pings() -> None:
    refused = ApiError(400, "invalid_request_error", "no such tool")
    app = Impatient(Target("first", waits(0.06, tells(refused))), targets={"b": Target("b")})
    answer = Answer()
    scope = http_scope("POST", "/v1/messages", **{"ccproxy.candidates": ("m1", "b:m2")})
    with pytest.raises(StreamAborted):
        await call(app, scope, BODY, answer=answer)
    assert check_stream(answer.body)[-1]["error"]["type"] == "invalid_request_error"
