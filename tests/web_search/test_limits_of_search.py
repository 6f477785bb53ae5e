"""What a client may ask of the tool, which results it gets, and what a search may take."""

import asyncio
import time
from typing import Any

import pytest

from ccproxy_middleware import SearchQuery, SearchResult, WebSearchMiddleware
from ccproxy_middleware.web_search import Location, SearchError
from ccproxy_middleware.web_search.domains import is_domain, is_listed
from ccproxy_middleware.web_search.searches import Searches
from support.asgi import call as send
from support.asgi import http_scope
from support.providers.messages_app import MessagesApp, call, text
from web_search.searching import TOOL, Search, ask, message, request

pytestmark = pytest.mark.anyio

PAGES = [SearchResult(url, url) for url in (
    "https://example.com/", "https://docs.example.com/a", "https://example.com/docs/a", "https://example.com/docsy",
    "http://notexample.com/", "https://example.org/blog/2026/x", "ftp://example.com/", "https://", "no url",
    "https://example.com/a b",
)]  # fmt: skip


async def found(**tool: Any) -> list[str]:
    app = MessagesApp([call("web_search", query="q")], [text("Yes.")])
    answer = message(await ask(app, request(tools=[{**TOOL, **tool}]), Search(PAGES)))
    return [item["url"].partition("//")[2] for item in answer["content"][1]["content"]]


@pytest.mark.parametrize(
    ("domains", "urls"),
    [
        (["example.com"], ["example.com/", "docs.example.com/a", "example.com/docs/a", "example.com/docsy"]),
        (["EXAMPLE.com"], ["example.com/", "docs.example.com/a", "example.com/docs/a", "example.com/docsy"]),
        (["docs.example.com"], ["docs.example.com/a"]),
        (["example.com/docs"], ["example.com/docs/a", "example.com/docsy"]),
        (["example.com/docs/"], ["example.com/docs/a"]),
        (["example.org/*/2026"], ["example.org/blog/2026/x"]),
        (["example.com/docs/", "example.org"], ["example.com/docs/a", "example.org/blog/2026/x"]),
        (["elsewhere.example"], []),
    ],
)
async def test_allowed_domains(domains: list[str], urls: list[str]) -> None:
    assert await found(allowed_domains=domains) == urls
    everything = await found()
    assert await found(blocked_domains=domains) == [url for url in everything if url not in urls]


async def test_what_is_no_page_is_left_out() -> None:
    assert [url for url in await found() if not url.startswith("example.")] == ["docs.example.com/a", "notexample.com/"]


def test_domains() -> None:
    for good in (
        "example.com",
        "a.b.example.co.uk",
        "example.com/docs",
        "example.com/*/x",
        "localhost",
        "bücher.example",
    ):
        assert is_domain(good), good
    for bad in (
        "",
        "https://example.com",
        "example",
        "*.example.com",
        "example.com/*/*",
        "a b.com",
        "example.com?x",
        ".com",
    ):
        assert not is_domain(bad), bad
    assert not is_listed("http://[::1", ["example.com"])


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}, "tools.0: Only one of"),
        ({"allowed_domains": ["https://a.example"]}, "tools.0.allowed_domains.0: "),
        ({"blocked_domains": "a.example"}, "tools.0.blocked_domains: Input should be a valid list"),
        ({"blocked_domains": [7]}, "tools.0.blocked_domains.0: "),
        ({"max_uses": 0}, "tools.0.max_uses: Input should be greater than 0"),
        ({"max_uses": "3"}, "tools.0.max_uses: Input should be a valid integer"),
        ({"max_uses": True}, "tools.0.max_uses: Input should be a valid integer"),
        ({"name": "search"}, "tools.0.name: "),
        ({"user_location": "here"}, "tools.0.user_location: "),
        ({"user_location": {"city": "P"}}, "tools.0.user_location.type: "),
        ({"user_location": {"type": "approximate", "city": 7}}, "tools.0.user_location.city: "),
    ],
)
async def test_tool_that_can_not_be_used_is_refused(tool: dict[str, Any], words: str) -> None:
    app = MessagesApp()
    answer = await ask(app, request(tools=[{**TOOL, **tool}]))
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["message"].startswith(words)
    assert app.requests == []


