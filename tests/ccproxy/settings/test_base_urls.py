"""Base URLs with too much at their end: the provider's in the settings, and the proxy's in a client."""

import logging
from typing import Any

import httpx
import pytest

from ccproxy import Settings, create_app
from ccproxy.forwarding.upstream import Upstream
from ccproxy.settings.base_urls import without_endpoint, without_repeated_version
from ccproxy.settings.startup import startup_warnings
from support.providers.openai_answers import Reply
from support.providers.scripted import ScriptedProvider
from support.serving.proxied import proxied, proxy
from support.serving.servers import serve

MESSAGE = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("given", "fitting"),
    [
        ("https://x.test/v1/chat/completions", "https://x.test/v1"),
        ("https://x.test/v1/chat/completions/", "https://x.test/v1"),
        ("http://x.test:8000/v1/responses", "http://x.test:8000/v1"),
        ("https://x.test/v1/messages", "https://x.test/v1"),
        ("https://x.test/v1/models", "https://x.test/v1"),
        ("https://x.test/v1/completions", "https://x.test/v1"),
        ("https://x.test/api/paas/v4/chat/completions", "https://x.test/api/paas/v4"),
        ("https://x.test/chat/completions", "https://x.test"),
        ("https://x.test/v1/chat/completions/chat/completions", "https://x.test/v1"),
        ("https://x.test/v1/Chat/Completions", "https://x.test/v1"),
        ("https://n.services.ai.azure.com/models/chat/completions", "https://n.services.ai.azure.com/models"),
        (
            "https://n.openai.azure.com/openai/deployments/d/chat/completions",
            "https://n.openai.azure.com/openai/deployments/d",
        ),
        ("http://[::1]:8000/v1/models//", "http://[::1]:8000/v1"),
    ],
)
def test_endpoint_at_the_end_of_a_base_url_is_left_off(given: str, fitting: str) -> None:
    assert without_endpoint(given) == fitting
    assert Upstream(given, "k", None).base_url == fitting


@pytest.mark.parametrize(
    "url",
    [
        "https://x.test/v1",
        "https://x.test",
        "https://x.test/my-models",
        "https://x.test/models/v1",
        "https://x.test/chat",
        "https://x.test/chat/completions/v1",
        "https://models.github.ai/inference",
        "https://n.services.ai.azure.com/models",
        "https://models",
        "https://messages/v1",
    ],
)
def test_base_url_stays_when_it_only_looks_alike(url: str) -> None:
    assert without_endpoint(url) == url
    assert Upstream(url, "k", None).base_url == url


@pytest.mark.parametrize(
    ("path", "fitting"),
    [
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1//v1/messages", "/v1/messages"),
        ("/v1/v1/v1/messages", "/v1/messages"),
        ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/v1/models", "/v1/models"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/messages/v1/messages", "/v1/messages"),
        *((path, path) for path in ("/v1/messages", "/v1/models/v1/x", "/v1/v1", "/v1/v10/messages", "/", "/v1/v1x/y")),
    ],
)
def test_repeated_version_in_a_path_is_left_off(path: str, fitting: str) -> None:
    assert without_repeated_version(path) == fitting


@pytest.mark.parametrize("end", ["/chat/completions", "/responses", "/messages/", "/models"])
def test_provider_is_reached_when_the_setting_has_an_endpoint_at_its_end(end: str) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hi"))
    with serve(provider, lifespan="off") as server:
        settings = Settings.explicit(openai_api_key="k", openai_base_url=f"{server.url}/v1{end}")
        with serve(create_app(settings)) as own:
            assert httpx.post(f"{own.url}/v1/messages", json=MESSAGE).status_code == 200
    assert [request.path for request in provider.requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "BOOST_BASE_URL"])
def test_warning_names_the_setting_and_the_value_to_write(name: str) -> None:
    values: dict[str, Any] = {"openai_api_key": "k", "host": "127.0.0.1", "boost_api_key": "k"}
    settings = Settings.explicit(**values, **{name.lower(): "https://x.test/v1/chat/completions/"})
    assert startup_warnings(settings) == [
        f"{name} ends in /chat/completions, which is ignored, since the proxy adds it. Set {name}=https://x.test/v1."
    ]


def test_client_is_answered_and_told_once_when_its_base_url_ends_in_v1(caplog: pytest.LogCaptureFixture) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hi"))
    with caplog.at_level(logging.WARNING), proxied(provider) as url:
        for path in ("/v1/v1/messages?beta=true", "/v1//v1/messages", "/v1/v1/messages/count_tokens"):
            assert httpx.post(f"{url}{path}", json=MESSAGE).status_code == 200
        assert httpx.get(f"{url}/v1/v1/models").status_code == 200
        assert httpx.post(f"{url}/v1/v1/nothing", json=MESSAGE).status_code == 404
    told = [record.getMessage() for record in caplog.records if "ANTHROPIC_BASE_URL" in record.getMessage()]
    assert told == ["a client's ANTHROPIC_BASE_URL ends in /v1, which the client adds itself: remove it there"]


def test_key_is_asked_for_at_a_repeated_version_too() -> None:
    with proxy("http://127.0.0.1:9", anthropic_api_key="key") as url:
        assert httpx.post(f"{url}/v1/v1/messages", json=MESSAGE).status_code == 401
