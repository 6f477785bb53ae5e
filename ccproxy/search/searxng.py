"""SearXNG: https://docs.searxng.org/dev/search_api.html"""

from collections.abc import Iterable

from ccproxy_middleware.web_search import SearchError, SearchQuery, SearchResult

from .service import SearchService, listed, text, with_sites


class SearXNG(SearchService):
    """A SearXNG instance; the URL is its root. Its settings must list ``json`` in ``search.formats``."""

    name = "SearXNG"

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        data = await self.get("/search", {"q": with_sites(query), "format": "json"}, headers)
        found = [
            SearchResult(text(item, "url"), text(item, "title"), text(item, "content"), text(item, "publishedDate"))
            for item in listed(data, "results")
        ]
        if not found and (silent := _silent(data.get("unresponsive_engines"))):
            raise SearchError("unavailable", f"SearXNG has got no answer from its engines: {silent}")
        return found

    def refused(self, status: int) -> str:
        if status == 403:
            return "SearXNG answers 403: search.formats in its settings.yml must have json"
        return f"SearXNG answers {status}: it asks for a login; WEB_SEARCH_KEY is sent as a bearer token"


def _silent(engines: object) -> str:
    """The engines that failed and their reasons, which SearXNG reports as pairs."""
    pairs = engines if isinstance(engines, list) else []
    return ", ".join(" ".join(map(str, pair))[:60] for pair in pairs[:5] if isinstance(pair, list))
