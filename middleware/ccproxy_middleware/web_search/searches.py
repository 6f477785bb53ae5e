"""Searches with limits, and a cache of their results for a few minutes."""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from .backend import MAX_RESULTS, SearchBackend, SearchError, SearchQuery, SearchResult
from .domains import is_listed

logger = logging.getLogger("ccproxy.web_search")

MAX_QUERY = 1000
"""Characters of a query."""

_MAX_URL = 2048
_MAX_TITLE = 300
_MAX_TEXT = 1000
_MAX_AGE = 60
_REMEMBERED = 256  # searches

_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")


class Searches:
    """Queries ``backend``, for at most ``timeout`` seconds; its results are cached for ``remember`` seconds."""

    def __init__(self, backend: SearchBackend, *, timeout: float, remember: float) -> None:
        self._backend = backend
        self._timeout = timeout
        self._remember = remember
        self._known: OrderedDict[SearchQuery, tuple[float, list[SearchResult]]] = OrderedDict()

    async def __call__(self, query: SearchQuery, request_id: str) -> list[SearchResult]:
        """The results, at most MAX_RESULTS, within the query's domains. Raises SearchError."""
        if len(query.text) > MAX_QUERY:
            raise SearchError("query_too_long", f"the query is over {MAX_QUERY} characters")
        known = self._known.get(query)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._backend(query)
        except SearchError as error:
            logger.warning("a web search failed: %s: %s (%s)", error.code, error.message, request_id)
            raise
        except TimeoutError:
            logger.warning("a web search took over %g seconds (%s)", self._timeout, request_id)
            raise SearchError("unavailable", f"no answer within {self._timeout:g} seconds") from None
        except Exception:
            logger.exception("a web search failed (%s)", request_id)
            raise SearchError("unavailable", "the search has failed") from None
        results = _usable(found, query)
        self._known.pop(query, None)
        self._known[query] = (time.monotonic() + self._remember, results)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return results


def _usable(found: list[SearchResult], query: SearchQuery) -> list[SearchResult]:
    results: dict[str, SearchResult] = {}
    for result in found:
        url = result.url.strip()
        if url in results or not _is_page(url):
            continue
        if query.allowed_domains and not is_listed(url, query.allowed_domains):
            continue
        if is_listed(url, query.blocked_domains):
            continue
        title, text = _line(result.title, _MAX_TITLE) or url, _line(result.text, _MAX_TEXT)
        results[url] = SearchResult(url, title, text, _line(result.age or "", _MAX_AGE) or None)
        if len(results) == MAX_RESULTS:
            break
    return list(results.values())


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and len(url) <= _MAX_URL and not _BLANKS.search(url)


def _line(text: str, limit: int) -> str:
    text = _BLANKS.sub(" ", text[: 4 * limit]).strip()
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."
