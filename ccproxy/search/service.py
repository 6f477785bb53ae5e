"""The base of the services that search by HTTP: a request to one host, and one JSON answer of limited size."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx

from ccproxy.forwarding import failure_reason
from ccproxy_middleware.toolkit.encodings import BrokenEncoding, UnsupportedEncoding, make_decoder
from ccproxy_middleware.toolkit.json import dumps, loads
from ccproxy_middleware.web_search import SearchError, SearchQuery, SearchResult

MAX_ANSWER = 2 * 1024 * 1024
"""The maximum bytes of an answer."""

_SPENT = (429, 432, 433)  # the last two are Tavily's, for used-up plans


class SearchService:
    """A search service. A subclass defines how it is asked (:meth:`search`), and reads the answer.

    ``url`` is its address without a trailing slash. ``key`` is sent only in a header.
    """

    name = ""
    max_query: int | None = None  # the maximum length of a query, in characters
    refusals: tuple[int, ...] = (401, 403)  # statuses for a key that the service rejects

    def __init__(self, client: httpx.AsyncClient, url: str, key: str | None = None) -> None:
        self._client = client
        self._url = url
        self._key = key or ""

    async def __call__(self, query: SearchQuery, /) -> list[SearchResult]:
        """The search results. Raises SearchError."""
        if self.max_query is not None and len(query.text) > self.max_query:
            raise SearchError("query_too_long", f"{self.name} takes {self.max_query} characters")
        return list(await self.search(query))

    async def search(self, query: SearchQuery) -> Iterable[SearchResult]:
        raise NotImplementedError

    async def get(self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str] = {}) -> dict[str, Any]:
        """The JSON object in the answer to a GET. Raises SearchError."""
        return await self._ask("GET", f"{path}?{urlencode(parameters)}", headers, b"")

    async def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object in the answer to a POST. Raises SearchError."""
        return await self._ask("POST", path, {**headers, "content-type": "application/json"}, dumps(body))

    def refused(self, status: int) -> str:
        """Possible reasons for an answer with one of the statuses in ``refusals``."""
        return f"{self.name} answers {status}: it has refused WEB_SEARCH_KEY"

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
        try:
            async with self._client.stream(method, self._url + path, headers=sent, content=body or None) as response:
                if response.status_code != 200:
                    raise self._error(response.status_code)
                answer = await _read(response)
        except httpx.RequestError as error:
            raise SearchError("unavailable", f"{self.name} can't be reached: {failure_reason(error)}") from None
        try:
            data = loads(answer)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise SearchError("unavailable", f"{self.name} has answered with what is no JSON object")
        return data

    def _error(self, status: int) -> SearchError:
        if status in _SPENT:
            return SearchError("too_many_requests", f"{self.name} answers {status}: too many requests")
        if status in self.refusals:
            return SearchError("unavailable", self.refused(status))
        if status in range(300, 400):
            return SearchError("unavailable", f"{self.name} answers {status}: redirects are not followed")
        return SearchError("unavailable", f"{self.name} answers {status}")


async def _read(response: httpx.Response) -> bytes:
    """The body, decoded from its content-encoding."""
    body = bytearray()
    try:
        decoder = make_decoder(response.headers.raw)
        async for piece in response.aiter_raw():
            body += decoder.decode(piece, MAX_ANSWER - len(body) + 1)
            if len(body) > MAX_ANSWER:
                raise SearchError("unavailable", f"the answer is over {MAX_ANSWER} bytes")
        decoder.finish()
    except (UnsupportedEncoding, BrokenEncoding):
        raise SearchError("unavailable", "the answer can't be decoded") from None
    return bytes(body)


def listed(data: Any, *names: str) -> Iterable[dict[str, Any]]:
    """The objects in the list under these names; empty if there is none."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []


def text(item: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is a text."""
    return next((value for name in names if isinstance(value := item.get(name), str) and value), "")


def with_sites(query: SearchQuery, limit: int | None = None) -> str:
    """The query with as many ``site:`` operators for its domains as fit; most search engines know this operator."""
    words = query.text
    if query.allowed_domains:
        sites = [f"site:{_plain(domain)}" for domain in query.allowed_domains[:_MAX_SITES]]
        added = f" ({' OR '.join(sites)})" if len(sites) > 1 else f" {sites[0]}"
        return words + added if limit is None or len(words + added) <= limit else words
    for domain in query.blocked_domains[:_MAX_SITES]:
        added = f" -site:{_plain(domain)}"
        if limit is not None and len(words + added) > limit:
            break
        words += added
    return words


def hosts(domains: Sequence[str]) -> list[str]:
    """The hosts of these domains, without their paths."""
    return list(dict.fromkeys(domain.partition("/")[0].lower() for domain in domains))


_MAX_SITES = 10


def _plain(domain: str) -> str:
    return domain.partition("*")[0].rstrip("/")
