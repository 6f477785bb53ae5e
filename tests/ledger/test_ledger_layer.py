"""The layer that writes rows and tells the cost."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import AuthMiddleware, FormatConversionMiddleware, LedgerMiddleware, MeterMiddleware
from ccproxy_middleware.ledger import COLUMNS, Row
from ccproxy_middleware.toolkit.errors import StreamAborted
from ccproxy_middleware.toolkit.record import ProviderCall
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

REQUEST = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "planted-text"}]}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
COMPLETION = {
    "model": "real",
    "choices": [{"index": 0, "message": {"content": "planted-answer"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
HEADERS = {
    "x-api-key": "k",
    "x-claude-code-session-id": "session-1",
    "x-claude-code-prompt-id": "prompt-1",
    "x-claude-code-agent-id": "agent-2",
    "x-claude-code-parent-agent-id": "agent-1",
    "x-claude-code-request-class": "subagent",
    "x-cc-boost-project": "shop",
}


def price(call: ProviderCall) -> Decimal | None:
    """A dollar for each output token; nobody knows what ``claude-unknown`` costs."""
    return None if call.model == "claude-unknown" else Decimal(int(call.usage["output_tokens"]))


async def ask(
    app: ASGIApp, body: Any = REQUEST, headers: dict[str, str] = HEADERS, path: str = "/v1/messages"
) -> tuple[Answer, list[Row]]:
    rows: list[Row] = []
    answer = Answer()
    try:
        ledger = LedgerMiddleware(app, write=rows.append, price=price)
        await call(ledger, http_scope("POST", path, headers), body, answer=answer)
    except StreamAborted:
        pass
    return answer, rows


def provider(body: Any = COMPLETION, **options: Any) -> ASGIApp:
    content = body if isinstance(body, (bytes, list)) else json.dumps(body).encode()
    return FormatConversionMiddleware(MeterMiddleware(Inner(content, **options), upstream="near", provider="openai"))


def stream(*, usage: bool = True, whole: bool = True) -> list[bytes]:
    chunks: list[Any] = [{"model": "real", "choices": [{"index": 0, "delta": {"content": "hi"}}]}]
    if whole:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        chunks.append({"choices": [], "usage": USAGE})
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"] * whole


async def test_row_has_what_is_known_and_nothing_that_was_said() -> None:
    before = datetime.now(UTC)
    answer, (row,) = await ask(provider())
    assert answer.status == 200
    values = {name: getattr(row, {"class": "class_"}.get(name, name)) for name in COLUMNS}
    assert before.timestamp() - 1 < values.pop("time").timestamp() < datetime.now(UTC).timestamp() + 1
    assert values.pop("first_ms") <= values.pop("total_ms") < 10_000
    assert values == {
        "session": "session-1", "prompt": "prompt-1", "agent": "agent-2", "parent_agent": "agent-1",
        "class": "subagent", "project": "shop", "key": None, "tier": None, "upstream": "near", "model": "claude-x",
        "status": 200, "outcome": "complete", "input": 600, "cached": 400, "cache_write": 0, "output": 50,
        "reasoning": 20, "cost": Decimal(50), "provider_calls": 1, "cache_break": None,
    }  # fmt: skip
    assert "planted" not in repr(row)


def test_columns_are_those_that_are_documented() -> None:
    assert COLUMNS == (
        "time", "session", "prompt", "agent", "parent_agent", "class", "project", "key", "tier", "upstream", "model",
        "status", "outcome", "input", "cached", "cache_write", "output", "reasoning", "cost", "first_ms", "total_ms",
        "provider_calls", "cache_break",
    )  # fmt: skip


async def test_whole_answer_tells_its_cost() -> None:
    answer, _ = await ask(provider())
    assert answer.headers["x-cc-boost-cost"] == "50"
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("app", "body"),
    [
        (provider(), {**REQUEST, "model": "claude-unknown"}),
        (provider({**COMPLETION, "usage": None}), REQUEST),
        (provider({"error": {"message": "no"}}, status=400), REQUEST),
        (AuthMiddleware(provider(), api_keys=["other"]), REQUEST),
    ],
    ids=["price unknown", "usage unknown", "refused by the provider", "refused here"],
)
async def test_unknown_cost_is_none_and_no_header(app: ASGIApp, body: Any) -> None:
    answer, (row,) = await ask(app, body)
    assert row.cost is None
    assert "x-cc-boost-cost" not in answer.headers


async def test_refused_request_is_a_row() -> None:
    _, (row,) = await ask(AuthMiddleware(provider(), api_keys=["other"]))
    assert (row.status, row.outcome, row.session, row.project, row.provider_calls) == (
        401, "complete", "session-1", "shop", 0,
    )  # fmt: skip
    assert (row.input, row.output) == (None, None)


async def test_stream_has_its_cost_in_the_row_alone() -> None:
    answer, (row,) = await ask(
        provider(stream(), headers={"content-type": "text/event-stream"}), {**REQUEST, "stream": True}
    )
    assert "x-cc-boost-cost" not in answer.headers
    assert (row.cost, row.input, row.output) == (Decimal(50), 600, 50)


async def test_stream_that_breaks_off_has_no_cost_unless_its_usage_came() -> None:
    for usage, cost in ((False, None), (True, Decimal(50))):

        async def cut(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for piece in stream(usage=usage, whole=False):  # noqa: B023
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            raise StreamAborted("gone")

        app = FormatConversionMiddleware(MeterMiddleware(cut))
        _, (row,) = await ask(app, {**REQUEST, "stream": True})
        assert (row.outcome, row.cost, row.provider_calls) == ("aborted", cost, 1)


async def test_client_that_leaves_before_the_answer_is_499() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    _, (row,) = await ask(nothing)
    assert (row.status, row.outcome, row.cost) == (499, "disconnected", None)


async def test_bug_is_a_row_too() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    rows: list[Row] = []
    with pytest.raises(ZeroDivisionError):
        await call(LedgerMiddleware(broken, write=rows.append), http_scope("POST", "/v1/messages"))
    assert [(row.status, row.outcome) for row in rows] == [(500, "failed")]


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/models", "/v1/chat/completions"])
async def test_nothing_else_is_a_row(path: str) -> None:
    assert (await ask(Inner(), path=path))[1] == []


async def test_usage_that_the_provider_has_not_told_is_the_estimate_that_the_client_got() -> None:
    answer, (row,) = await ask(provider({**COMPLETION, "usage": None}))
    told = answer.json()["usage"]
    assert (row.input, row.output) == (told["input_tokens"], told["output_tokens"])
    assert row.cost is None


async def test_long_whole_answer_is_not_held_without_end() -> None:
    pieces = [b"x" * 1_000_000] * 6
    answer, _ = await ask(Inner(pieces))
    assert answer.body == b"".join(pieces)
    assert "x-cc-boost-cost" not in answer.headers


async def test_names_are_fit_for_a_database() -> None:
    headers = {**HEADERS, "x-cc-boost-project": "a\0b" + "x" * 300}
    _, (row,) = await ask(provider(), headers=headers)
    assert row.project == "ab" + "x" * 197


async def test_writer_that_fails_does_not_change_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    def full(row: Row) -> None:
        raise OSError("no space")

    answer = await call(LedgerMiddleware(provider(), write=full), http_scope("POST", "/v1/messages"), REQUEST)
    assert answer.status == 200
    assert "observer of exchanges has failed" in caplog.text


async def test_price_that_fails_does_not_change_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    def broken(call: ProviderCall) -> Decimal:
        raise ZeroDivisionError

    answer = await call(LedgerMiddleware(provider(), price=broken), http_scope("POST", "/v1/messages"), REQUEST)
    assert (answer.status, "x-cc-boost-cost" in answer.headers) == (200, False)
    assert "cost of an exchange can't be told" in caplog.text
