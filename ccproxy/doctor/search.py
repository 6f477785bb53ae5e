"""The check of web searches, which Claude Code expects Anthropic's servers to run."""

import time
from collections.abc import Mapping
from typing import Any

from ccproxy.search import make_search
from ccproxy_middleware.web_search import SearchError, SearchQuery

from .examination import Examination, Result, counted, ok, problem, skipped, warning

_QUERY = "lighthouse"
_OFF = "off: Claude Code's WebSearch is refused; WEB_SEARCH names a service, such as searxng or brave"


async def search(exam: Examination) -> Result:
    name = exam.settings.web_search
    if name is None:
        return skipped(_OFF)
    if name == "provider":
        return await _by_provider(exam)
    service = make_search(exam.settings)
    if service is None:
        return skipped(_OFF)
    started = time.monotonic()
    async with service.lifespan():
        try:
            found = await service(SearchQuery(_QUERY))
        except SearchError as error:
            return problem(error.message, "Check WEB_SEARCH, WEB_SEARCH_URL and WEB_SEARCH_KEY.")
    if not found:
        return warning(f"{name} finds nothing for {_QUERY!r}", "Look at the settings of the service.")
    return ok(f"{name}: {counted(len(found), 'result')} in {time.monotonic() - started:.1f} s")


async def _by_provider(exam: Examination) -> Result:
    """Have the provider search, by a request as Claude Code sends it."""
    text = f"Perform a web search for the query: {_QUERY}"
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
    request = {"stream": True, "tools": [tool], "messages": [{"role": "user", "content": text}]}
    answer = await exam.converse(request)
    remedy = "Set WEB_SEARCH to a service that needs no provider, such as searxng or brave."
    if answer.error:
        return problem(answer.error, remedy)
    starts = [event.get("content_block") for _, event in answer.events if event.get("type") == "content_block_start"]
    results = [
        block for block in starts if isinstance(block, Mapping) and block.get("type") == "web_search_tool_result"
    ]
    pages: list[Any] = [
        page for block in results if isinstance(block.get("content"), list) for page in block["content"]
    ]
    if not pages:
        return warning("the provider has answered without a search", remedy)
    return ok(f"the provider searches: {counted(len(pages), 'source')}")
