"""The search services by name, and the one that the settings select."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ccproxy_middleware.web_search import SearchBackend, SearchQuery, SearchResult

from ..forwarding import make_client
from .brave import Brave
from .ddgs import DDGS
from .exa import Exa
from .searxng import SearXNG
from .serper import Serper
from .service import SearchService
from .tavily import Tavily

if TYPE_CHECKING:
    from ..settings import Settings

TIMEOUT = 10.0
"""Seconds that a search may take."""

_SERVICES: Mapping[str, tuple[type[SearchService], str]] = {
    "searxng": (SearXNG, ""),
    "brave": (Brave, "https://api.search.brave.com"),
    "tavily": (Tavily, "https://api.tavily.com"),
    "exa": (Exa, "https://api.exa.ai"),
    "serper": (Serper, "https://google.serper.dev"),
}


class Search:
    """A proxy's search, a SearchBackend. :meth:`lifespan` closes its connections."""

    def __init__(self, settings: "Settings") -> None:
        self._client = make_client(settings.http_transport, timeout=TIMEOUT)
        self._backend: SearchBackend = DDGS()
        if settings.web_search is not None and settings.web_search in _SERVICES:
            service, url = _SERVICES[settings.web_search]
            key = settings.web_search_key
            given = None if key is None else key.get_secret_value()
            self._backend = service(self._client, settings.web_search_url or url, given)

    async def __call__(self, query: SearchQuery, /) -> list[SearchResult]:
        """The search results. Raises SearchError."""
        return await self._backend(query)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Close the connections at the end."""
        try:
            yield
        finally:
            await self._client.aclose()


def make_search(settings: "Settings") -> Search | None:
    """The service that WEB_SEARCH names; None if it is unset, or if the provider searches."""
    return None if settings.web_search in (None, "provider") else Search(settings)