async def test_place_and_domains_are_told_to_the_search_and_to_the_model() -> None:
    app = MessagesApp([call("web_search", query="q")], [text("Yes.")])
    search = Search()
    place = {"type": "approximate", "city": "Plymouth", "country": "GB", "timezone": "Europe/London"}
    tool = {**TOOL, "user_location": place, "allowed_domains": ["a.example"], "cache_control": {"type": "ephemeral"}}
    await ask(app, request(tools=[tool]), search)
    location = Location(city="Plymouth", country="GB", timezone="Europe/London")
    assert search.queries == [SearchQuery("q", ("a.example",), (), location)]
    [function] = app.requests[0]["tools"]
    assert "a.example" in function["description"]
    assert "Plymouth" in function["description"]
    assert function["cache_control"] == {"type": "ephemeral"}
    assert "type" not in function


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "web_search_20260209", "web_search_20260318", "web_search_20991231"]
)
async def test_every_version_of_the_tool(kind: str) -> None:
    app = MessagesApp([text("Yes.")])
    answer = await ask(app, request(tools=[{"type": kind, "name": "web_search", "allowed_callers": ["direct"]}]))
    assert answer.status == 200
    assert app.requests[0]["tools"][0].keys() == {"name", "description", "input_schema"}


async def test_counting_counts_the_function() -> None:
    app = MessagesApp([text("no matter")])
    await ask(app, request(), path="/v1/messages/count_tokens")
    assert app.requests[0]["tools"][0]["name"] == "web_search"
    assert "input_schema" in app.requests[0]["tools"][0]


async def test_request_that_only_warms_the_cache_searches_for_nothing() -> None:
    app, search = MessagesApp([]), Search()
    await ask(app, request(max_tokens=0, tool_choice={"type": "tool", "name": "web_search"}), search)
    assert (len(app.requests), search.queries) == (1, [])


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"tools": 7}', b'{"tools": [7], "messages": 7}'])
async def test_what_is_no_request_is_left_to_the_inner_app(body: bytes) -> None:
    received = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = await ask(app, body)
    assert (answer.status, received) == (400, [body])


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/health"])
async def test_other_paths_pass_untouched(path: str) -> None:
    app = MessagesApp([text("Yes.")])
    await send(WebSearchMiddleware(app, search=Search()), http_scope("POST", path), {**request()})
    assert app.requests == [request()]


async def test_excerpts_are_bounded() -> None:
    long = SearchResult("https://a.example/", "t" * 1000, "word " * 100_000, "x" * 100)
    [result] = await Searches(Search([long]), timeout=1, remember=1)(SearchQuery("q"), "id")
    assert (len(result.title), len(result.text), len(result.age or "")) == (300, 1000, 60)
    many = [SearchResult(f"https://a.example/{n}", "t") for n in range(50)]
    assert len(await Searches(Search(many), timeout=1, remember=1)(SearchQuery("q"), "id")) == 10


async def test_search_that_takes_too_long_is_cut_off() -> None:
    async def slow(query: SearchQuery) -> list[SearchResult]:
        await asyncio.sleep(60)
        return []

    started = time.monotonic()
    with pytest.raises(SearchError) as caught:
        await Searches(slow, timeout=0.05, remember=1)(SearchQuery("q"), "id")
    assert caught.value.code == "unavailable"
    assert time.monotonic() - started < 30


async def test_results_are_remembered_for_a_while_and_failures_are_not() -> None:
    search = Search(SearchError("unavailable", "no"))
    searches = Searches(search, timeout=1, remember=0.05)
    for _ in range(2):
        with pytest.raises(SearchError):
            await searches(SearchQuery("q"), "id")
    assert len(search.queries) == 2
    search.pages = []
    for _ in range(2):
        await searches(SearchQuery("q"), "id")
    assert len(search.queries) == 3
    await searches(SearchQuery("q", blocked_domains=("a.example",)), "id")
    assert len(search.queries) == 4
    await asyncio.sleep(0.1)
    await searches(SearchQuery("q"), "id")
    assert len(search.queries) == 5


async def test_memory_of_results_is_bounded() -> None:
    search = Search([])
    searches = Searches(search, timeout=1, remember=60)
    for n in range(300):
        await searches(SearchQuery(f"q{n}"), "id")
    assert len(searches._known) == 256


def test_times_must_be_above_0() -> None:
    for more in ({"timeout": 0}, {"remember": 0}):
        with pytest.raises(ValueError, match="above 0"):
            WebSearchMiddleware(MessagesApp(), search=Search(), **more)
