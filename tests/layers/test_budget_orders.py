"""The budgets at every place among the other layers: a key's limits hold, and what is allowed is answered alike."""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import combinations, permutations
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import (
    AuthMiddleware,
    BudgetMiddleware,
    ClientKey,
    FormatConversionMiddleware,
    KeyLimits,
    ModelMappingMiddleware,
    RoutingMiddleware,
)
from ccproxy_middleware.toolkit.record import observe
from layers.test_budgets import Bank
from layers.test_orders import KEY, PLAIN, Provider
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

CANONICAL = ("auth", "models", "budgets", "routing", "conversion")
ORDERS = list(permutations(CANONICAL))
SUBSETS = [subset for size in range(6) for subset in combinations(CANONICAL, size)]
KEYS = [ClientKey.of_text("ann", KEY)]
ALLOWED = KeyLimits(tiers=("big",), requests_per_minute=1, tokens_per_minute=10_000, usd_per_day=Decimal(2))
REFUSING = {
    403: KeyLimits(tiers=("small",)),
    429: KeyLimits(usd_per_day=Decimal(1)),
}


def layers(limits: KeyLimits) -> Mapping[str, Callable[[ASGIApp], ASGIApp]]:
    return {
        "auth": lambda app: AuthMiddleware(app, named_keys=lambda: KEYS),
        "models": lambda app: ModelMappingMiddleware(app, big="B", small="S"),
        "budgets": lambda app: BudgetMiddleware(app, limits={"ann": limits}.get, spending=Bank("1")),
        "routing": RoutingMiddleware,
        "conversion": FormatConversionMiddleware,
    }


async def ask(
    names: Iterable[str], limits: KeyLimits, *, stream: bool = False, count: int = 1
) -> tuple[list[Answer], Provider]:
    provider = Provider()
    app: ASGIApp = provider
    for name in reversed(tuple(names)):
        app = layers(limits)[name](app)
    headers = {"x-api-key": KEY} if "auth" in names else {}
    answers = []
    for _ in range(count):
        scope = http_scope("POST", "/v1/messages", headers)
        answers.append(await call(observed(app), scope, {**PLAIN, "stream": stream}))
    return answers, provider


def observed(app: ASGIApp) -> ASGIApp:
    """With a record, which tells what path the client has asked."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        await observe(app, scope, receive, send, lambda record: None)

    return outermost


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_every_order_keeps_to_the_limits(order: tuple[str, ...], stream: bool) -> None:
    (answer, refused), provider = await ask(order, ALLOWED, stream=stream, count=2)
    assert answer.status == 200
    if stream:
        check_stream(answer.body)
    else:
        assert json.loads(answer.body)["model"] == PLAIN["model"]
    assert [request["body"]["model"] for request in provider.requests] == ["B"]
    assert error(refused, 429) == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 61


@pytest.mark.parametrize("status", REFUSING)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_every_order_refuses_in_the_same_form(order: tuple[str, ...], status: int) -> None:
    [answer], provider = await ask(order, REFUSING[status])
    assert error(answer, status) == ("permission_error" if status == 403 else "billing_error")
    assert answer.headers["x-should-retry"] == "false"
    if status == 429:
        unified = [name for name in answer.headers if name.startswith("anthropic-ratelimit-unified-")]
        assert len(unified) == 7
    assert provider.requests == []


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda names: "-".join(names) or "none")
async def test_every_subset_answers(subset: tuple[str, ...]) -> None:
    [answer], provider = await ask(subset, REFUSING[403])
    held = {"auth", "budgets"} <= set(subset)
    assert answer.status == (403 if held else 200)
    assert len(provider.requests) == (0 if held else 1)


def error(answer: Answer, status: int) -> str:
    assert answer.status == status
    document: dict[str, Any] = json.loads(answer.body)
    assert document["type"] == "error"
    return str(document["error"]["type"])
