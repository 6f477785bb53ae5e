"""A candidate that fails is replaced by the next, as long as the client has seen no content."""

import json
from typing import Any

import pytest
from starlette.types import Scope

from ccproxy_middleware import RoutingMiddleware
from ccproxy_middleware.toolkit.errors import ApiError, FailureReason, StreamAborted
from support.asgi import Answer, Inner, call, http_scope
from support.providers.targets import Behaviour, Target, answers, breaks_off, frames, raises, status, tells
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

BODY = {"model": "m1", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
OVERFLOW = "prompt is too long: 9000 tokens > 8000 maximum"


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def asks(*candidates: str, path: str = "/v1/messages", **headers: str) -> Scope:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {**http_scope("POST", path, named), "ccproxy.candidates": candidates}


def said(answer: Answer) -> str:
    """The text of a good answer, whose stream keeps the grammar."""
    assert answer.status == 200, answer.body
    if answer.headers["content-type"] == "application/json":
        return str(answer.json()["content"][0]["text"])
    events = check_stream(answer.body)
    assert events[-1]["type"] == "message_stop"
    return "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")


def told(answer: Answer) -> tuple[int, str, str]:
    """The status, type and words of an error."""
    error = answer.json()["error"]
    return answer.status, error["type"], error["message"]


def failing(reason: FailureReason, code: int = 502, type_: str = "api_error") -> Behaviour:
    return tells(ApiError(code, type_, f"it is the {reason}", reason=reason))


FAILURES = {
    "connect": (failing("connect"), "connect"),
    "timeout": (failing("timeout", 504, "timeout_error"), "timeout"),
    "408": (status(408), "timeout"),
    "429": (status(429, "rate_limit_error"), "rate_limit"),
    "500": (status(500), "server"),
    "502": (status(502), "server"),
    "503": (status(503), "overloaded"),
    "504": (status(504), "timeout"),
    "529": (status(529, "overloaded_error"), "overloaded"),
    "401": (status(401, "authentication_error"), "refused_key"),
    "402": (status(402, "billing_error"), "quota"),
    "403": (status(403, "permission_error"), "refused_key"),
    "quota": (status(429, "insufficient_quota", "You exceeded your current quota"), "quota"),
    "404": (status(404, "not_found_error"), "model_gone"),
    "cut": (breaks_off(0, told=False), "server"),
    "raises": (raises, "server"),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_next_candidate_answers_where_the_first_fails(kind: str, stream: bool) -> None:
    behaviour, reason = FAILURES[kind]
    first, second = Target("first", behaviour), Target("second")
    app = RoutingMiddleware(first, targets={"Spare": second})
    answer = await call(app, asks("m1", "spare:qwen:7b"), {**BODY, "stream": stream})
    assert said(answer) == "second"
    assert answer.complete
    route = f"rule=tier; upstream=spare; model=qwen:7b; passed=default:m1({reason})"
    assert answer.headers["x-cc-boost-route"] == route
    assert (first.asked, second.asked) == (1, 1)
    assert [first.requests[0]["model"], second.requests[0]["model"]] == ["m1", "qwen:7b"]
    assert first.scopes[0]["ccproxy.max_retries"] == 0
    assert "ccproxy.max_retries" not in second.scopes[0]


@pytest.mark.parametrize("code", [400, 409, 413, 422])
async def test_clients_own_mistake_goes_to_it_at_once(code: int, stream: bool) -> None:
    first, second = Target("first", status(code, "invalid_request_error", "tools: no")), Target("second")
    app = RoutingMiddleware(first, targets={"spare": second})
    answer = await call(app, asks("m1", "spare:m2"), {**BODY, "stream": stream})
    assert told(answer) == (code, "invalid_request_error", "tools: no (first)")
    assert second.asked == 0
    assert answer.headers["x-cc-boost-route"] == "rule=tier; upstream=default; model=m1"


@pytest.mark.parametrize("code", [401, 413, 529])
async def test_refusal_by_a_layer_of_ours_is_nobodys_failure(code: int) -> None:
    """Such as that of an AuthMiddleware inside, or of a limit: it has no reason."""
    first, second = Target("first", tells(ApiError(code, "some_error", "not you"))), Target("second")
    answer = await call(RoutingMiddleware(first, targets={"spare": second}), asks("m1", "spare:m2"), BODY)
    assert told(answer) == (code, "some_error", "not you")
    assert second.asked == 0


@pytest.mark.parametrize("events", [0, 1, 2, 3])
async def test_stream_that_fails_before_its_content_goes_on_elsewhere(events: int) -> None:
    for is_told in (True, False):
        first, second = Target("first", breaks_off(events, told=is_told)), Target("second")
        app = RoutingMiddleware(first, targets={"spare": second})
        answer = await call(app, asks("m1", "spare:m2"), {**BODY, "stream": True})
        assert said(answer) == "second"
        assert b"first" not in answer.body


@pytest.mark.parametrize("events", [4, 5, 6])
async def test_stream_that_fails_after_its_first_content_is_never_repeated(events: int) -> None:
    first, second = Target("first", breaks_off(events)), Target("second")
    app = RoutingMiddleware(first, targets={"spare": second})
    answer = Answer()
    with pytest.raises(StreamAborted):
        await call(app, asks("m1", "spare:m2"), {**BODY, "stream": True}, answer=answer)
    received = check_stream(answer.body)
    assert received[-1]["error"] == {"type": "api_error", "message": "first has broken off"}
    assert not answer.complete
    assert second.asked == 0


@pytest.mark.parametrize("pieces", [0, 1, 5])
async def test_whole_answer_that_breaks_off_in_its_body_goes_on_elsewhere(pieces: int) -> None:
    first, second = Target("first", breaks_off(pieces)), Target("second")
    answer = await call(RoutingMiddleware(first, targets={"spare": second}), asks("m1", "spare:m2"), BODY)
    assert said(answer) == "second"


async def test_last_candidate_is_left_alone_where_nobody_can_follow() -> None:
    """Its answer goes out as it comes, with the retries of its own endpoint."""
    only = Target("only", breaks_off(1))
    answer = Answer()
    with pytest.raises(StreamAborted):
        await call(RoutingMiddleware(only), asks("m1"), {**BODY, "stream": True}, answer=answer)
    assert [m["type"] for m in answer.messages] == ["http.response.start", *["http.response.body"] * 2]
    assert "ccproxy.max_retries" not in only.scopes[0]


async def test_bug_of_the_last_candidate_is_no_answer(stream: bool) -> None:
    app = RoutingMiddleware(Target("first", raises), targets={"spare": Target("second", raises)})
    with pytest.raises(ZeroDivisionError, match="second"):
        await call(app, asks("m1", "spare:m2"), {**BODY, "stream": stream})


WINDOWS = {("default", "m1"): 8000, ("small", "m2"): 8000, ("large", "m3"): 100_000}


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (("m1", "small:m2", "large:m3"), "large"),
        (("m1", "small:m2"), None),
        (("m1", "unknown:m4"), None),
        (("m1", "unknown:m4", "large:m3"), "large"),
    ],
)
async def test_overflow_goes_only_to_a_larger_window(
    candidates: tuple[str, ...], expected: str | None, stream: bool
) -> None:
    first = Target("first", status(400, "invalid_request_error", OVERFLOW))
    others = {name: Target(name) for name in ("small", "large", "unknown")}
    app = RoutingMiddleware(first, targets=others, windows=lambda name, model: WINDOWS.get((name, model)))
    answer = await call(app, asks(*candidates), {**BODY, "stream": stream})
    if expected is None:
        assert told(answer) == (400, "invalid_request_error", f"{OVERFLOW} (first)")
        assert not any(target.asked for target in others.values())
    else:
        assert said(answer) == expected
        assert [name for name, target in others.items() if target.asked] == [expected]
    again = await call(app, asks("m1"), BODY)  # it is not cooled down, since it has failed for this request alone
    assert "passed" not in again.headers["x-cc-boost-route"]


