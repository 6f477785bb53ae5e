"""Serper, which queries Google: https://serper.dev"""

from collections.abc import Iterable

from ccproxy_middleware.web_search import SearchQuery, SearchResult

from .service import SearchService, listed, text, with_sites


class Serper(SearchService):
    """Serper. Its results are those of a Google result page."""

    name = "Serper"

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        body = {"q": with_sites(query), "num": 10}
        if query.location is not None and query.location.country:
            body["gl"] = query.location.country.lower()
        data = await self.post("/search", body, {"x-api-key": self._key})
        return [
            SearchResult(text(item, "link"), text(item, "title"), text(item, "snippet"), text(item, "date"))
            for item in listed(data, "organic")
        ]
