"""BudgetMiddleware in front of toy apps: what is refused, in which words, and what is counted."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import AuthMiddleware, BudgetMiddleware, ClientKey, KeyLimits, ModelMappingMiddleware, Route
from ccproxy_middleware.budgets.spending import Accounts, Cap
from ccproxy_middleware.toolkit.record import get_record
from support.asgi import Answer, Inner, call, http_scope

pytestmark = pytest.mark.anyio

BODY = {"model": "claude-opus-4-8", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
SONNET = {**BODY, "model": "claude-sonnet-4-6"}
HAIKU = {**BODY, "model": "claude-haiku-4-5"}
KEYS = [ClientKey.of_text(name, f"key-of-{name}") for name in ("ann", "bob")]


class Bank:
    """Spending in memory."""

    def __init__(self, spent: str = "0") -> None:
        self.spent_by = {"ann": Decimal(spent)}
        self.asked: list[datetime] = []
        self.error: Exception | None = None

    async def spent(self, key: str, since: datetime) -> Decimal:
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        return self.spent_by.get(key, Decimal(0))


class Using:
    """A provider whose exchanges use and cost what the test says."""

    def __init__(self, usage: Mapping[str, int] = {}, *, status: int = 200, cost: str | None = None) -> None:
        self.usage, self.status, self.cost = usage, status, cost
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        record = get_record(scope)
        if record is not None:  # of a key with limits
            record.usage = self.usage
            record.cost = None if self.cost is None else Decimal(self.cost)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


def stack(inner: ASGIApp, limits: KeyLimits, **options: Any) -> ASGIApp:
    """Auth, the mapping and the budgets, as the proxy has them; ``ann`` has the limits, ``bob`` has none."""
    budgets = BudgetMiddleware(inner, limits={"ann": limits}.get, **options)
    mapped = ModelMappingMiddleware(
        budgets, big="gpt-4o", middle="gpt-4o,spare", small="gpt-4o-mini", upstreams=["local"]
    )
    return AuthMiddleware(mapped, named_keys=lambda: KEYS)


async def post(app: ASGIApp, body: Any = BODY, *, key: str = "ann", path: str = "/v1/messages") -> Answer:
    return await call(app, http_scope("POST", path, {"x-api-key": f"key-of-{key}"}), body)


def error(answer: Answer, status: int, type: str) -> str:
    assert answer.status == status
    assert answer.json()["error"]["type"] == type
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize(
    ("limits", "model", "words"),
    [
        ({"tiers": ("small",)}, "claude-haiku-4-5", None),
        ({"tiers": ("small",)}, "claude-opus-4-8", "the key ann may use the tier small; gpt-4o is of the tier big"),
        ({"tiers": ("small", "middle")}, "claude-opus-4-8", "may use the tiers small, middle; "),
        ({"tiers": ("big",)}, "gpt-4o", "may use the tier big; gpt-4o is of none"),
        ({"tiers": ("big",)}, "local:gpt-4o", "may use the tier big; local:gpt-4o is of none"),
        ({"models": ("gpt-4o*",)}, "claude-opus-4-8", None),
        ({"models": ("GPT-4o",)}, "gpt-4o", None),
        ({"models": ("gpt-4o",)}, "gpt-4o-mini", "may use the models gpt-4o; this request is for gpt-4o-mini"),
        ({"models": ("gpt-4o",)}, "local:gpt-4o", "this request is for local:gpt-4o"),
        ({"models": ("local:*",)}, "claude/local:qwen3", None),
        ({"models": ("claude-haiku*",)}, "claude-haiku-4-5", None),
        ({"models": ("claude-haiku*",)}, "claude-sonnet-4-6", "may use the models claude-haiku*; "),
        ({"models": ("claude-*",)}, "claude-provider/expensive", "this request is for expensive"),
        ({"tiers": ("small",), "models": ("qwen*",)}, "qwen3", None),
        ({"tiers": ("small",), "models": ("qwen*",)}, "claude-haiku-4-5", "this request is for gpt-4o-mini"),
        ({"tiers": ("small",), "models": ("qwen*",)}, "claude-opus-4-8", "is of the tier big"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_tiers_and_models(limits: Any, model: str, words: str | None, path: str) -> None:
    inner = Inner()
    answer = await post(stack(inner, KeyLimits(**limits)), {**BODY, "model": model}, path=path)
    if words is None:
        assert answer.status == 200
    else:
        assert words in error(answer, 403, "permission_error")
        assert answer.headers["x-should-retry"] == "false"
    assert len(inner.scopes) == (words is None)


async def test_key_without_limits_may_do_all() -> None:
    inner = Inner()
    app = stack(inner, KeyLimits(tiers=("small",), usd_per_day=Decimal(1)))
    assert (await post(app, key="bob")).status == 200
    assert (await post(app, b"no JSON", key="bob")).status == 200


@pytest.mark.parametrize("body", [b"no JSON", [], {"messages": []}, {"model": 1}])
async def test_request_without_a_model_can_not_be_within_limits(body: Any) -> None:
    inner = Inner()
    error(await post(stack(inner, KeyLimits(tiers=("big",))), body), 400, "invalid_request_error")
    assert inner.scopes == []


async def test_requests_of_a_minute() -> None:
    app = stack(Using(), KeyLimits(requests_per_minute=2))
    assert [(await post(app)).status for _ in range(2)] == [200, 200]
    answer = await post(app)
    message = error(answer, 429, "rate_limit_error")
    seconds = int(answer.headers["retry-after"])
    assert 58 <= seconds <= 61
    assert message == f"the key ann has a limit of 2 requests per minute: try again in {seconds} seconds"
    assert "x-should-retry" not in answer.headers
    assert (await post(app, path="/v1/messages/count_tokens")).status == 200  # it is no request for an answer
    assert (await post(app, key="bob")).status == 200


async def test_tokens_of_a_minute_are_those_that_were_used() -> None:
    inner = Using({"input_tokens": 100, "cache_read_input_tokens": 800, "output_tokens": 50})
    app = stack(inner, KeyLimits(tokens_per_minute=1000))
    assert (await post(app)).status == 200
    await asyncio.sleep(0)  # the correction
    inner.usage = {"input_tokens": 5, "output_tokens": 60}
    assert (await post(app)).status == 200
    await asyncio.sleep(0)
    answer = await post(app)
    assert "a limit of 1,000 tokens per minute" in error(answer, 429, "rate_limit_error")
    assert 1 <= int(answer.headers["retry-after"]) <= 120


async def test_long_prompt_is_refused_at_the_start_and_a_failure_gives_its_tokens_back() -> None:
    long = {**BODY, "messages": [{"role": "user", "content": "word " * 700}]}
    inner = Using(status=500)
    app = stack(inner, KeyLimits(tokens_per_minute=1000))
    for _ in range(3):
        assert (await post(app, long)).status == 500
        await asyncio.sleep(0)
    inner.status = 200  # its usage is never told: the estimate counts on
    assert (await post(app, long)).status == 200
    await asyncio.sleep(0)
    assert (await post(app, long)).status == 429
    assert inner.requests == 4


async def test_limits_are_those_of_the_moment() -> None:
    limits = {"ann": KeyLimits(requests_per_minute=1)}
    app = AuthMiddleware(BudgetMiddleware(Using(), limits=limits.get), named_keys=lambda: KEYS)
    assert [(await post(app)).status for _ in range(2)] == [200, 429]
    limits["ann"] = KeyLimits(requests_per_minute=3)
    assert [(await post(app)).status for _ in range(4)] == [200, 200, 200, 429]
    del limits["ann"]
    assert (await post(app)).status == 200


@pytest.mark.parametrize(("period", "dollars"), [("daily", "2.5"), ("monthly", "2.5"), ("both", "2.5")])
async def test_spent_money(period: str, dollars: str) -> None:
    caps: dict[str, Any] = {"usd_per_day": Decimal(dollars)} if period != "monthly" else {}
    caps |= {"usd_per_month": Decimal(dollars)} if period != "daily" else {}
    inner, bank = Inner(), Bank("2.499")
    app = stack(inner, KeyLimits(**caps), spending=bank)
    assert (await post(app)).status == 200
    bank.spent_by["ann"] = Decimal("2.506")
    app = stack(inner, KeyLimits(**caps), spending=bank)
    answer = await post(app)
    message = error(answer, 429, "billing_error")
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    reset = midnight + timedelta(days=1) if period == "daily" else next_month  # of two, that which resets last
    told = "daily" if period == "daily" else "monthly"
    assert message == (
        f"{told} spend limit of the key ann reached: $2.50 of $2.50 spent \u00b7 "
        f"resets {reset:%b} {reset.day}, 00:00 UTC \u00b7 whoever runs this proxy can raise the limit"
    )
    unified = {name: value for name, value in answer.headers.items() if name.startswith("anthropic-ratelimit-unified-")}
    assert unified == {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(reset.timestamp())),
        "anthropic-ratelimit-unified-overage-reset": str(int(reset.timestamp())),
        "anthropic-ratelimit-unified-overage-utilization": "1",
        "anthropic-ratelimit-unified-overage-surpassed-threshold": "1",
        "anthropic-ratelimit-unified-overage-period": told,
        "anthropic-ratelimit-unified-overage-disabled-reason": "org_spend_cap_reached",
    }
    assert answer.headers["x-should-retry"] == "false"
    assert abs(int(answer.headers["retry-after"]) - (reset - now).total_seconds()) < 10
    assert len(inner.scopes) == 1
    assert (await post(app, path="/v1/messages/count_tokens")).status == 200
    assert (await post(app, key="bob")).status == 200
    assert set(bank.asked) <= {midnight, midnight.replace(day=1)}


async def test_what_this_process_spends_counts_at_once() -> None:
    inner, bank = Using(cost="0.4"), Bank()
    app = stack(inner, KeyLimits(usd_per_day=Decimal(1)), spending=bank)
    assert [(await post(app)).status for _ in range(4)] == [200, 200, 200, 429]
    assert len(bank.asked) == 1


@pytest.mark.parametrize(
    ("model", "priced", "words"),
    [
        ("claude-haiku-4-5", {"gpt-4o-mini", "planner"}, None),
        ("claude-haiku-4-5", {"gpt-4o", "planner"}, "the model gpt-4o-mini has no price"),
        ("claude-sonnet-4-6", {"gpt-4o", "planner"}, "the model spare has no price"),
        ("local:qwen3", {"gpt-4o", "planner"}, "the model local:qwen3 has no price"),
        ("claude-haiku-4-5", {"gpt-4o-mini"}, "the model boost-planner:planner has no price"),
        ("ruled", {"ruled", "planner"}, "the model local:dear has no price"),
    ],
)
async def test_model_without_a_price_is_refused_under_a_cap(model: str, priced: set[str], words: str | None) -> None:
    inner = Inner()
    app = stack(
        inner,
        KeyLimits(usd_per_month=Decimal(1)),
        spending=Bank(),
        has_price=lambda upstream, model: model in priced,
        upstreams=["local"],
        routes=[Route("local:dear", model="ruled")],
        helpers=[("boost-planner", "planner")],
    )
    answer = await post(app, {**BODY, "model": model})
    if words is None:
        assert answer.status == 200
    else:
        assert words in error(answer, 403, "permission_error")
    assert len(inner.scopes) == (words is None)
    assert (await post(app, {**BODY, "model": model}, key="bob")).status == 200


async def test_path_whose_costs_are_not_counted_is_refused_under_a_cap() -> None:
    capped = stack(Inner(), KeyLimits(usd_per_day=Decimal(1)), spending=Bank())
    answer = await post(capped, path="/v1/chat/completions")
    assert answer.status == 403
    assert "it may ask by /v1/messages" in answer.json()["error"]["message"]
    assert (await post(stack(Inner(), KeyLimits(requests_per_minute=9)), path="/v1/chat/completions")).status == 200


async def test_cap_that_nobody_counts_is_refused() -> None:
    answer = await post(stack(Inner(), KeyLimits(usd_per_day=Decimal(1))))
    assert "nothing here counts what it spends" in error(answer, 403, "permission_error")


async def test_spending_that_can_not_be_read_is_told_once_and_what_is_known_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = [0.0]
    bank = Bank("0.5")
    accounts = Accounts(bank, clock=lambda: clock[0])
    now = datetime.now(UTC)
    cap = Cap(Decimal(1), "daily", now - timedelta(hours=1), now + timedelta(hours=1))
    assert await accounts.spent("ann", cap) == Decimal("0.5")
    bank.error = ConnectionError("secret words")
    accounts.add("ann", now.timestamp(), Decimal("0.25"))
    with caplog.at_level(logging.WARNING, "ccproxy.budgets"):
        for _ in range(3):
            clock[0] += 6
            assert await accounts.spent("ann", cap) == Decimal("0.75")
    assert [r.getMessage() for r in caplog.records] == [
        "what the keys have spent can't be read (ConnectionError): this process counts on from what it knows"
    ]
    assert len(bank.asked) == 4
    assert await accounts.spent("ann", cap) == Decimal("0.75")
    assert len(bank.asked) == 4  # not asked again at once
    bank.error, bank.spent_by["ann"] = None, Decimal("0.8")
    clock[0] += 6
    assert await accounts.spent("ann", cap) == Decimal("0.8")
    accounts.add("ann", (now - timedelta(hours=2)).timestamp(), Decimal(5))  # it began in the period before
    assert await accounts.spent("ann", cap) == Decimal("0.8")


async def test_many_requests_at_once_ask_once() -> None:
    bank = Bank("0.5")
    app = stack(Using(), KeyLimits(usd_per_day=Decimal(1)), spending=bank)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(post, app)
    assert len(bank.asked) == 1


async def test_refusal_is_in_openais_form_on_openais_path() -> None:
    app = stack(Inner(), KeyLimits(models=("other",)))
    answer = await post(app, path="/v1/chat/completions")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, 403)
