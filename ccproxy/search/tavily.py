"""Tavily: https://docs.tavily.com/documentation/api-reference/endpoint/search"""

from collections.abc import Iterable

from ccproxy_middleware.web_search import SearchQuery, SearchResult

from .service import SearchService, hosts, listed, text


class Tavily(SearchService):
    """Tavily. Its basic search is used, which costs one credit."""

    name = "Tavily"
    max_query = 400

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        body = {
            "query": query.text,
            "search_depth": "basic",
            "max_results": 10,
            "include_domains": hosts(query.allowed_domains),
            "exclude_domains": hosts([domain for domain in query.blocked_domains if "/" not in domain]),
        }
        data = await self.post("/search", body, {"authorization": f"Bearer {self._key}"})
        return [
            SearchResult(text(item, "url"), text(item, "title"), text(item, "content"), text(item, "published_date"))
            for item in listed(data, "results")
        ]
