"""Why a request went where it went: in the header, the record, the log, the inspector and the metrics."""

import json
import logging
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp

from ccproxy.boundary import Boundary
from ccproxy_middleware import InspectorMiddleware, MetricsMiddleware, Route, RoutingMiddleware
from ccproxy_middleware.routing import Pace, Routed
from ccproxy_middleware.toolkit.record import Record, observe
from support.asgi import Answer, call, http_scope
from support.providers.targets import Target, answers, status, waits

pytestmark = pytest.mark.anyio

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


async def ask(app: ASGIApp, *candidates: str, model: str = "m", **more: Any) -> Answer:
    scope = {**http_scope("POST", "/v1/messages", {"host": "localhost"}), "ccproxy.candidates": candidates}
    return await call(app, scope, {**BODY, "model": model, **more})


def routed(*behaviours: Any, **options: Any) -> RoutingMiddleware:
    targets = {f"u{number}": Target(f"u{number}", behaviour) for number, behaviour in enumerate(behaviours)}
    return RoutingMiddleware(Target("default"), targets=targets, **options)


async def test_record_has_a_row_for_each_candidate() -> None:
    records: list[Record] = []
    app = routed(status(429, retry_after="9"), status(404), answers, keys={"u0": ["x", "y"]})

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        await observe(app, scope, receive, send, records.append)

    for _ in range(2):
        await ask(observed, "u0:a", "u1:b", "u2:c")
    rows = [[(a.upstream, a.model, a.key, a.asked, a.reason, a.status) for a in r.attempts] for r in records]
    assert rows[0] == [
        ("u0", "a", 0, True, "rate_limit", 429),
        ("u0", "a", 1, True, "rate_limit", 429),
        ("u1", "b", 0, True, "model_gone", 404),
        ("u2", "c", 0, True, None, 200),
    ]
    assert rows[1] == [
        ("u0", "a", 0, False, "rate_limit", None),
        ("u1", "b", 0, False, "model_gone", None),
        ("u2", "c", 0, True, None, 200),
    ]
    assert [attempt.cooled for attempt in records[0].attempts] == [9.0, 9.0, pytest.approx(5, rel=0.21), None]
    assert [(r.rule, r.upstream, r.model, r.error) for r in records] == [("tier", "u2", "c", None)] * 2
    times = [time for a in records[0].attempts for time in (a.started, a.ended or -1.0)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("model", "candidates", "expected"),
    [
        ("claude-haiku-4-5", (), "rule=cheap; upstream=u0; model=small"),
        ("gpt", ("u1:x",), "rule=tier; upstream=u1; model=x"),
        ("U1:any:model", ("u0:x",), "rule=client; upstream=u1; model=any:model"),
        ("claude/u1:claude-opus[1m]", ("u0:x",), "rule=client; upstream=u1; model=claude-opus"),
        ("default:claude-haiku-4-5", ("u0:x",), "rule=client; upstream=default; model=claude-haiku-4-5"),
        ("llama3.1:70b", (), "rule=tier; upstream=default; model=llama3.1:70b"),
        ("wild; model=no, (x)ü", (), "rule=tier; upstream=default; model=wild%3B model%3Dno%2C %28x%29%C3%BC"),
    ],
)
async def test_header_tells_the_rule(model: str, candidates: tuple[str, ...], expected: str) -> None:
    app = routed(answers, answers, routes=[Route("u0:small", name="cheap", tier="small")])
    answer = await ask(app, *candidates, model=model)
    assert answer.headers["x-cc-boost-route"] == expected


async def test_provider_cannot_make_the_header_up() -> None:
    app = routed(status(400, x_cc_boost_route="made up"), status(429, x_cc_boost_route="made up"))
    for name in ("u0", "u1"):
        headers = (await ask(app, f"{name}:m")).messages[0]["headers"]
        assert [value for key, value in headers if key == b"x-cc-boost-route"] == [
            f"rule=tier; upstream={name}; model=m".encode()
        ]


def test_header_is_bounded() -> None:
    passed = tuple((f"{'n' * 100}:{'m' * 500}", "rate_limit") for _ in range(50))
    assert len(Routed("r" * 999, "u" * 999, "ü" * 999, passed).header()) <= 1024


async def test_inner_layers_are_told() -> None:
    app = routed(status(500), answers)
    await ask(app, "u0:a", "u1:b")
    target = app._shared.targets["u1"]
    assert isinstance(target, Target)
    assert target.scopes[0]["ccproxy.route"] == Routed("tier", "u1", "b", (("u0:a", "server"),))


async def test_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ccproxy.exchange")
    await ask(Boundary(routed(status(503), answers)), "u0:a", "u1:b")
    line = next(record for record in caplog.records if record.name == "ccproxy.exchange")
    assert {name: getattr(line, name) for name in ("rule", "upstream", "passed", "model")} == {
        "rule": "tier",
        "upstream": "u1",
        "passed": "u0:a(overloaded)",
        "model": "b",
    }
    assert not hasattr(line, "waited_ms")


async def test_inspector_shows_the_attempts() -> None:
    app = InspectorMiddleware(routed(status(503), answers))
    await ask(app, "u0:a", "u1:b")
    local = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    listed = await call(app, {**http_scope("GET", "/ui/api/exchanges", {"host": "localhost"}), **local})
    id_ = listed.json()["exchanges"][0]["id"]
    shown = (await call(app, {**http_scope("GET", f"/ui/api/exchanges/{id_}", {"host": "localhost"}), **local})).json()
    assert (shown["rule"], shown["upstream"]) == ("tier", "u1")
    first, second = shown["attempts"]
    assert (first["upstream"], first["model"], first["reason"], first["status"]) == ("u0", "a", "overloaded", 503)
    assert 3900 <= first["cooled"] <= 6100
    assert (second["upstream"], second["reason"], second["status"]) == ("u1", None, 200)


async def test_metrics_by_upstream() -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    pace = Pace("u2", concurrency=1)
    inner = routed(status(503), status(429), waits(0.05), paces={"u2": pace})
    app = MetricsMiddleware(inner)

    async def page() -> dict[tuple[str, ...], float]:
        text = (await call(app, http_scope("GET", "/metrics", {"host": "localhost"}))).body.decode()
        return {
            (
                sample.name,
                *(sample.labels[name] for name in ("upstream", "reason") if name in sample.labels),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("ccproxy_upstream") and "le" not in sample.labels
        }

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(ask, app, "u0:a", "u1:b", "u2:c")
        await anyio.sleep(0.02)
        assert (await page())["ccproxy_upstream_queue_length", "u2"] == 1
    found = await page()
    expected: dict[tuple[str, ...], float] = {
        ("ccproxy_upstream_requests_total", "u2"): 2,
        ("ccproxy_upstream_errors_total", "u0", "overloaded"): found["ccproxy_upstream_requests_total", "u0"],
        ("ccproxy_upstream_cooldowns_total", "u1", "rate_limit"): found["ccproxy_upstream_requests_total", "u1"],
        ("ccproxy_upstream_queue_length", "u2"): 0,
        ("ccproxy_upstream_queue_wait_seconds_count", "u2"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert 0.01 < found["ccproxy_upstream_queue_wait_seconds_sum", "u2"] < 5
    assert json.dumps(BODY["messages"]) not in str(found)
