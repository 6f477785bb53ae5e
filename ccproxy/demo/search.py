"""``cc-boost demo --search``: a web search with a built-in SearXNG that knows three pages."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ccproxy_middleware.toolkit.sse import SSEParser

from .provider import Answer, decide_by_rules

QUESTION = "When was the Eddystone Lighthouse first lit?"
_PAGES = (
    (
        "https://lighthouses.example/eddystone",
        "Eddystone Lighthouse",
        "The first Eddystone Lighthouse was lit in 1698.",
    ),
    ("https://sea.example/lamps", "Lamps of the sea", "Candles, oil, gas and at last electricity."),
    ("https://plymouth.example/sights", "Plymouth", "Smeaton's Tower stands on the Hoe."),
)


def demo_searxng(on_query: Callable[[str], None] = lambda query: None) -> Starlette:
    """The instance as an ASGI app. ``on_query`` receives each query."""

    async def search(request: Request) -> Response:
        query = request.query_params.get("q", "")
        on_query(query)
        if request.query_params.get("format") != "json":
            return Response(status_code=403)
        results = [
            {"url": url, "title": title, "content": text, "engine": "demo", "engines": ["demo"], "score": 1.0}
            for url, title, text in _PAGES
        ]
        return JSONResponse({"query": query, "results": results, "unresponsive_engines": []})

    return Starlette(routes=[Route("/search", search)])


def decide_on_search(body: Mapping[str, Any]) -> Answer:
    """The provider's answer: it searches the web if it can, and reports the results."""
    names = {tool["function"]["name"] for tool in body.get("tools", ())}
    last = body["messages"][-1]
    if "web_search" in names and last["role"] == "tool":
        return Answer("It was first lit in 1698 [1]. One of its later towers stands in Plymouth now [3].")
    if "web_search" in names:
        return Answer("I look that up.", "web_search", json.dumps({"query": "Eddystone Lighthouse first lit"}))
    if "WebSearch" in names and last["role"] == "user" and "search" in str(last["content"]).lower():
        return Answer("I search the web.", "WebSearch", json.dumps({"query": "Eddystone Lighthouse first lit"}))
    return decide_by_rules(body)


async def converse_with_search(base_url: str, api_key: str, write: Callable[[str], None]) -> list[str]:
    """Ask one question with Anthropic's web search tool, and print the answer as it streams.

    Returns what did not arrive as it should; nothing if everything did.
    """
    request = {
        "model": "claude-sonnet-5",
        "max_tokens": 1024,
        "stream": True,
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
        "messages": [{"role": "user", "content": QUESTION}],
    }
    headers = {"x-api-key": api_key, "anthropic-version": "2023-06-01"}
    write(f"\nyou      {QUESTION}\n")
    events: list[dict[str, Any]] = []
    parser = SSEParser()
    try:
        async with (
            httpx.AsyncClient(base_url=base_url, headers=headers, timeout=20, trust_env=False) as client,
            client.stream("POST", "/v1/messages", json=request) as response,
        ):
            if response.status_code != 200:
                return [f"an answer (there was HTTP {response.status_code})"]
            async for chunk in response.aiter_raw():
                for data in parser.feed(chunk):
                    events.append(json.loads(data))
                    _show(events[-1], write)
    except (httpx.HTTPError, ValueError) as exc:
        return [f"the end of the answer: {exc or type(exc).__name__}"]
    write("\n")
    return _missing(events)


def _show(event: Mapping[str, Any], write: Callable[[str], None]) -> None:
    block = event.get("content_block") or {}
    delta = event.get("delta") or {}
    match block.get("type") or delta.get("type"):
        case "server_tool_use":
            write("\nsearch   ")
        case "web_search_tool_result":
            for page in block["content"]:
                write(f"\nfound    {page['title']}: {page['url']}")
            write("\n")
        case "text" if event["index"] == 0 or delta:
            write("\nmodel    ")
        case "text_delta":
            write(delta["text"])
        case "input_json_delta":
            write(delta["partial_json"])
        case "citations_delta":
            write(f" <{delta['citation']['url']}>")


def _missing(events: list[dict[str, Any]]) -> list[str]:
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    cited = [event for event in events if (event.get("delta") or {}).get("type") == "citations_delta"]
    ends = [event for event in events if event["type"] == "message_delta"]
    missing = []
    if "server_tool_use" not in blocks or "web_search_tool_result" not in blocks:
        missing.append("the search and its results")
    if len(cited) != 2:
        missing.append("two citations")
    if not ends or (ends[-1]["usage"].get("server_tool_use") or {}).get("web_search_requests") != 1:
        missing.append("one search in the usage")
    if not events or events[-1]["type"] != "message_stop":
        missing.append("the end of the stream, message_stop")
    return missing
