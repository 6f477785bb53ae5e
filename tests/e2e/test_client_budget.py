"""A key's limits, and what Claude Code shows of them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from starlette.middleware import Middleware

from ccproxy import Settings, create_app
from ccproxy_middleware import (
    AuthMiddleware,
    BudgetMiddleware,
    ClientKey,
    FormatConversionMiddleware,
    KeyLimits,
    ModelMappingMiddleware,
)
from ccproxy_middleware.routing import LocalLimits, Rates
from support.clients.claude_code import ClaudeCode
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.servers import serve

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]


class Bank:
    async def spent(self, key: str, since: datetime) -> Decimal:
        return Decimal("12.5")


@contextmanager
def limited(provider: ScriptedProvider, limits: KeyLimits) -> Iterator[str]:
    """A proxy that gives the client's key these limits, with minutes of 15 seconds; it has spent $12.50."""

    def counted_by(name: str, rates: Rates) -> LocalLimits:
        return LocalLimits(name, Rates(rates.rpm, rates.tpm, window=15))

    with serve(provider, lifespan="off") as upstream:
        settings = Settings.explicit(openai_api_key="k", openai_base_url=f"{upstream.url}/v1")
        keys = [ClientKey.of_text("ann", "client-key")]
        layers = [
            Middleware(AuthMiddleware, named_keys=lambda: keys),
            Middleware(ModelMappingMiddleware, big="gpt-4o", small="gpt-4o-mini"),
            Middleware(BudgetMiddleware, limits={"ann": limits}.get, spending=Bank(), counted_by=counted_by),
            Middleware(FormatConversionMiddleware),
        ]
        with serve(create_app(settings, layers=layers)) as server:
            yield server.url


@pytest.mark.seen("budgets", "a spent limit: asked once, shown with the limit, what was spent, and when it resets")
def test_spent_limit_is_shown_and_not_asked_again(start: Callable[..., ClaudeCode]) -> None:
    provider = ScriptedProvider()
    with limited(provider, KeyLimits(usd_per_month=Decimal("12.5"))) as url:
        run = start(url).run("Say hello.")
    assert run.result["is_error"]
    now = datetime.now(UTC)
    month = f"{datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC):%b} 1"
    shown = (
        f"monthly spend limit of the key ann reached: $12.50 of $12.50 spent \u00b7 resets {month}, 00:00 UTC "
        "\u00b7 whoever runs this proxy can raise the limit"
    )
    assert run.result["result"] == f"API Error: Request rejected (429) \u00b7 {shown}"
    assert run.result["api_error_type"] == "billing_error"
    assert provider.completions == []


@pytest.mark.seen("budgets", "a tier or model that the key may not use: asked once, shown in the proxy's words")
def test_model_that_is_not_allowed_is_told(start: Callable[..., ClaudeCode]) -> None:
    provider = ScriptedProvider()
    with limited(provider, KeyLimits(tiers=("small",))) as url:
        run = start(url).run("Say hello.")
    words = "the key ann may use the tier small; gpt-4o is of the tier big"
    assert run.result["result"] == f"API Error: 424 {words}"
    assert run.result["api_error_type"] == "permission_error"
    assert provider.completions == []


@pytest.mark.seen("budgets", "too many requests in a minute: it waits as long as it is told, and goes on")
def test_too_many_requests_are_waited_for(start: Callable[..., ClaudeCode], caplog: pytest.LogCaptureFixture) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    provider = ScriptedProvider(lambda body: Reply("Hello."))
    with limited(provider, KeyLimits(requests_per_minute=1)) as url, caplog.at_level(logging.INFO, "ccproxy.exchange"):
        client = start(url)
        assert httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": "client-key"}).status_code == 200
        run = client.run("Say hello.")
    assert (run.code, run.result["result"]) == (0, "Hello."), run.errors
    assert 429 in [getattr(record, "status", None) for record in caplog.records]