RANKED = [
    (status(429, "rate_limit_error", "b", retry_after="7"), (429, "7")),
    (status(529, "overloaded_error", "c", retry_after="30"), (529, "7")),
    (status(400, "invalid_request_error", OVERFLOW), (400, None)),
    (status(402, "billing_error"), (402, None)),
    (status(500), (500, None)),
    (status(404, "not_found_error"), (404, None)),
]


@pytest.mark.parametrize("best", range(len(RANKED)))
async def test_client_gets_the_most_useful_error_where_all_fail(best: int, stream: bool) -> None:
    behaviours = [behaviour for behaviour, _ in RANKED[best:]][::-1]
    targets = {f"u{number}": Target(f"u{number}", behaviour) for number, behaviour in enumerate(behaviours)}
    sizes = {f"u{number}": 8001 + number for number in range(len(targets))}
    app = RoutingMiddleware(Inner(), targets=targets, windows=lambda name, _: sizes[name])
    answer = await call(app, asks(*(f"{name}:m" for name in targets)), {**BODY, "stream": stream})
    code, _ = RANKED[best][1]
    assert answer.status == code
    assert all(target.asked == 1 for target in targets.values())


async def test_retry_after_is_the_time_until_somebody_is_free(stream: bool) -> None:
    slow = status(429, "rate_limit_error", "an hour", retry_after="3600", retry_after_ms="3600000")
    targets = {"a": Target("a", slow), "b": Target("b", status(500))}
    app = RoutingMiddleware(Inner(), targets=targets)
    answer = await call(app, asks("a:m", "b:m"), {**BODY, "stream": stream})
    assert told(answer) == (429, "rate_limit_error", "an hour (a)")
    assert 4 <= int(answer.headers["retry-after"]) <= 6
    assert "retry-after-ms" not in answer.headers


async def test_openai_clients_get_the_same(stream: bool) -> None:
    good: Any = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    bad = [b"data: " + json.dumps(item).encode() + b"\n\n" for item in (role, {"error": {"message": "no"}})]
    event_stream = {"content-type": "text/event-stream"}
    first = Inner(
        bad if stream else b'{"error":{"message":"no"}}', 200 if stream else 500, event_stream if stream else {}
    )
    chunks = [b"data: " + json.dumps(item).encode() + b"\n\n" for item in (role, good)] + [b"data: [DONE]\n\n"]
    second = Inner(chunks, headers=event_stream)
    app = RoutingMiddleware(first, targets={"spare": second})
    answer = await call(app, asks("m1", "spare:m2", path="/v1/chat/completions"), {**BODY, "stream": stream})
    assert (answer.status, answer.body) == (200, b"".join(chunks))


async def test_pieces_may_be_cut_anywhere() -> None:
    whole = b"".join(frames("second"))
    for size in (1, 7, 100):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        second = Inner(pieces, headers={"content-type": "text/event-stream"})
        app = RoutingMiddleware(Target("first", status(500)), targets={"spare": second})
        answer = await call(app, asks("m1", "spare:m2"), {**BODY, "stream": True})
        assert answer.body == whole


async def test_count_of_tokens_fails_over_and_cools_nobody_down() -> None:
    first, second = Target("first", status(404, "not_found_error"), answers), Target("second")
    app = RoutingMiddleware(first, targets={"spare": second})
    path = "/v1/messages/count_tokens"
    assert said(await call(app, asks("m1", "spare:m2", path=path), BODY)) == "second"
    assert said(await call(app, asks("m1", "spare:m2"), BODY)) == "first"
