"""Checks of auxiliary services: web search, boost's planner, a vision model."""

import time
from collections.abc import Mapping
from typing import Any

from ccproxy.search import make_search
from ccproxy.settings import planner_candidates
from ccproxy_middleware.web_search import SearchError, SearchQuery

from .examination import Examination, Result, counted, ok, problem, say, skipped, warning
from .probe import open_planner

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
    """Let the provider search, with a request like Claude Code's."""
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


async def planner(exam: Examination) -> Result:
    settings = exam.settings
    if not settings.enable_boost_support:
        return skipped("boost is off")
    models = planner_candidates(settings.boost_model, settings.upstreams)[0]
    if not models:
        return skipped("its models are examined at their upstreams")
    seconds = 0.0
    for model in models:
        async with open_planner(settings) as probe:
            answer = await probe.complete({"model": model, **say("Reply with the word OK.")})
        if not answer.ok:
            which = "" if len(models) == 1 else f"{model}: "
            return problem(which + answer.error, "Check BOOST_BASE_URL, BOOST_API_KEY and BOOST_MODEL.")
        seconds = max(seconds, answer.seconds)
    return ok(f"{', '.join(models)} {'answers' if len(models) == 1 else 'answer'} in {seconds:.1f} s")
