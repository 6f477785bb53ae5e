"""What doctor says of web searches."""

import asyncio
from typing import Any

import pytest

from ccproxy import Settings
from ccproxy.doctor.examination import Examination, Result
from ccproxy.doctor.helpers import search
from ccproxy.doctor.probe import open_probe
from support.providers.search_services import SearchServices
from support.serving.servers import serve


def examined(url: str, **values: Any) -> Result:
    settings = Settings.explicit(openai_api_key="k", openai_base_url=url, **values)

    async def run() -> Result:
        async with open_probe(settings) as probe:
            return await search(Examination(settings, probe))

    return asyncio.run(run())


def test_lack_is_named() -> None:
    result = examined("http://127.0.0.1:9/v1")
    assert result.outcome == "skipped"
    assert "WEB_SEARCH" in result.detail


@pytest.mark.parametrize(
    ("script", "outcome", "words"),
    [
        ({}, "ok", "searxng: 2 results in"),
        ({"pages": []}, "warning", "finds nothing"),
        ({"formats": ["html"]}, "problem", "search.formats"),
        ({"status": 500}, "problem", "500"),
    ],
)
def test_service_is_asked(script: dict[str, Any], outcome: str, words: str) -> None:
    with serve(SearchServices(**script), lifespan="off") as searxng:
        result = examined("http://127.0.0.1:9/v1", web_search="searxng", web_search_url=searxng.url)
    assert result.outcome == outcome
    assert words in result.detail
