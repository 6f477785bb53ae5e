"""The services that search, each against a server of its true form on a real socket."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ccproxy import Settings
from ccproxy.search import Search, make_search
from ccproxy_middleware.web_search import Location, SearchError, SearchQuery, SearchResult
from support.providers.search_services import KEY, LIGHTS, Asked, SearchServices
from support.serving.servers import serve

NAMES = ("searxng", "brave", "tavily", "exa", "serper")
TRANSPORTS = ("aiohttp", "httpx")


@contextmanager
def served(services: SearchServices) -> Iterator[str]:
    with serve(services, lifespan="off") as server:
        yield server.url


def search(name: str, url: str, query: SearchQuery, key: str = KEY, transport: str = "aiohttp") -> list[SearchResult]:
    settings = Settings.explicit(
        openai_api_key="k", web_search=name, web_search_url=url, web_search_key=key, http_transport=transport
    )

    async def run() -> list[SearchResult]:
        service = make_search(settings)
        assert service is not None
        async with service.lifespan():
            return await service(query)

    return asyncio.run(run())


def found(name: str, query: SearchQuery, **script: Any) -> tuple[list[SearchResult], Asked]:
    services = SearchServices(**script)
    with served(services) as url:
        results = search(name, url, query)
    return results, services.asked[0]


def failure(name: str, query: str = "q", key: str = KEY, **script: Any) -> SearchError:
    with served(SearchServices(**script)) as url, pytest.raises(SearchError) as caught:
        search(name, url, SearchQuery(query), key)
    return caught.value


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", NAMES)
def test_each_service_finds(name: str, transport: str) -> None:
    with served(services := SearchServices()) as url:
        results = search(name, url, SearchQuery("lighthouses"), transport=transport)
    assert [(result.url, result.title, result.text) for result in results] == [
        (page.url, page.title, page.text) for page in LIGHTS
    ]
    ages = {"searxng": "2026-01-02T00:00:00", "brave": "2026-01-02T00:00:00", "exa": "2026-01-02T00:00:00.000Z"}
    assert results[0].age == {**ages, "tavily": "", "serper": "Jan 2, 2026"}[name]
    [asked] = services.asked
    assert asked.query == "lighthouses"
    assert KEY not in asked.path + json.dumps(asked.body)


BODIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "searxng": ("GET", "/search", {"q": "a (site:x.example OR site:y.example/docs)", "format": "json"}),
    "brave": (
        *("GET", "/res/v1/web/search"),
        {"q": "a (site:x.example OR site:y.example/docs)", "count": "20", "text_decorations": "false"},
    ),
    "tavily": (
        *("POST", "/search"),
        {
            **{"query": "a", "search_depth": "basic", "max_results": 10},
            **{"include_domains": ["x.example", "y.example"], "exclude_domains": []},
        },
    ),
    "exa": (
        *("POST", "/search"),
        {
            **{"query": "a", "numResults": 10, "contents": {"highlights": True}},
            **{"includeDomains": ["x.example", "y.example"], "userLocation": "GB"},
        },
    ),
    "serper": ("POST", "/search", {"q": "a (site:x.example OR site:y.example/docs)", "num": 10, "gl": "gb"}),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_service_is_told_of_domains_and_place(name: str) -> None:
    place = Location(city="Plymouth", country="GB")
    _, asked = found(name, SearchQuery("a", allowed_domains=("x.example", "y.example/docs/*"), location=place))
    assert (asked.method, asked.path, asked.body) == BODIES[name]
    if name == "brave":
        assert asked.headers["x-loc-city"] == "Plymouth"
        assert asked.headers["x-loc-country"] == "GB"


@pytest.mark.parametrize(
    ("name", "field", "told"),
    [
        ("searxng", "q", "a -site:x.example -site:y.example/docs"),
        ("brave", "q", "a -site:x.example -site:y.example/docs"),
        ("serper", "q", "a -site:x.example -site:y.example/docs"),
        ("tavily", "exclude_domains", ["x.example"]),
        ("exa", "excludeDomains", ["x.example"]),
    ],
)
def test_each_service_is_told_what_to_leave_out(name: str, field: str, told: Any) -> None:
    _, asked = found(name, SearchQuery("a", blocked_domains=("x.example", "y.example/docs")))
    assert asked.body[field] == told


@pytest.mark.parametrize("name", ["brave", "tavily"])
def test_query_that_a_service_does_not_take_is_told_before_it_is_asked(name: str) -> None:
    services = SearchServices()
    with served(services) as url, pytest.raises(SearchError) as caught:
        search(name, url, SearchQuery("x" * 401))
    assert (caught.value.code, services.asked) == ("query_too_long", [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [429, 500, 302])
def test_each_failure_has_its_code(name: str, status: int) -> None:
    error = failure(name, status=status)
    assert error.code == ("too_many_requests" if status == 429 else "unavailable")
    assert str(status) in error.message


def test_plan_of_tavily_that_is_used_up() -> None:
    assert failure("tavily", status=432).code == "too_many_requests"


@pytest.mark.parametrize("name", ["brave", "tavily", "exa", "serper"])
def test_key_that_is_refused_is_named_and_not_told(name: str) -> None:
    error = failure(name, key="wrong-secret")
    assert error.code == "unavailable"
    assert "WEB_SEARCH_KEY" in error.message
    assert "wrong-secret" not in error.message


def test_searxng_without_json_says_what_to_change() -> None:
    error = failure("searxng", formats=["html"])
    assert error.message == "SearXNG answers 403: search.formats in its settings.yml must have json"


def test_searxng_whose_engines_are_silent_has_not_found_nothing() -> None:
    error = failure("searxng", pages=[], silent=[("google", "access denied"), ("brave", "too many requests")])
    assert error.message == (
        "SearXNG has got no answer from its engines: google access denied, brave too many requests"
    )


def test_nothing_found_is_no_failure() -> None:
    for name in NAMES:
        assert found(name, SearchQuery("q"), pages=[])[0] == []


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"results":', b"\xff"])
def test_answer_that_is_no_json_object(raw: bytes) -> None:
    assert "no JSON object" in failure("searxng", raw=raw).message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, 7, "x", [], [7, None, {}], {"results": 7}, [{"url": 7, "title": None}]])
def test_answer_of_a_wrong_shape_finds_nothing_usable(name: str, value: Any) -> None:
    raw = json.dumps({"results": value, "organic": value, "web": {"results": value}}).encode()
    results, _ = found(name, SearchQuery("q"), raw=raw)
    assert {result.url for result in results} <= {""}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_answer_over_2_mb_is_not_read(transport: str) -> None:
    big = b'{"results": "' + b"x" * (2 * 1024 * 1024) + b'"}'
    packed: dict[str, Any] = {"raw": gzip.compress(big), "headers": {"content-encoding": "gzip"}}
    for script in ({"raw": big}, packed):
        with served(SearchServices(**script)) as url, pytest.raises(SearchError) as caught:
            search("searxng", url, SearchQuery("q"), transport=transport)
        assert caught.value.code == "unavailable"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_redirect_is_not_followed(transport: str) -> None:
    with served(elsewhere := SearchServices()) as other:
        script = SearchServices(status=302, headers={"location": f"{other}/search?q=q&format=json"})
        with served(script) as url, pytest.raises(SearchError, match="redirects are not followed"):
            search("searxng", url, SearchQuery("q"), transport=transport)
    assert elsewhere.asked == []


def test_service_that_is_not_there() -> None:
    with served(SearchServices()) as url:
        pass
    with pytest.raises(SearchError, match="can't be reached") as caught:
        search("searxng", url, SearchQuery("q"))
    assert caught.value.code == "unavailable"


def test_searxng_at_a_path_and_with_a_key() -> None:
    with served(services := SearchServices()) as url:
        search("searxng", f"{url}/searx/", SearchQuery("q"), key="token")
    assert services.asked[0].path == "/searx/search"
    assert services.asked[0].headers["authorization"] == "Bearer token"


def test_provider_and_nothing_need_no_service() -> None:
    for name in (None, "provider"):
        assert make_search(Settings.explicit(openai_api_key="k", web_search=name)) is None


class Client:
    """Stands for the client of the package ddgs."""

    result: Callable[[], Any]

    def __init__(self, timeout: int) -> None:
        assert timeout <= 10

    def text(self, words: str, max_results: int) -> Any:
        assert (words, max_results) == ("q -site:x.example", 10)
        return type(self).result()


@pytest.fixture
def ddgs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of its name and its faces, since the true one asks search engines."""
    import sys
    from types import ModuleType

    package, exceptions = ModuleType("ddgs"), ModuleType("ddgs.exceptions")
    error = type("DDGSException", (Exception,), {})
    names = {"DDGSException": error, "RatelimitException": type("RatelimitException", (error,), {})}
    for name, value in names.items():
        setattr(exceptions, name, value)
    package.DDGS, package.exceptions = Client, exceptions  # type: ignore[attr-defined]
    package.__spec__ = object()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "ddgs", package)
    monkeypatch.setitem(sys.modules, "ddgs.exceptions", exceptions)
    return exceptions


def by_ddgs(result: Callable[[], Any]) -> list[SearchResult]:
    Client.result = staticmethod(result)
    settings = Settings.explicit(openai_api_key="k", web_search="ddgs")

    async def run() -> list[SearchResult]:
        service = Search(settings)
        async with service.lifespan():
            return await service(SearchQuery("q", blocked_domains=("x.example",)))

    return asyncio.run(run())


def raising(error: Exception) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


def test_ddgs_finds(ddgs: Any) -> None:
    page = {"title": "Lights", "href": "https://lights.example/", "body": "Lamps."}
    assert by_ddgs(lambda: [page]) == [SearchResult("https://lights.example/", "Lights", "Lamps.")]


def test_failures_of_ddgs(ddgs: Any) -> None:
    assert by_ddgs(raising(ddgs.DDGSException("No results found."))) == []
    for error, code in (
        (ddgs.RatelimitException("202"), "too_many_requests"),
        (ddgs.DDGSException("x"), "unavailable"),
    ):
        with pytest.raises(SearchError) as caught:
            by_ddgs(raising(error))
        assert caught.value.code == code
