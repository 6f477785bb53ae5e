"""The package ddgs, which reads the result pages of several search engines: https://github.com/deedy5/ddgs"""

import asyncio
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from ccproxy_middleware.web_search import SearchError, SearchQuery, SearchResult

from .service import text, with_sites

_SECONDS = 8  # lower than the layer's own limit, so that the thread ends too


class DDGS:
    """ddgs, called in a thread. It needs no key. The engines limit it, so it suits a single user."""

    async def __call__(self, query: SearchQuery, /) -> list[SearchResult]:
        """The search results. Raises SearchError."""
        exceptions: Any = import_module("ddgs.exceptions")

        try:
            found = await asyncio.to_thread(_search, with_sites(query))
        except exceptions.RatelimitException:
            raise SearchError("too_many_requests", "the search engines that ddgs asks want fewer requests") from None
        except exceptions.DDGSException as error:
            if "No results found" in str(error):
                return []
            raise SearchError("unavailable", f"ddgs has failed: {type(error).__name__}") from None
        return [SearchResult(text(item, "href"), text(item, "title"), text(item, "body")) for item in found]


def _search(words: str) -> Iterable[dict[str, Any]]:
    ddgs: Any = import_module("ddgs")
    found: list[dict[str, Any]] = ddgs.DDGS(timeout=_SECONDS).text(words, max_results=10)
    return found
