"""Limits of money at a proxy on real sockets, with a ledger in SQLite and prices of a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from ccproxy import Settings
from ccproxy.settings import ConfigurationError
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.proxied import proxied

MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}  # costs $0.50
PRICES = """\
[[price]]
provider = "generic"
model = "gpt-4o-mini"
input = 3000
output = 10000
"""
KEYS = """\
[[key]]
name = "ann"
key = "key-of-ann"
usd_per_day = 1
usd_per_month = 30
[[key]]
name = "bob"
key = "key-of-bob"
"""


@contextmanager
def capped(folder: Path, provider: ScriptedProvider, **more: Any) -> Iterator[str]:
    """A proxy whose key of ann may spend two such answers a day."""
    (folder / "keys.toml").write_text(KEYS)
    (folder / "prices.toml").write_text(PRICES)
    settings = {
        "keys_file": str(folder / "keys.toml"),
        "prices_file": str(folder / "prices.toml"),
        "ledger": f"sqlite:///{folder}/ledger.db",
        **more,
    }
    with proxied(provider, **settings) as url:
        yield url


def post(url: str, key: str = "ann", **more: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/messages", json={**MESSAGE, **more}, headers={"x-api-key": f"key-of-{key}"}, timeout=30
    )


def test_what_was_spent_survives_a_restart(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hello.", usage=USAGE))
    with capped(tmp_path, provider) as url:
        assert post(url).headers["x-cc-boost-cost"] == "0.5"
    with capped(tmp_path, provider) as url:
        assert [post(url, stream=True).status_code, post(url).status_code] == [200, 429]
        assert post(url, "bob").status_code == 200
    with capped(tmp_path, provider) as url:
        client = anthropic.Anthropic(api_key="key-of-ann", base_url=url)  # with the SDK's own retries
        words = r"daily spend limit of the key ann reached: \$1.00 of \$1.00 spent"
        with client, pytest.raises(anthropic.RateLimitError, match=words):
            client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        assert post(url).json()["error"]["type"] == "billing_error"
    assert len(provider.completions) == 3


def test_two_proxies_share_a_budget(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hello.", usage=USAGE))
    with capped(tmp_path, provider) as first, capped(tmp_path, provider) as second:
        assert [post(url).status_code for url in (first, second)] == [200, 200]
        assert post(second).status_code in (200, 429)  # the other's row comes within a second or so
    with capped(tmp_path, provider) as third:
        assert post(third).status_code == 429


def test_model_without_a_price_is_refused(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    with capped(tmp_path, provider) as url:
        answer = post(url, model="claude-opus-4-8")
        assert answer.status_code == 403
        assert "the model gpt-4o has no price" in answer.json()["error"]["message"]
        assert post(url, "bob", model="claude-opus-4-8").status_code == 200
    assert len(provider.completions) == 1


def test_limit_of_money_without_a_ledger_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(KEYS)
    with pytest.raises(ConfigurationError, match=r"entry 1 \(ann\), usd_per_day: it needs LEDGER"):
        Settings.explicit(openai_api_key="k", keys_file=str(file))
