"""The record of an exchange: observers that fail keep nothing from the others."""

import pytest
from starlette.types import Receive, Scope, Send

from ccproxy_middleware import FormatConversionMiddleware, MetricsMiddleware
from ccproxy_middleware.toolkit.record import Record, observe
from support.asgi import Inner, call, http_scope

pytestmark = pytest.mark.anyio


def failing(record: Record) -> None:
    raise RuntimeError("an observer's fault")


async def test_observer_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def inner_layer(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(Inner(), scope, receive, send, failing, on_start=failing)

    async def middle_layer(scope: Scope, receive: Receive, send: Send) -> None:
        def end(record: Record) -> None:
            told.append("end")

        def start(record: Record) -> None:
            told.append("start")

        await observe(inner_layer, scope, receive, send, end, on_start=start)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(middle_layer, scope, receive, send, failing, on_start=failing)

    answer = await call(app, http_scope("GET", "/"))
    assert answer.status == 200
    assert told == ["start", "end"]
    assert "an observer's fault" in caplog.text


async def test_decisions_that_cannot_be_told_lose_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def explain() -> list[str]:
        raise KeyError("x")

    record = Record("req_1", "POST", "/v1/messages")
    record.explain = explain
    assert record.decisions == ["the decisions can't be told: a bug, whose traceback is in the log"]
    assert "can't be told" in caplog.text


@pytest.mark.parametrize("content", [["plain"], [None, 5], [["x"]], "text", {"a": 1}])
async def test_decisions_are_made_of_odd_blocks_too(content: object) -> None:
    """Blocks of Anthropic's own servers are not looked into before they are dropped."""
    records: list[Record] = []
    history = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "y"}, {"type": "mcp_tool_result", "content": content}],
        },
        {"role": "user", "content": "z"},
    ]
    body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        conversion = MetricsMiddleware(FormatConversionMiddleware(Inner(body)))
        await observe(conversion, scope, receive, send, records.append)

    answer = await call(app, http_scope("POST", "/v1/messages"), {"model": "m", "max_tokens": 9, "messages": history})
    assert answer.status == 200
    assert "1 block is left out: made by Anthropic's servers" in records[0].decisions
