"""What the tests of the layer share: a search, a request, and the blocks of an answer however it comes."""

import json
from typing import Any

from starlette.types import ASGIApp

from ccproxy_middleware import SearchQuery, SearchResult, WebSearchMiddleware
from ccproxy_middleware.web_search import SearchError
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream

TOOL: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
OWN: dict[str, Any] = {"name": "Read", "description": "Read", "input_schema": {"type": "object", "properties": {}}}
FORCED = {"type": "tool", "name": "web_search"}
PAGES = [
    SearchResult("https://lights.example/eddystone", "Eddystone", "Lit in 1698.", "2026-01-02"),
    SearchResult("https://sea.example/history", "The sea", "Old lamps."),
]


def request(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "When was the Eddystone first lit?"}]
    return {"model": "m", "max_tokens": 100, "messages": messages, "tools": [TOOL], **more}


class Search:
    """Finds ``pages``, or fails, and remembers what it was asked."""

    def __init__(self, pages: list[SearchResult] | SearchError | None = None) -> None:
        self.pages = PAGES if pages is None else pages
        self.queries: list[SearchQuery] = []

    async def __call__(self, query: SearchQuery) -> list[SearchResult]:
        self.queries.append(query)
        if isinstance(self.pages, SearchError):
            raise self.pages
        return self.pages


async def ask(app: ASGIApp, body: Any, search: Any = None, path: str = "/v1/messages") -> Answer:
    layer = WebSearchMiddleware(app, search=Search() if search is None else search)
    return await call(layer, http_scope("POST", path), body)


def message(answer: Answer) -> dict[str, Any]:
    """The message that an answer tells, as a stream or as a whole."""
    if answer.headers["content-type"].startswith("application/json"):
        whole: dict[str, Any] = answer.json()
        return whole
    found: dict[str, Any] = {}
    for event in check_stream(answer.body):
        match event["type"]:
            case "message_start":
                found = event["message"]
            case "content_block_start":
                found["content"].append({**event["content_block"], "_": ""})
            case "content_block_delta":
                block, delta = found["content"][-1], event["delta"]
                if delta["type"] == "citations_delta":
                    block["citations"] = [*block.get("citations", []), delta["citation"]]
                elif delta["type"] == "signature_delta":
                    block["signature"] = delta["signature"]
                else:
                    block["_"] += delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
            case "content_block_stop":
                block = found["content"][-1]
                told = block.pop("_")
                if block["type"] in ("text", "thinking"):
                    block[block["type"]] = told
                elif told:
                    block["input"] = json.loads(told)
            case "message_delta":
                found |= event["delta"]
                found["usage"] = {**found["usage"], **event["usage"]}
    return found


def kinds(answer: Answer) -> list[str]:
    return [block["type"] for block in message(answer)["content"]]
