"""Exa: https://exa.ai/docs/reference/search"""

from collections.abc import Iterable
from typing import Any

from ccproxy_middleware.web_search import SearchQuery, SearchResult

from .service import SearchService, hosts, listed, text


class Exa(SearchService):
    """Exa. It is asked for highlights, the sentences of a page that match the query."""

    name = "Exa"

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        body: dict[str, Any] = {"query": query.text, "numResults": 10, "contents": {"highlights": True}}
        if query.allowed_domains:
            body["includeDomains"] = hosts(query.allowed_domains)
        if blocked := hosts([domain for domain in query.blocked_domains if "/" not in domain]):
            body["excludeDomains"] = blocked
        if query.location is not None and query.location.country:
            body["userLocation"] = query.location.country
        data = await self.post("/search", body, {"x-api-key": self._key})
        return [
            SearchResult(text(item, "url"), text(item, "title"), _excerpt(item), text(item, "publishedDate"))
            for item in listed(data, "results")
        ]


def _excerpt(item: dict[str, Any]) -> str:
    highlights = item.get("highlights")
    told = [part for part in highlights if isinstance(part, str)] if isinstance(highlights, list) else []
    return " ... ".join(told) or text(item, "summary", "text")
