"""Brave Search: https://api-dashboard.search.brave.com/api-reference/web/search/get"""

from collections.abc import Iterable

from ccproxy_middleware.web_search import SearchQuery, SearchResult

from .service import SearchService, listed, text, with_sites


class Brave(SearchService):
    """Brave Search. Its key is a subscription token."""

    name = "Brave"
    max_query = 400
    refusals = (401, 403, 422)

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        place = query.location
        told = {} if place is None else {
            "x-loc-city": place.city, "x-loc-state-name": place.region, "x-loc-country": place.country,
            "x-loc-timezone": place.timezone,
        }  # fmt: skip
        headers = {name: value for name, value in told.items() if value and value.isascii() and value.isprintable()}
        parameters = {"q": with_sites(query, self.max_query), "count": "20", "text_decorations": "false"}
        data = await self.get("/res/v1/web/search", parameters, {**headers, "x-subscription-token": self._key})
        return [
            SearchResult(
                text(item, "url"), text(item, "title"), text(item, "description"), text(item, "page_age", "age")
            )
            for item in listed(data, "web", "results")
        ]
