"""WEB_SEARCH, WEB_SEARCH_URL and WEB_SEARCH_KEY: what they may be, and what is told where they are not."""

import importlib.util
from typing import Any

import pytest

from ccproxy import Settings
from ccproxy.layers import conversion_options, layers_in_use
from ccproxy.settings import ConfigurationError, startup_warnings


def settings(**values: Any) -> Settings:
    return Settings.explicit(openai_api_key="k", **values)


def problems(**values: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(**values)
    return str(caught.value)


def test_unset_means_no_layer() -> None:
    assert "web_search" not in layers_in_use(settings())
    assert "web_search" not in conversion_options(settings())


def test_each_name() -> None:
    for name in ("brave", "tavily", "exa", "serper"):
        found = settings(web_search=name.upper(), web_search_key="secret")
        assert found.web_search == name
        assert "secret" not in repr(found)
        assert layers_in_use(found)[-3:] == ["web_search", "prompted_tools", "format_conversion"]
        assert problems(web_search=name).startswith(f"WEB_SEARCH_KEY: not set; WEB_SEARCH={name} needs it")
    assert settings(web_search="searxng", web_search_url="http://h:1/x/").web_search_url == "http://h:1/x"
    assert settings(web_search="searxng", web_search_url="http://h:1/search").web_search_url == "http://h:1"
    assert "WEB_SEARCH_URL: not set; WEB_SEARCH=searxng needs the URL" in problems(web_search="searxng")


def test_provider_turns_the_switch_on() -> None:
    found = settings(web_search="provider")
    assert conversion_options(found)["web_search"] == "hosted"
    assert "web_search" not in layers_in_use(found)
    other = settings(web_search="provider", provider_options={"web_search": "off"})
    assert conversion_options(other)["web_search"] == "off"


def test_what_can_not_be_used_is_named() -> None:
    assert "accepted: one of searxng, brave, tavily, exa, serper, ddgs, provider" in problems(web_search="google")
    assert problems(web_search="searxng", web_search_url="ftp://x").startswith("WEB_SEARCH_URL: ")
    told = problems(web_search="brave", web_search_key="sécret")
    assert told.startswith("WEB_SEARCH_KEY: ")
    assert "cret" not in told


@pytest.mark.skipif(importlib.util.find_spec("ddgs") is not None, reason="ddgs is installed")
def test_ddgs_that_is_not_installed_says_how() -> None:
    assert "pip install 'cc-boost[search]'" in problems(web_search="ddgs")


def test_layer_that_is_left_out_is_told() -> None:
    found = settings(web_search="searxng", web_search_url="http://h", ccproxy_layers="format_conversion")
    assert "WEB_SEARCH is set, but CCPROXY_LAYERS has no web_search: searches are refused." in startup_warnings(found)
