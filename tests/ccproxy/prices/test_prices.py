"""What calls cost: by the package's prices, and by those of one's own."""

import random
import socket
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage

from ccproxy.prices import Endpoint, Prices, parse_prices
from ccproxy.prices.package import IDS, may_have, package_rates, snapshot
from ccproxy.prices.rates import Rates, Tiers
from ccproxy_middleware.conversion.providers.profiles import PROFILES
from ccproxy_middleware.toolkit.record import ProviderCall
from support.paths import ROOT

OPENAI = Endpoint("https://api.openai.com/v1", "openai")
ANTHROPIC = Endpoint("https://api.anthropic.com", "generic")
GEMINI = Endpoint("https://generativelanguage.googleapis.com/v1beta/openai", "gemini")
LOCAL = Endpoint("http://localhost:8000/v1", "generic")
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def usage(plain: int, cached: int = 0, written: int = 0, output: int = 0, thinking: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": plain,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": thinking},
    }


def cost(place: Endpoint, model: str, used: dict[str, Any], **more: Any) -> Decimal | None:
    return Prices({"near": place}, now=lambda: NOON)(ProviderCall("near", place.provider, model, used, **more))


# Three invoices, worked out by hand from the vendors' price lists.

INVOICES = {
    # gpt-4o, per million: input $2.50, cached $1.25, output $10.
    #   600 x 2.50 + 400 x 1.25 + 100 x 10 = 1500 + 500 + 1000 = 3000 millionths
    "openai": (OPENAI, "gpt-4o", usage(600, cached=400, output=100), "0.003"),
    # claude-sonnet-4-5, per million: input $3, read $0.30, written for five minutes $3.75, for an hour $6, output $15.
    #   2,000 x 3 + 50,000 x 0.30 + 4,000 x 3.75 + 1,000 x 6 + 800 x 15 = 6000 + 15000 + 15000 + 6000 + 12000 = 54000,
    #   and two searches at $10 a thousand: 20000
    "anthropic": (
        ANTHROPIC,
        "claude-sonnet-4-5-20250929",
        {
            **usage(2000, cached=50_000, written=5000, output=800),
            "cache_creation": {"ephemeral_5m_input_tokens": 4000, "ephemeral_1h_input_tokens": 1000},
            "server_tool_use": {"web_search_requests": 2},
        },
        "0.074",
    ),
    # gemini-2.5-pro with a prompt of more than 200,000 tokens, per million: input $2.50, cached $0.25, output $15,
    # reasoning included.
    #   150,000 x 2.50 + 100,000 x 0.25 + 2,000 x 15 = 375000 + 25000 + 30000 = 430000 millionths
    "gemini": (GEMINI, "gemini-2.5-pro", usage(150_000, cached=100_000, output=2000, thinking=1500), "0.43"),
}


@pytest.mark.parametrize("invoice", INVOICES)
def test_invoice_is_what_was_worked_out_by_hand(invoice: str) -> None:
    place, model, used, expected = INVOICES[invoice]
    assert cost(place, model, used) == Decimal(expected)


def test_other_service_tier_has_other_prices() -> None:
    used = usage(1_000_000, output=1_000_000)
    plain = cost(OPENAI, "gpt-5", used)
    assert plain == Decimal("11.25")
    assert cost(OPENAI, "gpt-5", used, service_tier="flex") == plain / 2
    assert cost(OPENAI, "gpt-5", used, service_tier="default") == plain


def test_model_is_known_by_the_name_in_the_answer_where_the_one_that_was_asked_for_is_not() -> None:
    azure = Endpoint("https://corp.openai.azure.com/openai/v1", "azure")
    assert cost(azure, "our-deployment", usage(1000)) is None
    assert cost(azure, "our-deployment", usage(1_000_000), answered_model="gpt-4o-2024-08-06") == Decimal("2.5")


def test_host_of_the_base_url_goes_before_the_profile() -> None:
    mine = Endpoint("https://gateway.example.com/v1", "openai")
    assert cost(mine, "gpt-4o", usage(1_000_000)) == Decimal("2.5")
    groq = Endpoint("https://api.groq.com/openai/v1", "openai")
    assert cost(groq, "llama-3.3-70b-versatile", usage(1_000_000)) == Decimal("0.59")


@pytest.mark.parametrize(
    ("place", "model"),
    [
        (OPENAI, "gpt-of-next-year-that-nobody-knows"),
        (LOCAL, "gpt-4o"),
        (Endpoint("https://llm.example.com/v1", "generic"), "gpt-4o"),
        (Endpoint("http://127.0.0.1:11434/v1", "ollama"), "qwen3:8b"),
        (Endpoint("http://vllm:8000/v1", "vllm"), "gpt-4o"),
    ],
)
def test_unknown_price_is_none_and_not_zero(place: Endpoint, model: str) -> None:
    assert cost(place, model, usage(1000, output=1000)) is None


