"""SearXNG, Brave, Tavily, Exa and Serper, each with its own JSON, on one server that a test scripts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

KEY = "search-key"


@dataclass(frozen=True)
class Page:
    url: str
    title: str
    text: str
    date: str


LIGHTS = (
    Page("https://lights.example/eddystone", "Eddystone Lighthouse", "The Eddystone was lit in 1698.", "2026-01-02"),
    Page("https://www.sea.example/history", "Lights of the sea", "Lamps, mirrors and lenses.", "2025-11-30"),
)


@dataclass
class Asked:
    """A request: ``query`` is what is searched for, ``body`` all that was sent with it."""

    method: str
    path: str
    headers: dict[str, str]
    query: str
    body: dict[str, Any]


class SearchServices:
    """The ASGI app. ``pages``: what is found, or a function of the query. ``status``: an error for all.

    ``raw``: a body that is sent instead. ``headers``: further ones of the answer. A service that needs a key
    refuses any but KEY with the status that it has.
    """

    def __init__(
        self,
        pages: Sequence[Page] | Callable[[str], Sequence[Page]] = LIGHTS,
        *,
        status: int = 200,
        raw: bytes | None = None,
        headers: Mapping[str, str] = {},
        silent: Sequence[tuple[str, str]] = (),
        formats: Sequence[str] = ("html", "json"),
    ) -> None:
        self.asked: list[Asked] = []
        self._pages = pages
        self._status = status
        self._raw = raw
        self._headers = headers
        self._silent = silent
        self._formats = formats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        raw = b""
        more = True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        parameters = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        body = json.loads(raw) if raw else parameters
        query = body.get("q") or body.get("query") or ""
        self.asked.append(Asked(scope["method"], scope["path"], headers, query, body))
        pages = self._pages(query) if callable(self._pages) else self._pages
        status, answer = self._answer(scope["path"], self.asked[-1], pages)
        if self._status != 200:
            status, answer = self._status, {"error": "as scripted"}
        sent = json.dumps(answer).encode() if self._raw is None else self._raw
        pairs = {"content-type": "application/json", **self._headers}.items()
        encoded = [(name.encode(), value.encode()) for name, value in pairs]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": sent})

    def _answer(self, path: str, asked: Asked, pages: Sequence[Page]) -> tuple[int, dict[str, Any]]:
        headers = asked.headers
        if path == "/res/v1/web/search":
            if headers.get("x-subscription-token") != KEY:
                return 422, {"type": "ErrorResponse", "error": {"code": "SUBSCRIPTION_TOKEN_INVALID", "status": 422}}
            return 200, self._brave(asked.query, pages)
        if "q" in asked.body and asked.method == "GET":
            if asked.body.get("format") not in self._formats:
                return 403, {}
            return 200, self._searxng(asked.query, pages)
        if "numResults" in asked.body:
            return (200, self._exa(pages)) if headers.get("x-api-key") == KEY else (401, {"error": "Invalid API key"})
        if "q" in asked.body:
            denied = {"message": "Unauthorized.", "statusCode": 403}
            return (200, self._serper(asked.query, pages)) if headers.get("x-api-key") == KEY else (403, denied)
        if headers.get("authorization") != f"Bearer {KEY}":
            return 401, {"detail": {"error": "Unauthorized: missing or invalid API key."}}
        return 200, self._tavily(asked.query, pages)

    def _searxng(self, query: str, pages: Sequence[Page]) -> dict[str, Any]:
        results = [
            {
                "url": page.url, "title": page.title, "content": page.text, "publishedDate": f"{page.date}T00:00:00",
                "thumbnail": None, "engine": "brave", "template": "default.html", "parsed_url": ["https", "", "", ""],
                "img_src": "", "priority": "", "engines": ["brave", "duckduckgo"], "positions": [n, n], "score": 1 / n,
                "category": "general",
            }
            for n, page in enumerate(pages, 1)
        ]  # fmt: skip
        more: dict[str, Any] = {"answers": [], "corrections": [], "infoboxes": [], "suggestions": []}
        silent = [list(pair) for pair in self._silent]
        return {"query": query, "number_of_results": 0, "results": results, **more, "unresponsive_engines": silent}

    def _brave(self, query: str, pages: Sequence[Page]) -> dict[str, Any]:
        results = [
            {
                "title": page.title, "url": page.url, "is_source_local": False, "is_source_both": False,
                "description": page.text, "page_age": f"{page.date}T00:00:00", "profile": {"name": "Site"},
                "language": "en", "family_friendly": True, "type": "search_result", "subtype": "generic",
                "meta_url": {"scheme": "https", "netloc": "x"}, "age": "January 2, 2026",
            }
            for page in pages
        ]  # fmt: skip
        web = {"type": "search", "results": results, "family_friendly": True}
        return {"query": {"original": query, "more_results_available": True}, "type": "search", "web": web}

    def _tavily(self, query: str, pages: Sequence[Page]) -> dict[str, Any]:
        results = [
            {"url": page.url, "title": page.title, "content": page.text, "score": 0.9, "raw_content": None}
            for page in pages
        ]
        times = {"response_time": 1.1, "request_id": "r"}
        return {"query": query, "follow_up_questions": None, "answer": None, "images": [], "results": results, **times}

    def _exa(self, pages: Sequence[Page]) -> dict[str, Any]:
        results = [
            {
                "id": page.url, "title": page.title, "url": page.url, "publishedDate": f"{page.date}T00:00:00.000Z",
                "author": "A", "highlights": [page.text], "highlightScores": [0.5],
            }
            for page in pages
        ]  # fmt: skip
        return {"requestId": "r", "resolvedSearchType": "neural", "results": results, "costDollars": {"total": 0.007}}

    def _serper(self, query: str, pages: Sequence[Page]) -> dict[str, Any]:
        organic = [
            {"title": page.title, "link": page.url, "snippet": page.text, "date": "Jan 2, 2026", "position": n}
            for n, page in enumerate(pages, 1)
        ]
        return {"searchParameters": {"q": query, "type": "search", "num": 10}, "organic": organic, "credits": 1}
