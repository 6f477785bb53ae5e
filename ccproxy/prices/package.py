"""The prices in the package genai-prices. Only the installed data is used; nothing is downloaded.

Importing the package takes half a second. So it is imported in a thread, and only if it may contain a provider in use.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from ccproxy_middleware.toolkit.local_requests import is_loopback_name

from .rates import Rate, Rates, Tiers

IDS = {
    **{name: name for name in ("anthropic", "azure", "baseten", "cerebras", "cloudflare", "databricks", "deepseek")},
    **{name: name for name in ("fireworks", "groq", "minimax", "mistral", "openai", "openrouter", "perplexity")},
    "gemini": "google",
    "moonshot": "moonshotai",
    "together": "together",
    "xai": "x-ai",
    "z.ai": "zai",
}
"""The package's provider names, by the names of our profiles. Other profiles are missing there, or local."""

_FIELDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_hour",
    "output_reasoning_mtok": "reasoning",
    "web_searches_kcount": "web_search",
    "requests_kcount": "request",
}
_UNUSED = frozenset(("storage_searches_kcount", "social_searches_kcount", "code_executions_kcount"))


class _Snapshot(Protocol):
    providers: list[Any]

    def find_provider_model(self, model_ref: str, provider: Any, provider_id: Any, url: Any, /) -> tuple[Any, Any]: ...


@cache
def snapshot() -> _Snapshot:
    """The package's data. The first call is slow; it may be made in any thread."""
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def may_have(base_url: str, provider: str) -> bool:
    """Whether the package may have prices for an endpoint, found without loading the package."""
    if provider in IDS:
        return True
    host = urlsplit(base_url).hostname
    return host is not None and "." in host and not is_loopback_name(host)


def package_rates(base_url: str, provider: str, model: str, context: dict[str, str], now: datetime) -> Rates | None:
    """A model's prices today: those of the provider at this base URL, else of the one with our profile's name.

    ``context``: other properties of an answer that affect the price, such as its ``service_tier``. None: unknown.
    """
    places: list[tuple[str | None, str | None]] = [(None, base_url)]
    if provider in IDS:
        places.append((IDS[provider], None))
    for id_, url in places:
        try:
            found, info = snapshot().find_provider_model(model, None, id_, url)
        except LookupError:
            continue
        own = any(info is known for known in found.models)  # else another provider's, without variants here
        prices = info.get_prices(now.astimezone(UTC), context) if own else info.get_prices(now.astimezone(UTC))
        return _read(prices)
    return None


def _read(prices: Any) -> Rates | None:
    """The prices used for the calculation; None if the model is billed by something else."""
    known: dict[str, Rate] = {}
    for key, value in vars(prices).items():
        if value is None or key in _UNUSED or key.startswith("_"):
            continue
        if key in _FIELDS:
            known[_FIELDS[key]] = _rate(value)
    return Rates(**known) if {"input", "output"} <= known.keys() else None


def _rate(value: Any) -> Rate:
    if isinstance(value, Decimal):
        return value
    return Tiers(value.base, tuple((tier.start, tier.price) for tier in value.tiers))
