"""What has failed is left alone for a while, and then asked by one request first."""

from typing import Any

import anyio
import pytest

from ccproxy_middleware import RoutingMiddleware
from ccproxy_middleware.routing.failover import Cooldowns
from ccproxy_middleware.routing.failover.candidates import Option
from ccproxy_middleware.toolkit.errors import ApiError, FailureReason, StreamAborted
from ccproxy_middleware.toolkit.store import MemoryStore
from support.asgi import Answer, Inner, call, http_scope
from support.providers.targets import Target, answers, breaks_off, status, tells, waits

pytestmark = pytest.mark.anyio

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
CONNECT = tells(ApiError(502, "api_error", "could not connect", reason="connect"))


async def ask(app: Any, *candidates: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(app, http_scope("POST", "/v1/messages", named, **{"ccproxy.candidates": candidates}), BODY)


class Clock:
    """Seconds since the epoch, as the test has them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(MemoryStore(clock=clock), clock)


A1 = Option("a", "m1", 0, "k0")
SCOPES: dict[FailureReason, set[Option]] = {
    **dict.fromkeys(
        ("connect", "timeout", "overloaded", "server"), {A1, A1._replace(key_id="k1"), A1._replace(model="x")}
    ),
    **dict.fromkeys(("refused_key", "quota"), {A1, A1._replace(model="x")}),
    "rate_limit": {A1},
    "model_gone": {A1, A1._replace(key_id="k1")},
    "context_overflow": set(),
}


@pytest.mark.parametrize("reason", SCOPES)
def test_failure_cools_down_what_has_failed(reason: FailureReason, cooldowns: Cooldowns, clock: Clock) -> None:
    alike = [A1, A1._replace(key_id="k1"), A1._replace(model="x"), A1._replace(upstream="b")]
    cooldowns.start(A1, reason, asked_at=clock.now, told=None)
    assert {option for option in alike if cooldowns.find(option)} == SCOPES[reason]


def fails(cooldowns: Cooldowns, clock: Clock, told: float | None = None) -> float:
    seconds = cooldowns.start(A1, "server", asked_at=clock.now, told=told)
    assert seconds is not None
    clock.now += seconds + 0.001
    return seconds


def test_cool_downs_double_with_jitter_up_to_five_minutes(cooldowns: Cooldowns, clock: Clock) -> None:
    seconds = [fails(cooldowns, clock) for _ in range(12)]
    expected = [min(300.0, 5.0 * 2**n) for n in range(12)]
    assert all(0.8 * e <= s <= 1.2 * e for s, e in zip(seconds, expected, strict=True))
    assert len({round(s / e, 6) for s, e in zip(seconds, expected, strict=True)}) > 6


def test_retry_after_goes_before_that(cooldowns: Cooldowns, clock: Clock) -> None:
    assert [fails(cooldowns, clock, told) for told in (7.0, 90.0, 0.0, 1e9)] == [7.0, 90.0, 1.0, 86_400.0]


def test_answer_ends_it_and_what_follows_begins_anew(cooldowns: Cooldowns, clock: Clock) -> None:
    for _ in range(4):
        fails(cooldowns, clock)
    cooldowns.clear(cooldowns.probe(A1))
    assert cooldowns.find(A1) is None
    assert fails(cooldowns, clock) < 7


def test_requests_that_fail_together_count_once(cooldowns: Cooldowns, clock: Clock) -> None:
    asked_at = clock.now
    clock.now += 1
    waits_ = []
    for _ in range(20):
        clock.now += 0.01
        waits_.append(cooldowns.start(A1, "server", asked_at=asked_at, told=None) or 0.0)
    assert max(waits_) <= 6


def test_one_probe_goes_through_when_it_is_over(cooldowns: Cooldowns, clock: Clock) -> None:
    fails(cooldowns, clock)
    assert cooldowns.find(A1) is None
    probe = cooldowns.probe(A1)
    assert cooldowns.find(A1) is not None
    cooldowns.release(probe)  # its client has left
    assert cooldowns.find(A1) is None
    cooldowns.probe(A1)
    clock.now += 31  # a probe that never ends
    assert cooldowns.find(A1) is None


def test_refused_key_stays_out(cooldowns: Cooldowns, clock: Clock) -> None:
    cooldowns.start(A1, "refused_key", asked_at=clock.now, told=None, refuses_key=True)
    clock.now += 3600
    assert cooldowns.find(A1) is not None


async def test_failed_upstream_is_passed_over_by_the_next_requests() -> None:
    first, second = Target("first", CONNECT), Target("second")
    app = RoutingMiddleware(first, targets={"b": second})
    routes = [(await ask(app, "m", "b:m")).headers["x-cc-boost-route"] for _ in range(3)]
    assert first.asked == 1
    assert second.asked == 3
    assert routes == ["rule=tier; upstream=b; model=m; passed=default:m(connect)"] * 3


async def test_probe_that_answers_brings_the_first_candidate_back() -> None:
    first, second = Target("first", status(503, retry_after="1"), answers), Target("second")
    store = MemoryStore()
    app = RoutingMiddleware(first, targets={"b": second}, store=store)
    await ask(app, "m", "b:m")
    assert [key for key, _ in store.items("cooldown:")] == ["cooldown:default"]
    await anyio.sleep(1.05)
    assert (await ask(app, "m", "b:m")).json()["content"][0]["text"] == "first"
    assert list(store.items("cooldown:")) == []


async def test_only_one_of_many_requests_is_the_probe() -> None:
    first, second = Target("first", status(503, retry_after="1"), waits(0.2, status(503))), Target("second")
    app = RoutingMiddleware(first, targets={"b": second})
    await ask(app, "m", "b:m")
    await anyio.sleep(1.05)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask, app, "m", "b:m")
    assert (first.asked, second.asked) == (2, 6)


async def test_the_one_that_is_free_soonest_is_asked_where_all_are_cooled_down() -> None:
    targets = {
        "a": Target("a", status(429, retry_after="60"), answers),
        "b": Target("b", status(429, retry_after="20"), answers),
        "c": Target("c", status(429, retry_after="40"), answers),
    }
    app = RoutingMiddleware(Inner(), targets=targets)
    first = await ask(app, "a:m", "b:m", "c:m")
    assert (first.status, first.headers["retry-after"]) == (429, "20")
    second = await ask(app, "a:m", "b:m", "c:m")
    assert second.json()["content"][0]["text"] == "b"
    assert second.headers["x-cc-boost-route"].endswith("passed=a:m(rate_limit)")
    assert [target.asked for target in targets.values()] == [1, 2, 1]


async def test_upstream_that_has_failed_by_itself_is_asked_again_where_the_others_fail() -> None:
    first, second = Target("first", status(500), answers), Target("second", answers, status(500))
    app = RoutingMiddleware(first, targets={"b": second})
    await ask(app, "m", "b:m")
    assert (await ask(app, "m", "b:m")).json()["content"][0]["text"] == "first"
    assert (first.asked, second.asked) == (2, 2)


async def test_broken_off_answer_cools_its_upstream_down() -> None:
    first, second = Target("first", breaks_off(5)), Target("second")
    app = RoutingMiddleware(first, targets={"b": second})
    scope = http_scope("POST", "/v1/messages", **{"ccproxy.candidates": ("m", "b:m")})
    with pytest.raises(StreamAborted):
        await call(app, scope, {**BODY, "stream": True})
    assert (await ask(app, "m", "b:m")).json()["content"][0]["text"] == "second"


async def test_store_has_neither_models_nor_sessions_by_name() -> None:
    """A client may make them up."""
    store = MemoryStore()
    targets = {"a": Target("a", status(404), status(429), status(402))}
    app = RoutingMiddleware(Inner(), targets=targets, keys={"a": ["k0", "k1"]}, store=store)
    for _ in range(3):
        await ask(app, "a:my-secret-model", x_claude_code_session_id="my-secret-session")
    kept = "".join(key + value.decode() for kind in ("cooldown:", "affinity:") for key, value in store.items(kind))
    assert "affinity:a:" in kept
    assert "cooldown:a:" in kept
    assert "secret" not in kept


def test_waits_are_told_soonest_first(cooldowns: Cooldowns, clock: Clock) -> None:
    others = [A1._replace(upstream=name) for name in "abc"]
    for option, told in zip(others, (30.0, 10.0, 20.0), strict=True):
        cooldowns.start(option, "rate_limit", asked_at=clock.now, told=told)
    assert cooldowns.wait(others) == pytest.approx(10.0, abs=0.01)
    assert cooldowns.wait([*others, A1._replace(upstream="free")]) == 0.0
    assert cooldowns.wait([]) is None