def test_call_without_usage_or_of_an_unknown_upstream_has_no_cost() -> None:
    prices = Prices({"near": OPENAI})
    assert prices(ProviderCall("near", "openai", "gpt-4o", {})) is None
    assert prices(ProviderCall("far", "openai", "gpt-4o", usage(1))) is None
    assert prices(ProviderCall(None, None, None, usage(1))) is None


FILE = parse_prices(
    """
[[price]]
provider = "generic"
model = "Local-1"
input = 1
output = 2.5

[[price]]
provider = "near"
model = "gpt-4o"
input = 0.1
cached = 0.01
cache_write = 0.2
output = 0.4
""",
    "prices.toml",
)


def test_own_prices_go_before_the_package_and_are_the_only_ones_of_a_local_server() -> None:
    prices = Prices({"near": OPENAI, "local": LOCAL}, FILE)
    used = usage(1_000_000, cached=1_000_000, written=1_000_000, output=1_000_000)
    assert prices(ProviderCall("near", "openai", "gpt-4o", used)) == Decimal("0.71")
    assert prices(ProviderCall("local", "generic", "local-1", used)) == Decimal("5.5")  # cached is as input
    assert prices(ProviderCall("local", "generic", "gpt-4o", used)) is None


def test_price_depends_on_the_length_of_the_prompt() -> None:
    rates = Rates(input=Tiers(Decimal(1), ((100, Decimal(2)), (1000, Decimal(4)))), output=Decimal(0))
    assert [rates.cost(usage(n, cached=50)) * 1_000_000 for n in (50, 51, 950, 951)] == [100, 202, 2000, 4004]


def test_counts_that_are_none_cost_nothing() -> None:
    rates = Rates(input=Decimal(1), output=Decimal(1))
    for odd in (None, "12", -5, True, 1.5, 2**60):
        assert rates.cost({"input_tokens": odd, "output_tokens": odd, "cache_creation": odd}) == 0


def test_every_model_of_the_package_costs_what_the_package_says() -> None:
    """The package takes 0.3 ms to work out one cost, so we do it ourselves; it must be the same sum."""
    chance = random.Random(7)  # noqa: S311
    checked = 0
    for provider in snapshot().providers:
        for model in provider.models:
            plain, cached, written, output = (chance.randrange(1, 300_000) for _ in range(4))
            thinking = chance.randrange(output)
            prices = model.get_prices(NOON)
            known = {name for name, value in vars(prices).items() if value is not None}
            if not {"input_mtok", "output_mtok"} <= known:
                continue
            told = Usage(
                input_tokens=plain + cached + written,
                cache_read_tokens=cached,
                cache_write_tokens=written,
                output_tokens=output,
                output_reasoning_tokens=thinking,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    expected = prices.calc_price(told)["total_price"]
                except ValueError:  # it wants to know of sounds and images, too
                    continue
            from ccproxy.prices.package import _read

            rates = _read(prices)
            assert rates is not None
            assert rates.cost(usage(plain, cached, written, output, thinking)) == expected, (provider.id, model.id)
            checked += 1
    assert checked > 1000


def test_our_names_of_providers_are_the_packages() -> None:
    known = {provider.id for provider in snapshot().providers}
    assert set(IDS.values()) <= known
    assert set(IDS) - {"anthropic"} <= set(PROFILES)
    assert not any(may_have(f"http://localhost/{name}", name) for name in PROFILES if name not in IDS)


def test_known_models_are_bounded() -> None:
    prices = Prices({"near": OPENAI})
    for number in range(5000):
        prices(ProviderCall("near", "openai", f"made-up-{number}", usage(1)))
    assert len(prices._known) <= 4096


def test_price_is_looked_up_once_in_a_while() -> None:
    prices = Prices({"near": OPENAI})
    first = prices.rates(ProviderCall("near", "openai", "gpt-4o", usage(1)))
    assert first is not None
    assert prices.rates(ProviderCall("near", "openai", "gpt-4o", usage(1))) is first


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("somebody asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert package_rates(OPENAI.base_url, "openai", "gpt-4o-mini", {}, NOON) is not None


def test_package_is_loaded_only_where_a_provider_may_be_in_it() -> None:
    look = (
        "import sys, threading\n"
        "from ccproxy.prices import Endpoint, Prices\n"
        "for url, provider in (('http://localhost:1/v1', 'vllm'), ('https://api.openai.com/v1', 'openai')):\n"
        "    Prices({'near': Endpoint(url, provider)}).load()\n"
        "    [thread.join() for thread in threading.enumerate() if thread.name == 'prices']\n"
        "    print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
