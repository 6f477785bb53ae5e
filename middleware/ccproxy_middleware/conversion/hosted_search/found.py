"""The provider's searches and results, as the blocks that Anthropic's clients expect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...web_search import new_call_id, seal

Block = dict[str, Any]

MAX_SOURCES = 100
"""Of a search; what is beyond is left out."""


@dataclass(slots=True)
class HostedSearch:
    """One search. ``sources``: the titles of the pages by URL; a page without a title has its URL instead."""

    query: str
    sources: dict[str, str] = field(default_factory=dict)
    failed: bool = False

    def name(self, titles: Mapping[str, str]) -> None:
        """Set the titles that citations contain; if no pages are known, the cited pages become the sources."""
        if not self.sources and not self.failed:
            self.sources = dict(titles)
        for url in self.sources.keys() & titles.keys():
            if self.sources[url] == url:
                self.sources[url] = titles[url]

    def blocks(self) -> tuple[Block, Block]:
        """The call and its result."""
        id_ = new_call_id()
        content: Any = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
        if not self.failed:
            content = [_result(url, title) for url, title in [*self.sources.items()][:MAX_SOURCES]]
        return (
            {"type": "server_tool_use", "id": id_, "name": "web_search", "input": {"query": self.query}},
            {"type": "web_search_tool_result", "tool_use_id": id_, "content": content},
        )


def read_call(item: Mapping[str, Any]) -> HostedSearch | None:
    """Read a ``web_search_call`` of Responses; None for one that opened a page instead."""
    action = item.get("action")
    action = action if isinstance(action, Mapping) else {}
    if action.get("type", "search") != "search":
        return None
    queries = action.get("queries")
    texts = [action.get("query"), *(queries if isinstance(queries, list) else ())]
    query = next((text for text in texts if isinstance(text, str) and text), "")
    sources = action.get("sources")
    found: dict[str, str] = {}
    for source in sources if isinstance(sources, list) else ():
        _add(found, source)
    return HostedSearch(query, found, failed=item.get("status") == "failed")


def response_sources(item: Mapping[str, Any]) -> dict[str, str]:
    """The pages that a message of Responses cites."""
    found: dict[str, str] = {}
    content = item.get("content")
    for part in content if isinstance(content, list) else ():
        annotations = part.get("annotations") if isinstance(part, Mapping) else None
        for annotation in annotations if isinstance(annotations, list) else ():
            if isinstance(annotation, Mapping) and annotation.get("type") == "url_citation":
                _add(found, annotation)
    return found


def chat_sources(message: Mapping[str, Any]) -> dict[str, str]:
    """The pages that a message, or a delta, of chat completions cites."""
    found: dict[str, str] = {}
    annotations = message.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else ():
        if isinstance(annotation, Mapping) and annotation.get("type") == "url_citation":
            _add(found, annotation.get("url_citation"))
    return found


def found_by_chat(query: str, sources: dict[str, str], usage: Any) -> tuple[HostedSearch | None, int]:
    """The search in an answer of chat completions, and the number of searches, as far as the usage contains it.

    The answer does not contain the search terms: ``query`` is the user's question.
    """
    told = usage.get("server_tool_use") if isinstance(usage, Mapping) else None
    count = told.get("web_search_requests") if isinstance(told, Mapping) else None
    known = count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else int(bool(sources))
    return (HostedSearch(query, sources) if sources or known else None), known


def with_searches(usage: dict[str, Any], count: int) -> dict[str, Any]:
    """The usage of an answer, with this number of searches."""
    return {**usage, "server_tool_use": {"web_search_requests": count}}


def _add(found: dict[str, str], source: Any) -> None:
    if isinstance(source, Mapping) and isinstance(url := source.get("url"), str) and url and len(found) < MAX_SOURCES:
        title = source.get("title")
        found.setdefault(url, title if isinstance(title, str) and title.strip() else url)


def _result(url: str, title: str) -> Block:
    sealed = seal({"t": title, "u": url})
    return {"type": "web_search_result", "url": url, "title": title, "page_age": None, "encrypted_content": sealed}
