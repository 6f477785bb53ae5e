"""The cost of an exchange is the same in every order of the layers, and a ledger at any place spoils none."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy_middleware import (
    BoostMiddleware,
    FormatConversionMiddleware,
    LedgerMiddleware,
    MeterMiddleware,
)
from ccproxy_middleware.ledger import Row
from ccproxy_middleware.toolkit.record import ProviderCall
from layers.test_orders import ASKED, CANONICAL, KEY, LAYERS, ORDERS, SUBSETS, TOOLS, Provider, planner
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

REQUEST = {**TOOLS, **ASKED}  # boosted, and judged
PRICES = {"B": Decimal(1), "P": Decimal(100), "claude-judge": Decimal(10_000), "claude-opus-4-8": Decimal(1)}


async def ask(names: Sequence[str], *, stream: bool, key: str = KEY) -> tuple[Answer, list[Row], Counter[str | None]]:
    """The answer, the rows, and the models that were called."""
    rows: list[Row] = []
    called: list[str | None] = []

    def price(made: ProviderCall) -> Decimal:
        called.append(made.model)
        return PRICES[made.model or ""]

    app: ASGIApp = MeterMiddleware(Counting(), upstream="near")
    for name in reversed(names):
        if name == "boost":
            asked = MeterMiddleware(counting_planner, upstream="planner")
            app = BoostMiddleware(app, planner=asked, model="P", tiers=["BIG_MODEL"])
        elif name == "conversion":
            app = FormatConversionMiddleware(app)
        elif name == "ledger":
            app = LedgerMiddleware(app, write=rows.append, price=price)
        else:
            app = LAYERS[name](app)
    scope = http_scope("POST", "/v1/messages", {"x-api-key": key} if "auth" in names else {})
    answer = await call(app, scope, {**REQUEST, "stream": stream})
    return answer, rows, Counter(called)


class Counting(Provider):
    """Its judge tells what it has used."""

    async def judge(self, scope: Any, send: Any) -> None:
        async def counted(message: Any) -> None:
            body = message.get("body")
            if body and b'"usage"' not in body:
                usage = b',"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
                message = {**message, "body": body.removesuffix(b"}") + usage}
            await send(message)

        await super().judge(scope, counted)


async def counting_planner(scope: Any, receive: Any, send: Any) -> None:
    async def counted(message: Any) -> None:
        if message.get("body"):
            usage = b'data: {"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":5,"total_tokens":55}}\n\n'
            message = {**message, "body": message["body"].replace(b"data: [DONE]", usage + b"data: [DONE]")}
        await send(message)

    await planner(scope, receive, counted)


@pytest.mark.parametrize("stream", [False, True])
async def test_every_order_costs_the_same(stream: bool) -> None:
    answer, (expected,), models = await ask(("ledger", *CANONICAL), stream=stream)
    assert answer.status == 200
    assert models == {"P": 1, "B": 1, "claude-judge": 1}
    assert (expected.cost, expected.provider_calls) == (Decimal(10_101), 3)
    different = {}
    for order in ORDERS:
        _, (row,), called = await ask(("ledger", *order), stream=stream)
        if (row.cost, row.input, row.output, called) != (expected.cost, expected.input, expected.output, models):
            different[order] = (row, called)
    assert not different, f"{len(different)} orders, such as {next(iter(different.items()))}; not {expected}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("place", range(7))
async def test_ledger_at_any_place_leaves_the_answer_as_it_is(place: int, stream: bool) -> None:
    names = [*CANONICAL[:place], "ledger", *CANONICAL[place:]]
    answer, rows, _ = await ask(names, stream=stream)
    assert answer.status == 200
    assert bool(rows) == (place != 6)  # what is converted is no request of Messages
    if stream:
        check_stream(answer.body)
    else:
        assert ("x-cc-boost-cost" in answer.headers) == (place < 6)
    if place < 4:
        assert [row.cost for row in rows] == [10_101]


@pytest.mark.parametrize("stream", [False, True])
async def test_every_subset_has_a_row(stream: bool) -> None:
    for subset in SUBSETS:
        answer, rows, _ = await ask(("ledger", *subset), stream=stream)
        assert answer.status == 200, subset
        assert [(row.status, row.outcome) for row in rows] == [(200, "complete")], subset
        assert (
            rows[0].cost == sum(price for name, price in (("boost", 100), ("safeguards", 10_000)) if name in subset) + 1
        ), subset


async def test_refused_request_is_a_row_in_every_order_that_has_the_ledger_outside() -> None:
    for order in ORDERS[::7]:
        answer, rows, _ = await ask(("ledger", *order), stream=False, key="wrong")
        assert answer.status == 401
        assert [(row.status, row.cost) for row in rows] == [(401, None)], order
